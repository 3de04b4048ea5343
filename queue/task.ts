/**
 * A task is any bytes. Nothing here wraps or changes one; it only finds the id under which its result is stored.
 */
import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { scanJson } from './scan-json.ts';

/** A binary task is its own id, byte for byte. */
export type TaskId = string | Buffer;

/** The type of such a task's id. */
export type IdOf<Task> = unknown extends Task ? TaskId : Task extends Uint8Array ? TaskId : string;

export interface ParsedTask {
  /** Field of the result hash: the `id` of a JSON object that has one, else the whole task. */
  readonly id: string | Buffer;
  /** The parsed value of a JSON object or array; else the text; else, where the bytes are not UTF-8, the bytes. */
  readonly value: unknown;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Smaller tasks are parsed faster than scanned, bytes. */
export const LARGE = 1 << 16;
/** What a task says to workers: see batch-mark.ts and task-options.ts. */
const WHOLE_FIELDS = ['batch', 'millrace'] as const;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/** Parses a task and never fails: what is not JSON is text, what is not text is bytes. */
export function parseTask(raw: Buffer): ParsedTask {
  const text = textOf(raw);
  if (text === undefined) return { id: raw, value: raw };
  const first = firstCharacter(text);
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) return { id: text, value: text };
  try {
    const value: unknown = JSON.parse(text);
    return { id: idOf(value, { raw }) ?? text, value };
  } catch {
    return { id: text, value: text };
  }
}

/** A task of which it is known already that it is text; its bytes may be made when they are read. */
export interface TextTask {
  readonly text: string;
  readonly raw: Buffer;
}

/** The same for a task whose text is there. That may be a slice of a longer one, so nothing of it is in what is returned. */
export function parseTextTask(task: TextTask): ParsedTask {
  const { text } = task;
  const first = firstCharacter(text);
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) return parseTask(task.raw);
  try {
    const value: unknown = JSON.parse(text);
    return { id: idOf(value, task) ?? task.raw.toString(), value };
  } catch {
    return parseTask(task.raw);
  }
}

/**
 * The same for callers that need only the bytes, without building the parsed value: for a JSON object, `value` has only the
 * fields `traceparent` and `tracestate`, where they are text, and those of WHOLE_FIELDS; for an array, no elements.
 */
export function parseTaskHead(raw: Buffer): ParsedTask {
  if (!isUtf8(raw)) return { id: raw, value: raw };
  const found = scanJson(raw, ['id', 'traceparent', 'tracestate', ...WHOLE_FIELDS]);
  if (!found) {
    const text = textOf(raw) ?? raw;
    return { id: text, value: text };
  }
  const at = (name: string): string | undefined => {
    const span = found.get(name);
    return span && raw.toString('utf8', span.start, span.end);
  };
  const isArray = firstCharacter(raw.toString('latin1', 0, 64)) === OPEN_BRACKET;
  const id = spelledId(at('id'));
  const trace = ['traceparent', 'tracestate'].flatMap((name): [string, string][] => {
    const text = at(name);
    return text?.startsWith('"') ? [[name, JSON.parse(text) as string]] : [];
  });
  const whole = WHOLE_FIELDS.flatMap((name): [string, unknown][] => {
    const text = at(name);
    return text === undefined ? [] : [[name, JSON.parse(text)]];
  });
  const value = Object.fromEntries<unknown>([...trace, ...whole]);
  return { id: id ?? textOf(raw) ?? raw, value: isArray ? [] : value };
}

/** The id alone. */
export function taskId(raw: Buffer): string | Buffer {
  return taskHead(raw).id;
}

/** Id and value, which for a large task has only some fields: see `parseTaskHead`. */
export function taskHead(raw: Buffer): ParsedTask {
  return raw.length > LARGE ? parseTaskHead(raw) : parseTask(raw);
}

/** The text of a task; `undefined` for binary ones, and those longer than a string of V8, a little less than Redis allows. */
function textOf(raw: Buffer): string | undefined {
  try {
    const text = raw.toString();
    // only invalid UTF-8, or text that contains this character itself, needs the strict and slower decoder
    return text.includes('\ufffd') ? utf8.decode(raw) : text;
  } catch {
    return undefined;
  }
}

