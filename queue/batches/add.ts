/**
 * `queue/batches/` takes tasks and makes a batch of them, and returns what became of it. It knows nothing of workers: these count parts
 * as they settle them (scripts/batch/batches.lua).
 *
 * Adds the parts of a batch, a chunk at a time, so that a client needs no more memory for a million of them than for a thousand. Chunks are
 * numbered, so each is added once, even if a connection breaks before Redis has replied. A batch cannot end before its last
 * chunk is there, and a client that dies before that leaves a batch that is still being added to: it can be cancelled.
 */
import { randomUUID } from 'node:crypto';
import {
  BadBatch,
  checkBatchId,
  checkPolicy,
  encodePart,
  encodeThen,
  type FailurePolicy,
  type ThenTask,
} from '../batch-mark.ts';
import type { Part } from '../parts/part.ts';
import { script } from '../scripts/scripts.ts';
import { shortId, type EncodedTask } from '../task.ts';
import { pack } from '../workers/pack.ts';
import { packedThen } from '../workers/turn.ts';
import { createPartIds, type PartIds } from './part-ids.ts';
import { cancelBatch } from './record.ts';

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

/** A batch with this id exists, or existed within the last week. */
export class BatchExists extends Error {
  override name = 'BatchExists';
  constructor(id: string) {
    super(`a batch "${id}" exists already, or ended within the last week: choose another id, or none`);
  }
}

/** The batch was cancelled, or a part of it failed, while parts were still being added to it. */
export class BatchCancelled extends Error {
  override name = 'BatchCancelled';
  /** Of the batch. */
  readonly id: string;
  constructor(id: string, why: string) {
    super(`batch "${id}" ended while parts were being added to it, the rest was not pushed: ${why}`);
    this.id = id;
  }
}

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

const CHUNK_TASKS = 1_000;
const CHUNK_BYTES = 1 << 20;

/** What one batch is added with. */
interface Adding {
  readonly part: Part;
  /** Transforms a task before it is encoded. */
  readonly stamp: (task: unknown) => unknown;
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
  return await addParts(adding, { id, policy, then }, tasks);
}

interface Begun {
  readonly id: string;
  readonly policy: FailurePolicy;
  readonly then: ThenTask | undefined;
  /** `then` becomes a part of its batch. */
  readonly joins?: true;
}

async function addParts(adding: Adding, about: Begun, tasks: Tasks): Promise<Batch> {
  const { id } = about;
  const chunks = createChunks(adding.part, about);
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
      if (ids.add(number, String(part.id))) await chunks.add(part);
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
  const then = encodePart(outerId, plain.raw, `${id}:then`);
  if (!ids.add(number, String(then.id)))
    throw new BadBatch(
      `"then" of batch "${id}" has the id of another part of batch "${outerId}", "${shortId(then.id)}": give it one of its own`,
    );
  await chunks.push();
  const whole = { id: String(then.id), raw: String(then.raw), batch: { id: outerId } };
  try {
    await addParts(adding, { id, policy, then: whole, joins: true }, tasks);
  } catch (error) {
    if (!(error instanceof BatchCancelled && error.id === id)) throw error;
    await chunks.checkOpen();
  }
}

interface Chunks {
  add(task: EncodedTask): Promise<void>;
  /** Resolves when Redis has all that were added, and the batch. */
  push(): Promise<void>;
  /** Rejects with `BatchCancelled` if no more parts are wanted. */
  checkOpen(): Promise<void>;
  /** Resolves to the number of parts. */
  end(): Promise<number>;
  /** Cancels what has been added. */
  abandon(): Promise<void>;
}

function createChunks({ own, redis, resultHash, confirmed }: Part, batch: Begun): Chunks {
  const { id, policy, then, joins } = batch;
  const adder = randomUUID();
  const shown = resultHash.key;
  const packed = pack({ policy, ...packedThen(then), joins: joins && 1, unique: 1, resultName: shown });
  const { queue, result, errors, cancelled, stats } = own;
  let tasks: EncodedTask[] = [];
  let bytes = 0;
  let number = 0;
  let begun = false;
  let size = 0;
  /** The next chunk is encoded while Redis executes this one. */
  let sent: Promise<void> = Promise.resolve();

  async function send(chunk: number, last: boolean, now: readonly EncodedTask[]): Promise<void> {
    const ids = now.map((task) => task.id);
    if (resultHash.redis !== redis && ids.length > 0) {
      // those of another batch of this id stay; the script says so again, with nothing between its look and its writes
      const holder = chunk === 1 ? await redis.hget(own.batch(id), 'adder') : adder;
      if (holder !== null && holder !== adder) throw new BatchExists(id);
      await resultHash.redis.hdel(shown, ...ids);
    }
    const about = [id, adder, chunk, last ? 1 : 0, packed, ids.length, now.length];
    const args = [...about, ...ids, ...now.map(({ raw }) => raw)];
    const reply = (await script(redis, 'batch-add')(queue, result, errors, cancelled, stats, ...args)) as [
      number,
      ...unknown[],
    ];
    if (reply[0] === -1) throw new BatchExists(id);
    if (reply[0] === -4)
      throw new BadBatch(
        `batch "${id}" cannot begin in a queue that is being moved (millrace move), because its parts would be counted in two places: begin it in the new place`,
      );
    begun = true;
    if (reply[0] === -2) throw new BatchCancelled(id, String(reply[1]));
    if (reply[0] === -3)
      throw new Error(
        `Redis has lost parts of batch "${id}": it went back to an older state. Begin it again under another id`,
      );
    size = reply[0];
  }

  async function flush(last = false): Promise<void> {
    await sent;
    sent = send(++number, last, tasks);
    sent.catch(() => undefined);
    [tasks, bytes] = [[], 0];
  }

  return {
    add: async (task) => {
      tasks.push(task);
      bytes += task.raw.length;
      if (tasks.length >= CHUNK_TASKS || bytes >= CHUNK_BYTES) await flush();
    },
    push: async () => {
      if (tasks.length > 0 || number === 0) await flush();
      await sent;
    },
    checkOpen: async () => {
      const [state, why] = await redis.hmget(own.batch(id), 'state', 'why');
      if (state) throw new BatchCancelled(id, why ?? 'it was cancelled');
    },
    end: async () => {
      await flush(true);
      await sent;
      await confirmed(size);
      return size;
    },
    abandon: async () => {
      await sent.catch(() => undefined);
      if (begun) await cancelBatch(redis, own, id, 'its client failed to add all of its parts');
    },
  };
}
