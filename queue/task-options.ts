/**
 * What a task says of itself in its field `millrace`: how it is written and read, and what is refused. Pure.
 *
 * `{"millrace": {"expiresAt": 1796040000000}, …}`. A field `millrace` that is no JSON object is the task's own business; in one that is,
 * everything has a meaning, and what has none is refused: a misspelled expiry would be none.
 */
import { randomUUID } from 'node:crypto';
import { encodeTask, hasId, isPlainObject, parseTask, shortId, taskHead, type EncodedTask } from './task.ts';

export interface TaskOptions {
  /** It is not begun after this, ms since the epoch by the clock of Redis. */
  readonly expiresAt?: number;
  /** While a task with this key is there, others of that key are not run. */
  readonly unique?: string;
  /** The key is kept for so long at least, from the push on, ms; otherwise until the task has ended. */
  readonly uniqueForMs?: number;
}

/** Options that cannot be: the message says why, and what to do. */
export class BadTaskOptions extends RangeError {
  override name = 'BadTaskOptions';
}

const FIELD = 'millrace';

/** Times before and after these (the years 1973 and 5138) are in seconds or microseconds, ms. */
const FIRST_MS = 1e11;
const LAST_MS = 1e14;

const MAX_KEY_BYTES = 200;
const MAX_UNIQUE_ID_BYTES = 1_024;
const LONGEST_UNIQUE_MS = 365 * 24 * 3_600_000;

const readers: { readonly [Name in keyof TaskOptions]-?: (value: unknown) => TaskOptions[Name] } = {
  expiresAt: checkExpiresAt,
  unique: checkUnique,
  uniqueForMs: checkUniqueFor,
};
const NAMES = Object.keys(readers) as (keyof TaskOptions)[];

/** The options of a task, by its parsed value; `undefined` for one that has none. Throws `BadTaskOptions`. */
export function taskOptionsOf(value: unknown): TaskOptions | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const options = (value as Record<string, unknown>)[FIELD];
  if (options === undefined || !isPlainObject(options)) return undefined;
  const unknown = Object.keys(options).find((name) => !NAMES.includes(name as keyof TaskOptions));
  if (unknown === 'priority')
    throw new BadTaskOptions(
      `its field "${FIELD}" has "priority", which a task cannot say of itself: push it to the list of its priority, such as {tasks}:high for the queue tasks`,
    );
  if (unknown !== undefined)
    throw new BadTaskOptions(`its field "${FIELD}" has "${shortId(unknown, 40)}", ${meansNothing(NAMES)}`);
  return checked(options);
}

/** The end of a sentence about a field that is none of these: to ignore it would hide that it is misspelled. */
export function meansNothing(known: readonly string[]): string {
  return `which means nothing: it may have ${known.join(', ')} (a later version may know more: upgrade the workers first)`;
}

function checked(options: Readonly<Record<string, unknown>>): TaskOptions {
  const read: TaskOptions = Object.fromEntries(
    NAMES.filter((name) => options[name] !== undefined).map((name) => [name, readers[name](options[name])]),
  );
  if (read.uniqueForMs !== undefined && read.unique === undefined)
    throw new BadTaskOptions('uniqueForMs is given, and no key: name it in unique');
  return read;
}

/** Throws `BadTaskOptions`. */
function checkUnique(value: unknown): string {
  if (typeof value !== 'string' || value === '')
    throw new BadTaskOptions(`unique is a key, a text such as "invoice-42": got ${describe(value)}`);
  const bytes = Buffer.byteLength(value);
  if (bytes > MAX_KEY_BYTES)
    throw new BadTaskOptions(
      `unique is a key of at most ${MAX_KEY_BYTES} bytes: got ${bytes} ("${value.slice(0, 40)}…"). Use a hash of it`,
    );
  return value;
}

/** Throws `BadTaskOptions`. */
function checkUniqueFor(value: unknown): number {
  if (typeof value === 'number' && value >= 1 && value <= LONGEST_UNIQUE_MS) return Math.ceil(value);
  throw new BadTaskOptions(
    `uniqueForMs is a time in milliseconds, from 1 to ${LONGEST_UNIQUE_MS} (a year): got ${describe(value)}`,
  );
}