/** The `id` of a JSON object: a string as it is, a number as the task spells it; `undefined` when there is none. */
function idOf(value: unknown, task: { readonly raw: Buffer }): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const id: unknown = (value as Record<string, unknown>)['id'];
  if (typeof id === 'string') return id;
  if (typeof id !== 'number') return undefined;
  // 12345678901234567890 and 1.0 do not survive a round trip through a double
  const { raw } = task;
  const span = scanJson(raw, ['id'])?.get('id');
  return span ? raw.toString('utf8', span.start, span.end) : String(id);
}

/** The id that the source text of a JSON value denotes. */
function spelledId(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (text.startsWith('"')) return JSON.parse(text) as string;
  return /^[-\d]/.test(text) ? text : undefined;
}

function firstCharacter(text: string): number {
  let at = 0;
  for (;;) {
    const code = text.charCodeAt(at++);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return code;
  }
}

/** The id of a task, as a caller without types may have given it. Throws `TypeError`. */
export function checkTaskId(id: unknown): TaskId {
  if (typeof id === 'string' || Buffer.isBuffer(id)) return id;
  const hint = typeof id === 'number' || typeof id === 'bigint' ? `: the one of a number is "${id}"` : '';
  const given = typeof id === 'object' && id !== null ? (id.constructor?.name ?? 'an object') : String(id);
  throw new TypeError(`the id of a task is a text or a Buffer, not ${given}${hint}`);
}

/** A task's id for messages, truncated to `longest` characters. */
export function shortId(id: string | Buffer, longest = 100): string {
  const text = id.toString();
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

export interface EncodedTask {
  readonly id: string | Buffer;
  readonly raw: string | Buffer;
  /** Its key, and how long that is kept at least, ms: see task-options.ts. */
  readonly unique?: { readonly key: string; readonly forMs: number };
}

/**
 * The bytes to push for a task, and the id of its result. Text and bytes are sent unchanged; an object is sent as JSON and gets
 * an `id` (a UUID) if it has none, because two tasks with one id share one result. Throws `TypeError` for values that JSON cannot
 * represent.
 */
export function encodeTask(task: unknown): EncodedTask {
  if (typeof task === 'string') return { id: parseTask(Buffer.from(task)).id, raw: task };
  if (task instanceof Uint8Array) {
    const raw = Buffer.isBuffer(task) ? task : Buffer.from(task.buffer, task.byteOffset, task.byteLength);
    return { id: parseTask(raw).id, raw };
  }
  refuseContainer(task);
  if (isPlainObject(task) && !hasId(task)) {
    const id = randomUUID();
    return { id, raw: JSON.stringify({ id, ...task, ...('id' in task ? { id } : {}) }) };
  }
  const raw = JSON.stringify(task) as string | undefined;
  if (raw === undefined)
    throw new TypeError(`a task cannot be ${typeof task}: pass text, bytes or a JSON value`);
  return { id: parseTask(Buffer.from(raw)).id, raw };
}

/** Throws `TypeError` for a value that JSON would empty. */
export function refuseContainer(task: unknown): void {
  if (isContainer(task))
    throw new TypeError(
      `a task cannot be ${task.constructor.name}: JSON would leave out what it holds. Pass a Buffer or an array`,
    );
}

/** JSON would write it as an empty object, or as an object of numbers by index. */
function isContainer(value: unknown): value is object {
  return (
    ArrayBuffer.isView(value) ||
    [ArrayBuffer, SharedArrayBuffer, Map, Set, WeakMap, WeakSet, Promise].some(
      (kind) => value instanceof kind,
    )
  );
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !('toJSON' in value);
}

/** Whether an object has an `id` that is one of a task. */
export function hasId(value: Readonly<Record<string, unknown>>): boolean {
  return typeof value['id'] === 'string' || Number.isFinite(value['id']); // NaN would be null
}

/** A member of the delayed set: a nonce that makes it unique, the task's past, and its bytes. */
export function delayedMember(nonce: string, raw: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${nonce}|0|0|`), typeof raw === 'string' ? Buffer.from(raw) : raw]);
}
