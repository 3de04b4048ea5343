/**
 * Describes any thrown value in one line for people. Handlers are other people's code: they throw strings, plain objects, errors
 * within errors, and objects whose properties throw. A line is returned in any case.
 */
import { inspect } from 'node:util';

const MAX_BYTES = 2048;
const MAX_CAUSES = 4;
/** Of a longer text, only start and end are read, because 500 MB would take too long, characters. */
const MAX_PART = 16_384;

/**
 * One line of at most 2 KB (2048 bytes of UTF-8): name and message, then the causes. If it is too long, the
 * middle is cut out, because the end of a program's stderr is the most informative part.
 */
export function describeError(error: unknown): string {
  return cut(oneLine(withCauses(error)) || 'an error without a message', MAX_BYTES);
}

function withCauses(error: unknown): string {
  const parts: string[] = [];
  let current = error;
  for (let depth = 0; depth <= MAX_CAUSES; depth += 1) {
    const part = orUnreadable(() => bounded(describe(current)), UNREADABLE);
    // a wrapper often repeats the message of its cause
    if (!parts.some((earlier) => earlier.includes(part))) parts.push(part);
    const cause = orUnreadable(() => (current instanceof Error ? current.cause : undefined), undefined);
    if (cause === undefined || cause === null) break;
    current = cause;
  }
  return parts.join('; caused by ');
}

const UNREADABLE = 'an unreadable error (its properties throw)';

function orUnreadable<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

function bounded(text: string): string {
  if (text.length <= MAX_PART) return text;
  return `${text.slice(0, MAX_PART / 4)} … ${text.slice(-(MAX_PART / 4) * 3)}`;
}

function describe(error: unknown): string {
  if (typeof error === 'string') return error;
  if (typeof error !== 'object' || error === null) return `${typeof error} ${String(error)} was thrown`;
  const name = property(error, 'name');
  const message = property(error, 'message');
  const inner = error instanceof AggregateError ? error.errors.slice(0, MAX_CAUSES).map(describe) : [];
  const text = [message, ...inner].filter((part) => part !== '').join('; ');
  if (text !== '') return name === '' || name === 'Error' ? text : `${name}: ${text}`;
  if (error instanceof Error) return name;
  return `an object was thrown: ${contentOf(error)}`;
}

function contentOf(thrown: object): string {
  try {
    return JSON.stringify(thrown);
  } catch {
    // with a circle or a BigInt in it; what throws here as well is unreadable
    return inspect(thrown, { breakLength: Infinity, getters: false });
  }
}

function property(error: object, key: 'name' | 'message'): string {
  const value: unknown = Reflect.get(error, key);
  return typeof value === 'string' ? value : '';
}

/** Replaces line breaks, other control characters and runs of white space with one space, for logs and terminals. */
function oneLine(text: string): string {
  return text.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim();
}

/** Keeps a quarter from the start and the rest from the end, without splitting a character. */
function cut(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return bytes.toString();
  const gap = ' … ';
  const room = maxBytes - Buffer.byteLength(gap);
  let head = Math.floor(room / 4);
  let tail = bytes.length - (room - head);
  while (isContinuation(bytes[head])) head -= 1;
  while (isContinuation(bytes[tail])) tail += 1;
  return `${bytes.toString('utf8', 0, head)}${gap}${bytes.toString('utf8', tail)}`;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
