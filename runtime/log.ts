/**
 * Structured logs on stderr: one JSON object a line. An error is logged as `err` (log-error.ts): a line stays short, and at level
 * `debug` it has the stack as well. Written here because every worker logs at its start, and a library that does more takes
 * a tenth of that start to load (docs/performance.md). The lines are those of pino.
 */
import { writeSync } from 'node:fs';
import { loggedError } from './log-error.ts';
import type { LogLevel } from './log-level.ts';

/** Logs a message, with the fields of `about` before it. */
export interface LogLine {
  (about: object, message?: string): void;
  (message: string): void;
}

/** A logger of pino is one, too. */
export interface Logger {
  readonly trace: LogLine;
  readonly debug: LogLine;
  readonly info: LogLine;
  readonly warn: LogLine;
  readonly error: LogLine;
  readonly fatal: LogLine;
  /** A logger whose lines have these fields as well. */
  child(fields: object): Logger;
}

/** Where lines go, each with its line feed. */
export interface LogDestination {
  write(line: string): void;
}

/** Least severe first. */
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** `to`: stderr by default. */
export function createLog(name: string, level: LogLevel, to: LogDestination = openStderr()): Logger {
  const least = LEVELS.indexOf(level);
  const withStack = level === 'debug' || level === 'trace';
  const field = (about: object): string => {
    const { err, ...rest } = about as { err?: unknown };
    const error = err === undefined ? {} : { err: loggedError(err, withStack) };
    return textOf({ ...rest, ...error });
  };
  const loggerWith = (own: string): Logger => {
    const line = (of: (typeof LEVELS)[number]): LogLine => {
      if (LEVELS.indexOf(of) < least) return () => undefined;
      return (about: object | string, message?: string) => {
        const said = typeof about === 'string' ? about : message;
        const fields = [
          `"level":"${of}","time":"${isoTime(new Date())}"`,
          own,
          typeof about === 'string' ? '' : field(about),
          said === undefined ? '' : `"msg":${JSON.stringify(said)}`,
        ];
        to.write(`{${fields.filter((one) => one !== '').join(',')}}\n`);
      };
    };
    return {
      trace: line('trace'),
      debug: line('debug'),
      info: line('info'),
      warn: line('warn'),
      error: line('error'),
      fatal: line('fatal'),
      child: (fields) => loggerWith([own, field(fields)].filter((one) => one !== '').join(',')),
    };
  };
  return loggerWith(textOf({ name }));
}

/** As `toISOString`, for which V8 would load a megabyte of time zones. For years from 1000 to 9999. */
export function isoTime(at: Date): string {
  const digits = (value: number, count = 2): string => String(value).padStart(count, '0');
  const date = [at.getUTCFullYear(), digits(at.getUTCMonth() + 1), digits(at.getUTCDate())];
  const time = [digits(at.getUTCHours()), digits(at.getUTCMinutes()), digits(at.getUTCSeconds())];
  return `${date.join('-')}T${time.join(':')}.${digits(at.getUTCMilliseconds(), 3)}Z`;
}

/** An object as JSON without its braces. What cannot be JSON is left out, since logging must not fail. */
function textOf(fields: object): string {
  try {
    return JSON.stringify(fields).slice(1, -1);
  } catch {
    const each = Object.entries(fields).map(([name, value]) => {
      try {
        return JSON.stringify({ [name]: value as unknown }).slice(1, -1);
      } catch {
        return `${JSON.stringify(name)}:"[not JSON]"`;
      }
    });
    return each.filter((one) => one !== '').join(',');
  }
}

const STDERR = 2;
/** Between two attempts while nobody reads what was written, ms. */
const FULL_MS = 20;

/** Writes before it returns, so that the last line of a process is not lost. After an error, such as a reader that is gone, nothing more. */
function openStderr(): LogDestination {
  let broken = false;
  return {
    write: (line) => {
      for (let left = Buffer.from(line); left.length > 0 && !broken;)
        try {
          left = left.subarray(writeSync(STDERR, left));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'EAGAIN') pause();
          else broken = true;
        }
    },
  };
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_MS);
}

/** For an error that ends a program: logs its stack at level `debug`; `runProgram` prints the line for people. */
export function rethrow(log: Logger): (error: unknown) => never {
  return (error) => {
    log.debug({ err: error }, 'ended by an error');
    throw error;
  };
}
