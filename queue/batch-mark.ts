/**
 * The mark of a task that is part of a batch, its field `batch`: how it is written and read, and what is refused. Pure.
 *
 * A part that a client pushes itself names the size: `{"batch": {"id": "b1", "size": 3, "then": {…}, "onFailure": "wait"}, …}`. Parts
 * that the library adds have only the id, because Redis counts them as they are added. A field `batch` without a text `id` is the
 * task's own business.
 */
import { isUtf8 } from 'node:buffer';
import { exactJson } from './exact-json.ts';
import { scanJson } from './scan-json.ts';
import { meansNothing, taskOptionsOf } from './task-options.ts';
import {
  encodeTask,
  hasId,
  isPlainObject,
  parseTask,
  refuseContainer,
  shortId,
  type EncodedTask,
} from './task.ts';

export const FAILURE_POLICIES = ['wait', 'cancel', 'continue'] as const;
/** What happens when a part fails for good: see docs/batches.md. */
export type FailurePolicy = (typeof FAILURE_POLICIES)[number];

/** The task that follows a batch. */
export interface ThenTask {
  /** As it is pushed; of a JSON object, `parts` is added by then. */
  readonly raw: string;
  readonly id: string;
  /** What it says of the batch that it is itself a part of. */
  readonly batch?: PartMark;
}

export interface PartMark {
  /** Of the batch. */
  readonly id: string;
  /** Number of its parts, where these were not added by the library. */
  readonly size?: number;
  readonly then?: ThenTask;
  readonly onFailure?: FailurePolicy;
}

/** A batch that cannot be: the message says why, and what to do. */
export class BadBatch extends RangeError {
  override name = 'BadBatch';
}

/** Longest id of a batch, and of a part, bytes. */
export const MAX_BATCH_ID_BYTES = 200;
export const MAX_PART_ID_BYTES = 1_024;
export const MAX_BATCH_SIZE = 100_000_000;
/** Longest number in the id of a part. */
const MOST_DIGITS = 9;
const ZERO = 0x30;
/** Largest `then` task, bytes. */
const MAX_THEN_BYTES = 1 << 20;

/**
 * The mark of a task, `id`, by its parsed value and its bytes, in which the numbers of `then` are as they were written: they are read for
 * that alone. `undefined` for a task that is no part of a batch. Throws `BadBatch`.
 */
export function partMarkOf(
  value: unknown,
  id: string | Buffer,
  task: { readonly raw: Uint8Array },
): PartMark | undefined {
  const batch = batchField(value);
  if (batch === undefined) return undefined;
  const name = batch['id'] as string;
  checkBatchId(name);
  checkPartId(name, id);
  const { size, then, onFailure } = batch;
  // most parts, and a worker reads each
  if (size === undefined && then === undefined && onFailure === undefined) return { id: name };
  checkFields(name, batch);
  return {
    id: name,
    ...(size !== undefined && { size: checkSize(name, size) }),
    ...(then !== undefined && { then: encodeThen(name, isPlainObject(then) ? exactThen(task.raw) : then) }),
    ...(onFailure !== undefined && { onFailure: checkPolicy(name, onFailure) }),
  };
}

/** The text of `batch.then` in a task that has one. */
function exactThen(raw: Uint8Array): string {
  const textOf = (bytes: Uint8Array, name: string): Uint8Array => {
    const range = scanJson(bytes, [name])?.get(name);
    return bytes.subarray(range?.start, range?.end);
  };
  return Buffer.from(textOf(textOf(raw, 'batch'), 'then')).toString();
}

/** The number in the id of a part that is called `BATCH:NUMBER`, as the library names those without an id; `undefined` for others. */
export function partNumber(batch: string, id: string | Buffer): number | undefined {
  const from = batch.length + 1;
  if (typeof id !== 'string' || id.length <= from || id.length > from + MOST_DIGITS) return undefined;
  if (!id.startsWith(batch) || id[from - 1] !== ':' || (id[from] === '0' && id.length > from + 1))
    return undefined;
  let number = 0;
  for (let at = from; at < id.length; at++) {
    const digit = id.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    number = 10 * number + digit;
  }
  return number;
}

