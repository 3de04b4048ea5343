/**
 * A line of output of a worker process: of its log (JSON, runtime/log.ts), or anything that the user's code printed. Both become
 * text for people.
 */
import { LogEvent } from '../../runtime/log-event.ts';
import { failurePrefix, WORKER_PROGRAM } from '../../runtime/failure-line.ts';

export interface LogLine {
  /** `undefined` for anything but our own log lines. */
  readonly level: string | undefined;
  readonly text: string;
  /** The worker is registered with all its queues and takes tasks. */
  readonly ready: boolean;
  /** The last line of a failed worker: the reason. */
  readonly failure: boolean;
}

/** Fields that every line has, or that the reader knows already. */
const USUAL = new Set(['level', 'time', 'name', 'msg', 'event', 'epoch', 'queue', 'worker']);

/** Never throws: anything but a log line is returned as text. */
export function readLogLine(text: string): LogLine {
  const record = parse(text);
  if (!record) return plain(text);
  const { level, msg, line, event } = record;
  // output of the user's command, passed on by the worker
  if (typeof line === 'string') return { ...plain(line), failure: false };
  const more = Object.entries(record)
    .filter(([key]) => !USUAL.has(key))
    .map(([key, value]) => (key === 'err' ? `error: ${messageOf(value)}` : `${key}: ${textOf(value)}`));
  const whole = more.length > 0 ? `${msg} (${more.join(', ')})` : msg;
  return { level, text: whole, ready: event === LogEvent.Ready, failure: false };
}

function plain(text: string): LogLine {
  const failure = text.startsWith(failurePrefix(WORKER_PROGRAM));
  return { level: undefined, text, ready: false, failure };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The message of an error as runtime/log.ts writes it; the stack is only in the log itself. */
function messageOf(err: unknown): string {
  const { message } = (err ?? {}) as { readonly message?: unknown };
  return typeof message === 'string' ? message : textOf(err);
}

function parse(text: string): { level: string; msg: string; [key: string]: unknown } | undefined {
  if (!text.startsWith('{"level":')) return undefined;
  try {
    const value = JSON.parse(text) as { level?: unknown; msg?: unknown };
    if (typeof value.level !== 'string' || typeof value.msg !== 'string') return undefined;
    return { ...value, level: value.level, msg: value.msg };
  } catch {
    return undefined;
  }
}
