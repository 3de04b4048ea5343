/**
 * What a task is: any bytes. Nothing here wraps or changes one; it only finds the name under which its result goes.
 */
import { hash, randomUUID } from 'node:crypto';

/** A task that is no text is its own id, as it is. */
export type TaskId = string | Buffer;

/** What the id of such a task can be. */
export type IdOf<Task> = unknown extends Task ? TaskId : Task extends Uint8Array ? TaskId : string;

export interface ParsedTask {
  /** Field of the result hash: the `id` of a JSON object that has one, else the whole task. */
  readonly id: string | Buffer;
  /** The parsed value of a JSON object or array; else the text; else, where the bytes are not UTF-8, the bytes. */
  readonly value: unknown;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/** Reads a task without ever failing: what is not JSON is text, what is not text is bytes. */
export function parseTask(raw: Buffer): ParsedTask {
  let text: string;
  try {
    text = raw.toString();
  } catch {
    return { id: raw, value: raw }; // more bytes than a text of V8 holds, which is a little less than Redis does
  }
  // only what is not UTF-8, or holds this character itself, needs the strict and slower decoder
  if (text.includes('\ufffd')) {
    try {
      text = utf8.decode(raw);
    } catch {
      return { id: raw, value: raw };
    }
  }
  const first = firstCharacter(text);
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) return { id: text, value: text };
  try {
    const value: unknown = JSON.parse(text);
    return { id: idOf(value, text) ?? text, value };
  } catch {
    return { id: text, value: text };
  }
}

/** The `id` of a JSON object: a string as it is, a number as the task spells it; `undefined` when there is none. */
function idOf(value: unknown, text: string): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const id: unknown = (value as Record<string, unknown>)['id'];
  if (typeof id === 'string') return id;
  return typeof id === 'number' ? spelledId(text, String(id)) : undefined;
}

/** A number's own digits: 12345678901234567890 and 1.0 do not survive a round trip through a double. */
function spelledId(text: string, fallback: string): string {
  const spelled = new Map<unknown, string>();
  try {
    const root: unknown = JSON.parse(
      text,
      function (this: unknown, key, value: unknown, context?: { source?: string }) {
        if (key === 'id' && typeof value === 'number' && context?.source) spelled.set(this, context.source);
        return value;
      },
    );
    return spelled.get(root) ?? fallback;
  } catch {
    return fallback; // nested deeper than the stack: the double's spelling has to do
  }
}

function firstCharacter(text: string): number {
  let at = 0;
  for (;;) {
    const code = text.charCodeAt(at++);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return code;
  }
}

/**
 * An id as a text of its own, for what knows only texts: that of a task that is no text, by its bytes in hexadecimal, or by a digest
 * where those are many. No two ids share one.
 */
export function idText(id: TaskId): string {
  if (typeof id === 'string') return id;
  return id.length <= 64 ? `hex:${id.toString('hex')}` : `sha256:${hash('sha256', id)}`;
}

/** A task's id for a message: of a long one, the first `longest` characters. */
export function shortId(id: string | Buffer, longest = 100): string {
  const text = id.toString();
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

export interface EncodedTask {
  readonly id: string | Buffer;
  readonly raw: string | Buffer;
}

/**
 * The bytes to push for a task, and the id that its result will have. Text and bytes go as they are; an object
 * goes as JSON and is given an `id` (a UUID) when it has none, because two tasks with one id share one result.
 * Throws `TypeError` for what JSON cannot say.
 */
export function encodeTask(task: unknown): EncodedTask {
  if (typeof task === 'string') return { id: parseTask(Buffer.from(task)).id, raw: task };
  if (task instanceof Uint8Array) {
    const raw = Buffer.isBuffer(task) ? task : Buffer.from(task.buffer, task.byteOffset, task.byteLength);
    return { id: parseTask(raw).id, raw };
  }
  if (isPlainObject(task) && !hasId(task)) {
    const id = randomUUID();
    return { id, raw: JSON.stringify({ id, ...task, ...('id' in task ? { id } : {}) }) };
  }
  const raw = JSON.stringify(task) as string | undefined;
  if (raw === undefined)
    throw new TypeError(`a task cannot be ${typeof task}: pass text, bytes or a JSON value`);
  return { id: parseTask(Buffer.from(raw)).id, raw };
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !('toJSON' in value);
}

function hasId(value: Record<string, unknown>): boolean {
  return typeof value['id'] === 'string' || typeof value['id'] === 'number';
}

/** A member of the delayed set: a nonce that makes it unique, what the task has been through, and its bytes. */
export function delayedMember(nonce: string, raw: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${nonce}|0|0|`), typeof raw === 'string' ? Buffer.from(raw) : raw]);
}
