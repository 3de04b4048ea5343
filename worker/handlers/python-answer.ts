/** What a process of the Python package sends as JSON: its greeting, and errors. Pure. */
import { LONGEST_MS } from '../../runtime/duration.ts';
import { HandlerLoadError } from './errors.ts';
import { OLDEST_PROTOCOL, PROTOCOL } from './python-frames.ts';

export interface PythonError {
  /** Of the exception. */
  readonly name: string;
  readonly message: string;
  /** Of the exception, for the log; empty if there is none. */
  readonly traceback: string;
  readonly final: boolean;
  /** Delay until the next attempt, ms, if the function set one. */
  readonly retryAfter: number | undefined;
}

/** Throws `SyntaxError` for anything but an error of the package. */
export function decodeError(body: Buffer): PythonError {
  const { name, error, traceback = '', retry, retryAfter } = parseObject(body);
  if (typeof name !== 'string' || typeof error !== 'string' || typeof traceback !== 'string')
    throw new SyntaxError('an error without a text');
  const delay =
    typeof retryAfter === 'number' && retryAfter >= 0 ? Math.min(LONGEST_MS, retryAfter) : undefined;
  return { name, message: error, traceback, final: retry === false, retryAfter: delay };
}

/** What a process can do. */
export interface Hello {
  /** It reads RUNS, and answers by RESULTS. */
  readonly many: boolean;
  /** It wants the ids of tasks in RUNS, too. */
  readonly ids: boolean;
  /** It notes which tasks it has begun (`begun-tasks.ts`). */
  readonly begun: boolean;
}

/** Throws `HandlerLoadError` for a package that speaks another protocol than this worker. */
export function decodeHello(body: Buffer): Hello {
  const { protocol, version, many, ids, begun } = parseObject(body);
  if (typeof protocol !== 'number' || protocol < OLDEST_PROTOCOL || protocol > PROTOCOL)
    throw new HandlerLoadError(
      `the Python package millrace ${String(version)} speaks protocol ${String(protocol)}, and this worker ${PROTOCOL}: ` +
        'install the version of the package that belongs to the worker',
    );
  return { many: many === true, ids: ids === true, begun: begun === true };
}

function parseObject(body: Buffer): Record<string, unknown> {
  const value: unknown = JSON.parse(body.toString());
  if (typeof value !== 'object' || value === null) throw new SyntaxError('JSON that is no object');
  return value as Record<string, unknown>;
}