/** The id of the batch that a task names, good or bad. */
export function batchIdOf(value: unknown): string | undefined {
  return batchField(value)?.['id'] as string | undefined;
}

function batchField(value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const batch = (value as Record<string, unknown>)['batch'];
  return isPlainObject(batch) && typeof batch['id'] === 'string' ? batch : undefined;
}

/**
 * A part as the library pushes it: a JSON object, or the text or bytes of one, with the id `fallbackId` if it has none. Throws
 * `BadBatch` for anything else, and for one that has a field `batch` already; `BadTaskOptions`.
 */
export function encodePart(batch: string, task: unknown, fallbackId: string): EncodedTask {
  const text = typeof task === 'string' || task instanceof Uint8Array ? Buffer.from(task) : undefined;
  if (!text) refuseContainer(task);
  const value = text ? parseTask(text).value : task;
  if (!isPlainObject(value)) {
    const what = text ? `"${shortId(text, 40)}"` : Array.isArray(value) ? 'an array' : typeof value;
    throw new BadBatch(
      `a part of batch "${batch}" is a JSON object, which can carry the batch's id: got ${what}`,
    );
  }
  taskOptionsOf(value);
  if (value['batch'] !== undefined)
    throw new BadBatch(
      `a part of batch "${batch}" has a field "batch" already (${shown(value['batch'])}): that is where its batch is named`,
    );
  const mark = { batch: { id: batch } };
  const raw = text
    ? // as it is: numbers of any length survive
      `${text.toString().trimEnd().slice(0, -1)}${Object.keys(value).length > 0 ? ',' : ''}${inner(hasId(value) ? mark : { id: fallbackId, ...mark })}}`
    : JSON.stringify({ ...(hasId(value) ? value : { ...value, id: fallbackId }), ...mark });
  const own = hasId(value) ? value['id'] : fallbackId;
  // a number is spelled as in the task
  const id = typeof own === 'string' ? own : parseTask(Buffer.from(raw)).id;
  checkPartId(batch, id);
  return { id, raw };
}

const inner = (object: object): string => JSON.stringify(object).slice(1, -1);

/** A value for messages, which may be any and of any size. */
function shown(value: unknown): string {
  try {
    const text = (JSON.stringify(value) as string | undefined) ?? String(value);
    return shortId(text, 80);
  } catch {
    return Array.isArray(value) ? 'an array' : `an ${typeof value}`;
  }
}

/** Throws `BadBatch`. */
export function checkBatchId(id: unknown): asserts id is string {
  if (typeof id !== 'string') throw new BadBatch(`the id of a batch is a text: got ${shown(id)}`);
  if (id === '') throw new BadBatch('the id of a batch is empty: give it a text');
  if (isLonger(id, MAX_BATCH_ID_BYTES))
    throw new BadBatch(
      `the id of a batch is too long: ${Buffer.byteLength(id)} bytes, and at most ${MAX_BATCH_ID_BYTES} are allowed ("${id.slice(0, 40)}…")`,
    );
}

/** Throws `BadBatch`. */
export function checkPartId(batch: string, id: string | Buffer): void {
  if (isLonger(id, MAX_PART_ID_BYTES))
    throw new BadBatch(
      `the id of a part of batch "${batch}" is too long: ${Buffer.byteLength(id)} bytes, and at most ${MAX_PART_ID_BYTES} are allowed. A task without a field "id" is its own id: give it one`,
    );
}

/** Counts bytes only where characters leave it open: UTF-8 has three at most for each of UTF-16. */
function isLonger(id: string | Buffer, most: number): boolean {
  return id.length * 3 > most && Buffer.byteLength(id) > most;
}

const FIELDS = ['id', 'size', 'then', 'onFailure'];

/** Throws `BadBatch` for a field without a meaning: a misspelled `onFailure` would be none. */
function checkFields(batch: string, fields: object): void {
  const unknown = Object.keys(fields).find((name) => !FIELDS.includes(name));
  if (unknown !== undefined)
    throw new BadBatch(
      `a part of batch "${batch}" has "${shortId(unknown, 40)}" in its field "batch", ${meansNothing(FIELDS)}`,
    );
}

