/**
 * A line that a worker process wrote: one of its own log (JSON, runtime/log.ts), or anything that the user's code
 * printed. For a person, both become text.
 */
export interface LogLine {
  /** `undefined` for what is no log line of ours. */
  readonly level: string | undefined;
  readonly text: string;
  /** The worker says that it is registered and takes tasks. */
  readonly ready: boolean;
}

/** What every line has, and what the reader knows already. */
const USUAL = new Set(['level', 'time', 'name', 'msg', 'epoch', 'queue', 'worker']);

/** Never throws: what cannot be read as a log line is text. */
export function readLogLine(text: string): LogLine {
  const record = parse(text);
  if (!record) return { level: undefined, text, ready: false };
  const { level, msg, line } = record;
  // what the user's command wrote, handed on by the worker
  if (typeof line === 'string') return { level: undefined, text: line, ready: false };
  const more = Object.entries(record)
    .filter(([key]) => !USUAL.has(key))
    .map(([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const whole = more.length > 0 ? `${msg} (${more.join(', ')})` : msg;
  return { level, text: whole, ready: msg === 'taking tasks' };
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
