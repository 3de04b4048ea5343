/**
 * Structured logs on stderr: one JSON object a line. An error is logged as `err` (log-error.ts): a line stays short, and at level
 * `debug` it has the stack as well.
 */
import { pino, type DestinationStream, type Logger } from 'pino';
import { loggedError } from './log-error.ts';
import type { LogLevel } from './log-level.ts';

export type { Logger } from 'pino';

/** `to`: stderr by default. */
export function createLog(name: string, level: LogLevel, to?: DestinationStream): Logger {
  const withStack = level === 'debug' || level === 'trace';
  return pino(
    {
      name,
      level,
      base: { name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error: unknown) => loggedError(error, withStack) },
    },
    to ?? pino.destination({ dest: 2, sync: true }),
  );
}

/** For an error that ends a program: logs its stack at level `debug`; `runProgram` prints the line for people. */
export function rethrow(log: Logger): (error: unknown) => never {
  return (error) => {
    log.debug({ err: error }, 'ended by an error');
    throw error;
  };
}