/** Whether a task of this id can be unique. Throws `BadTaskOptions`. */
export function checkUniqueId(id: string | Buffer): asserts id is string {
  const bytes = Buffer.byteLength(id);
  if (typeof id !== 'string' || bytes > MAX_UNIQUE_ID_BYTES)
    throw new BadTaskOptions(
      `a unique task has an id of at most ${MAX_UNIQUE_ID_BYTES} bytes, and this one has ${bytes}. A task without a field "id" is its own id: give it one`,
    );
}

/** Throws `BadTaskOptions`. */
export function checkExpiresAt(value: unknown): number {
  const wanted = `expiresAt is a time in milliseconds since 1970, such as 1796040000000`;
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw new BadTaskOptions(`${wanted}: got ${describe(value)}`);
  if (value < 0) throw new BadTaskOptions(`${wanted}: got ${value}, which is before that`);
  if (value < FIRST_MS) throw new BadTaskOptions(`${wanted}: got ${value}, which would be seconds`);
  if (value > LAST_MS) throw new BadTaskOptions(`${wanted}: got ${value}, which would be microseconds`);
  return value;
}

/**
 * A task as it is pushed, with these options in its field `millrace` if any are given: then a JSON object, or the text or bytes of one,
 * which gets an `id` if it has none. Throws `BadTaskOptions` for a task that cannot carry them, or that has bad ones of its own;
 * `TypeError` for what JSON cannot represent.
 */
export function encodeWithOptions(task: unknown, options: TaskOptions = {}): EncodedTask {
  if (Object.keys(options).length === 0) return withUnique(encodeTask(task), ownOptionsOf(task));
  const own = task instanceof Uint8Array || typeof task === 'string' ? Buffer.from(task) : undefined;
  checked({ ...options });
  const names = Object.keys(options).join(', ');
  const value = own ? parseTask(own).value : task;
  if (!isPlainObject(value)) {
    const what = own ? `"${shortId(own, 40)}"` : Array.isArray(value) ? 'an array' : typeof value;
    throw new BadTaskOptions(`a task with ${names} is a JSON object, which can carry it: got ${what}`);
  }
  if (FIELD in value)
    throw new BadTaskOptions(
      `the task has a field "${FIELD}" already (${describe(value[FIELD])}), which is where ${names} would be: set it there, or rename yours`,
    );
  if (!own) return withUnique(encodeTask({ ...value, [FIELD]: options }), options);
  // as it is: numbers of any length survive
  const added = JSON.stringify({ ...(!hasId(value) && { id: randomUUID() }), [FIELD]: options });
  const text = own.toString().trimEnd().slice(0, -1);
  const raw = Buffer.from(`${text}${Object.keys(value).length > 0 ? ',' : ''}${added.slice(1)}`);
  return withUnique(encodeTask(raw), options);
}

/** Of a task that is text or bytes, without parsing it if it cannot have any. Throws `BadTaskOptions`. */
export function ownOptionsOf(task: unknown): TaskOptions | undefined {
  const isBytes = task instanceof Uint8Array;
  if (!isBytes && typeof task !== 'string') return taskOptionsOf(task);
  const text = isBytes ? Buffer.from(task.buffer, task.byteOffset, task.byteLength) : task;
  return text.includes(`"${FIELD}"`) ? taskOptionsOf(taskHead(Buffer.from(text)).value) : undefined;
}

/** Refuses `what`, which has this key, in a queue in partitions. */
export function uniqueInPartitions(what: string, key: string): BadTaskOptions {
  return new BadTaskOptions(
    `${what} is unique ("${key}"), which a task cannot be in a queue in partitions: its key may be in another one`,
  );
}

function withUnique(task: EncodedTask, options: TaskOptions | undefined): EncodedTask {
  if (options?.unique === undefined) return task;
  checkUniqueId(task.id);
  return { ...task, unique: { key: options.unique, forMs: options.uniqueForMs ?? 0 } };
}

function describe(value: unknown): string {
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value) as string | undefined;
  return text === undefined ? typeof value : shortId(text, 80);
}
