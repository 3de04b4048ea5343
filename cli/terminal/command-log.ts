/**
 * The log of a command: what it prints about an error is one line to a person, and the error itself goes here, with its stack.
 * JSON lines on stderr, as of the other programs, and none by default.
 */
import type { Logger } from '../../runtime/log.ts';
import type { LogLevel } from '../../runtime/log-level.ts';

export interface CommandLog {
  readonly level: LogLevel;
  /** Logs an error at level `debug`. */
  debug(error: unknown, message: string): void;
}

export interface OpenableLog extends CommandLog {
  /** Loads the logger if `level` needs one: commands that log nothing start faster. Before it, nothing is logged. */
  open(level: LogLevel): Promise<void>;
}

export function createCommandLog(): OpenableLog {
  let logger: Logger | undefined;
  let level: LogLevel = 'silent';
  return {
    get level() {
      return level;
    },
    open: async (asked) => {
      level = asked;
      if (asked !== 'debug' && asked !== 'trace') return;
      const { createLog } = await import('../../runtime/log.ts');
      logger = createLog('millrace', asked);
    },
    debug: (error, message) => logger?.debug({ err: error }, message),
  };
}