function checkSize(batch: string, size: unknown): number {
  if (Number.isInteger(size) && (size as number) >= 1 && (size as number) <= MAX_BATCH_SIZE)
    return size as number;
  throw new BadBatch(
    `the size of batch "${batch}" is the number of its parts, from 1 to ${MAX_BATCH_SIZE}: got ${shown(size)}`,
  );
}

/** Throws `BadBatch`. */
export function checkPolicy(batch: string, policy: unknown): FailurePolicy {
  if (FAILURE_POLICIES.includes(policy as FailurePolicy)) return policy as FailurePolicy;
  throw new BadBatch(
    `onFailure of batch "${batch}" is one of ${FAILURE_POLICIES.join(', ')}: got ${shown(policy)}`,
  );
}

/**
 * The task that follows a batch. A JSON object, or the text of one, gets the id `BATCH:then` if it has none; of a text, numbers stay as they
 * are written. Throws `BadBatch` for what is no task, and for text that begins like a JSON object and is none.
 */
export function encodeThen(batch: string, then: unknown): ThenTask {
  const given = then instanceof Uint8Array && isUtf8(then) ? Buffer.from(then).toString() : then;
  refuseContainer(given);
  const text = typeof given === 'string' ? given.trim() : '';
  const [task, exact] = text.startsWith('{') ? parsedThen(batch, text) : [given, given];
  if (typeof task !== 'string' && !isPlainObject(task))
    throw new BadBatch(`"then" of batch "${batch}" is a task, a JSON object or a text: got ${shown(then)}`);
  if (task === '') throw new BadBatch(`"then" of batch "${batch}" is an empty text: omit it, or name a task`);
  if (typeof task !== 'string' && 'parts' in task)
    throw new BadBatch(
      `"then" of batch "${batch}" has a field "parts": that is where it is told the batch's results. Rename yours`,
    );
  const whole = typeof task === 'string' || hasId(task) ? exact : withId(exact as object, `${batch}:then`);
  const { id, raw } = encodedThen(batch, whole);
  const outer = partMarkOf(task, id, { raw: Buffer.from(raw) });
  if (outer?.id === batch)
    throw new BadBatch(`"then" of batch "${batch}" is a part of that batch itself, which would wait for it`);
  return { raw, id, ...(outer && { batch: outer }) };
}

/** The id comes first, and replaces one that is none. */
function withId(task: object, id: string): object {
  return { id, ...task, ...('id' in task && { id }) };
}

/** The value of a text, and one that becomes the text again: its numbers are as they were written. */
function parsedThen(batch: string, text: string): readonly [value: unknown, exact: unknown] {
  try {
    return [JSON.parse(text), exactJson(text)];
  } catch (cause) {
    if (cause instanceof RangeError) throw tooDeep(batch, cause);
    throw new BadBatch(
      `"then" of batch "${batch}" begins like a JSON object and does not parse: ${(cause as Error).message}`,
      { cause },
    );
  }
}

const tooDeep = (batch: string, cause: unknown): BadBatch =>
  new BadBatch(`"then" of batch "${batch}" is nested too deeply: store it elsewhere and push a reference`, {
    cause,
  });

function encodedThen(batch: string, task: unknown): { readonly id: string; readonly raw: string } {
  const [id, raw] = encodedText(batch, task);
  checkPartId(batch, id);
  if (Buffer.byteLength(raw) > MAX_THEN_BYTES)
    throw new BadBatch(
      `"then" of batch "${batch}" is too large: ${Buffer.byteLength(raw)} bytes, and at most ${MAX_THEN_BYTES} are allowed. Store it elsewhere and push a reference`,
    );
  return { id, raw };
}

function encodedText(batch: string, task: unknown): readonly [id: string, raw: string] {
  try {
    const raw = typeof task === 'string' ? task : JSON.stringify(task);
    const encoded: EncodedTask = encodeTask(raw);
    return [String(encoded.id), raw];
  } catch (cause) {
    if (cause instanceof RangeError) throw tooDeep(batch, cause);
    throw cause;
  }
}

/** The member of the cancel marks that stands for all parts of a batch; no id of a task that people give begins with a NUL. */
export function batchCancelMark(id: string): string {
  return `\0batch\0${id}`;
}
