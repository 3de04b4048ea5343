/**
 * `queue/batches/` takes tasks and makes a batch of them, and returns what became of it. It knows nothing of workers: these count parts
 * as they settle them (scripts/batch/batches.lua).
 *
 * Adds the parts of a batch, a chunk at a time, so that a client needs no more memory for a million of them than for a thousand. A batch
 * cannot end before its last chunk is there, and a client that dies before that leaves a batch that is still being added to: it can be
 * cancelled.
 */
import { randomUUID } from 'node:crypto';
import {
  BadBatch,
  checkBatchId,
  checkPolicy,
  encodePart,
  encodeThen,
  type FailurePolicy,
} from '../batch-mark.ts';
import { shortId } from '../task.ts';
import { ownOptionsOf, uniqueInPartitions } from '../task-options.ts';
import { BatchCancelled } from './batch-errors.ts';
import { createChunks, type Adding, type Begun, type Chunks } from './chunks.ts';
import { createPartIds, type PartIds } from './part-ids.ts';

export interface BatchOptions {
  /** Of the batch; at most 200 bytes. Random by default. */
  readonly id?: string;
  /**
   * The task that is pushed when all parts have ended: a JSON object or a text. An object is told in its field `parts` where the
   * results are, and gets the id `BATCH:then` if it has none.
   */
  readonly then?: unknown;
  /**
   * When a part has failed for good: `wait` until its dead letter is requeued, or dropped; `cancel` the parts that have not ended, and make a
   * dead letter of `then`; or `continue`. `wait` by default.
   */
  readonly onFailure?: FailurePolicy;
}

/** A batch of which all parts have been added. */
export interface Batch {
  readonly id: string;
  /** Number of its parts, each id once. */
  readonly size: number;
  /** Id of the task that follows, for `queue.result`. */
  readonly then: string | undefined;
}

export type Tasks = Iterable<unknown> | AsyncIterable<unknown>;

/** A batch that is a part of another one. See `nested`. */
export class NestedBatch {
  readonly tasks: Tasks;
  readonly options: BatchOptions;
  constructor(tasks: Tasks, options: BatchOptions) {
    this.tasks = tasks;
    this.options = options;
  }
}

/**
 * A batch as a part of another one, in the place of a task: it has ended when its `then` task has, whose result is that of the part.
 * Its id is by default that of the outer one with the number of the part.
 */
export function nested(tasks: Tasks, options: BatchOptions & { readonly then: unknown }): NestedBatch {
  return new NestedBatch(tasks, options);
}

/**
 * Adds a batch. Rejects with `BadBatch` for what cannot be one, with `BatchExists`, with `BatchCancelled`, and with the error of `tasks`,
 * if they have one: then the batch is cancelled.
 */
export async function addBatch(adding: Adding, tasks: Tasks, options: BatchOptions): Promise<Batch> {
  const { id = randomUUID() } = options;
  checkBatchId(id);
  const policy = checkPolicy(id, options.onFailure ?? 'wait');
  const then = options.then === undefined ? undefined : encodeThen(id, adding.stamp(options.then));
  if (then) refuseUnique(adding, then.raw, () => `"then" of batch "${id}"`);
  return await addParts(adding, { id, policy, then }, tasks);
}

/** Throws `BadTaskOptions` for a task that has to be in the only list of its queue; `what` says which. */
function refuseUnique({ parts }: Adding, raw: string | Buffer, what: () => string): void {
  const unique = parts.current.length > 1 ? ownOptionsOf(raw)?.unique : undefined;
  if (unique !== undefined) throw uniqueInPartitions(what(), unique);
}

async function addParts(adding: Adding, about: Begun, tasks: Tasks): Promise<Batch> {
  const { id } = about;
  const chunks = createChunks(adding, about);
  const ids = createPartIds(id);
  let count = 0;
  try {
    for await (const task of tasks) {
      const number = count++;
      const fallbackId = `${id}:${number}`;
      if (task instanceof NestedBatch) {
        await addNested(adding, { chunks, id, ids, number }, task);
        continue;
      }
      const part = encodePart(id, adding.stamp(task), fallbackId);
      refuseUnique(adding, part.raw, () => `part ${shortId(part.id)} of batch "${id}"`);
      if (ids.add(number, String(part.id))) chunks.add(part, part.id === fallbackId ? number : undefined);
      // not for each part: a promise costs as much as encoding a small one
      if (chunks.full) await chunks.flush();
    }
    if (count === 0) throw new BadBatch(`batch "${id}" has no parts: it needs one at least`);
    return { id, size: await chunks.end(), then: about.then?.id };
  } catch (error) {
    await chunks.abandon();
    throw error;
  }
}

interface Outer {
  readonly chunks: Chunks;
  readonly id: string;
  readonly ids: PartIds;
  /** Of the part that the inner batch is. */
  readonly number: number;
}

/**
 * The step that begins the inner batch makes its `then` a part of the outer one: neither is there without the other. An inner one that fails
 * while it is added is a failed part, and the rule of the outer one decides.
 */
async function addNested(
  adding: Adding,
  { chunks, id: outerId, ids, number }: Outer,
  { tasks, options }: NestedBatch,
): Promise<void> {
  const { id = `${outerId}:${number}` } = options;
  checkBatchId(id);
  if (options.then === undefined)
    throw new BadBatch(
      `batch "${id}" inside of batch "${outerId}" has no "then": its result is that of the part`,
    );
  const policy = checkPolicy(id, options.onFailure ?? 'wait');
  const plain = encodeThen(id, adding.stamp(options.then));
  refuseUnique(adding, plain.raw, () => `"then" of batch "${id}"`);
  const then = encodePart(outerId, plain.raw, `${id}:then`);
  if (!ids.add(number, String(then.id)))
    throw new BadBatch(
      `"then" of batch "${id}" has the id of another part of batch "${outerId}", "${shortId(then.id)}": give it one of its own`,
    );
  await chunks.reserve(String(then.id), id);
  const whole = { id: String(then.id), raw: String(then.raw), batch: { id: outerId } };
  try {
    await addParts(adding, { id, policy, then: whole, joins: true }, tasks);
  } catch (error) {
    if (!(error instanceof BatchCancelled && error.id === id)) throw error;
    await chunks.checkOpen();
  }
}
