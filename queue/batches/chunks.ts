/**
 * Sends the parts of a batch to Redis, a chunk at a time. Chunks are numbered, so each is added once, even if a connection breaks before
 * Redis has replied.
 *
 * In a queue in partitions, each part goes to the list that its id chooses, as other tasks do. One partition has the whole batch, the others
 * that get parts a share of it. The whole is told of a share before that begins, and all are open until the last part is there.
 */
import { randomUUID } from 'node:crypto';
import { BadBatch, type FailurePolicy, type ThenTask } from '../batch-mark.ts';
import type { QueueKeys } from '../keys.ts';
import type { RedisOf } from '../location.ts';
import type { Part } from '../parts/part.ts';
import { homeOf, type Parts } from '../parts/parts.ts';
import { script } from '../scripts/scripts.ts';
import type { EncodedTask } from '../task.ts';
import { deliverReports } from '../workers/batch-reports.ts';
import { pack, type PackableObject } from '../workers/pack.ts';
import { packedThen } from '../workers/packed-parts.ts';
import { BatchCancelled, BatchExists } from './batch-errors.ts';
import { cancelBatch } from './record.ts';

/** What a batch is added with. */
export interface Adding {
  readonly parts: Parts;
  /** Name of the result hash for people; of partitions, without their number. */
  readonly resultName: string;
  /** Transforms a task before it is encoded. */
  readonly stamp: (task: unknown) => unknown;
}

export interface Begun {
  readonly id: string;
  readonly policy: FailurePolicy;
  readonly then: ThenTask | undefined;
  /** `then` becomes a part of its batch. */
  readonly joins?: true;
}

export interface Chunks {
  /** `number`: the one in its id, if that was made for it. */
  add(task: EncodedTask, number: number | undefined): void;
  /** What was added is to be flushed before more is. */
  readonly full: boolean;
  /** Sends what was added, once the chunk before it has arrived. */
  flush(): Promise<void>;
  /** Resolves when Redis has all that were added, and expects the part of this id, which batch `inner` will add as it begins. */
  reserve(id: string, inner: string): Promise<void>;
  /** Rejects with `BatchCancelled` if no more parts are wanted. */
  checkOpen(): Promise<void>;
  /** Resolves to the number of parts. */
  end(): Promise<number>;
  /** Cancels what has been added. */
  abandon(): Promise<void>;
}

const CHUNK_TASKS = 1_000;
const CHUNK_BYTES = 1 << 20;
/** In partitions a chunk is divided among them. */
const MOST_CHUNKS = 8;

/** Where a batch is counted as a whole: the partition of the `then` task, unless that has an id of its own. */
export function wholeOf(parts: Parts, id: string): Part {
  return homeOf(parts, `${id}:then`);
}

export const redisOfParts =
  ({ all }: Parts): RedisOf =>
  ({ queue }: QueueKeys) => {
    const part = all.find(({ keys }) => keys.queue === queue);
    if (part) return part.redis;
    throw new RangeError(
      `partition "${queue}" of a batch is not among the ${all.length} that this client knows: open the queue with the number of partitions that it has`,
    );
  };

export function createChunks({ parts, resultName }: Adding, batch: Begun): Chunks {
  const { id } = batch;
  const isSpread = parts.current.length > 1;
  const home = wholeOf(parts, id);
  const adder = randomUUID();
  const { policy, joins } = batch;
  const role: PackableObject = isSpread
    ? { role: 'whole', partitions: parts.current.length, homeResult: home.keys.result }
    : {};
  const about = { policy, ...packedThen(batch.then), joins: joins && 1, resultName, ...role };
  const whole = createRecord(home, { id, adder, about });
  const shares = new Map<Part, BatchRecord>();
  const most = isSpread ? Math.min(parts.current.length, MOST_CHUNKS) : 1;
  let tasks: EncodedTask[] = [];
  let bytes = 0;
  /** The number of the first task, while all have numbers that follow one another. */
  let first: number | undefined;
  let number = 0;
  let count = 0;
  /** The next chunk is encoded while Redis executes this one. */
  let sent: Promise<void> = Promise.resolve();

  const shareIn = (part: Part): BatchRecord => {
    const { queue, result } = home.keys;
    const share = { policy, resultName, role: 'share', home: queue, homeResult: result };
    const record = shares.get(part) ?? createRecord(part, { id, adder, about: share });
    shares.set(part, record);
    return record;
  };
  /** Lists ids in the whole, and expects the shares that begin. */
  const announce = async (
    mine: readonly EncodedTask[],
    to: readonly Part[],
    ids: readonly TaskId[],
  ): Promise<void> => {
    const begin = to.filter((part) => !shares.has(part)).map(({ keys }) => keys.queue);
    await whole.send(mine, false, { whole: pack({ shares: begin, ids }) });
    count += ids.length;
  };

  async function send(
    now: readonly EncodedTask[],
    firstNumber: number | undefined,
    isFirst: boolean,
    last: boolean,
  ): Promise<void> {
    if (!isSpread) {
      const sending = whole.send(now, last, { first: firstNumber });
      return await (now.length > 0 || isFirst ? sending : unlessOver(sending));
    }
    const groups = Map.groupBy(now, (task) => homeOf(parts, task.id));
    const mine = groups.get(home) ?? [];
    groups.delete(home);
    if (isFirst || now.length > 0)
      await announce(
        mine,
        [...groups.keys()],
        now.map((task) => task.id),
      );
    const theirs = Array.from(groups, ([part, some]) => shareIn(part).send(some, last));
    if (!last) return void (await Promise.all(theirs));
    const others = [...shares].filter(([part]) => !groups.has(part));
    await Promise.all([...theirs, ...others.map(([, record]) => record.send([], true))].map(unlessOver));
    await unlessOver(whole.send([], true));
  }

  async function flush(last = false): Promise<void> {
    await sent;
    sent = send(tasks, first, number++ === 0, last);
    sent.catch(() => undefined);
    [tasks, bytes] = [[], 0];
  }
  const push = async (): Promise<void> => {
    if (tasks.length > 0 || number === 0) await flush();
    await sent;
  };
  /** What is not told here is told by workers. */
  const deliver = async (): Promise<void> => {
    const noted = [...shares].filter(([, record]) => record.notes).map(([part]) => part);
    const redisOf = redisOfParts(parts);
    for (const { own } of whole.notes ? [home, ...noted] : noted)
      await deliverReports(redisOf, own).catch(() => undefined);
  };

  return {
    add: (task, partNumber) => {
      if (tasks.length === 0) first = partNumber;
      else if (first !== undefined && partNumber !== first + tasks.length) first = undefined;
      tasks.push(task);
      bytes += task.raw.length;
    },
    get full() {
      return tasks.length >= most * CHUNK_TASKS || bytes >= most * CHUNK_BYTES;
    },
    flush,
    reserve: async (partId, inner) => {
      await push();
      if (!isSpread) return;
      const part = wholeOf(parts, inner);
      await announce([], part === home ? [] : [part], [partId]);
      if (part !== home && !shares.has(part)) await shareIn(part).send([], false);
    },
    checkOpen: async () => {
      const [state, why] = await home.redis.hmget(home.own.batch(id), 'state', 'why');
      if (state) throw new BatchCancelled(id, why ?? 'it was cancelled');
    },
    end: async () => {
      await flush(true);
      await sent;
      const size = isSpread ? count : whole.size;
      await Promise.all([home, ...shares.keys()].map(({ confirmed }) => confirmed(size)));
      await deliver();
      return size;
    },
    abandon: async () => {
      await sent.catch(() => undefined);
      // a share that refuses more tells the whole why
      if (!whole.begun || [whole, ...shares.values()].some(({ stopped }) => stopped)) return;
      await cancelBatch(redisOfParts(parts), home.own, id, 'its client failed to add all of its parts');
    },
  };
}

type TaskId = EncodedTask['id'];

/** A batch that fails or is cancelled while its last parts arrive has them all, as in the only list, where they arrive in one step. */
async function unlessOver(sending: Promise<void>): Promise<void> {
  try {
    await sending;
  } catch (error) {
    if (!(error instanceof BatchCancelled)) throw error;
  }
}

/** What one partition, or the only list, knows of a batch. */
interface BatchRecord {
  readonly begun: boolean;
  /** What is left of it is being cancelled. */
  readonly stopped: boolean;
  /** Number of parts. */
  readonly size: number;
  /** Other partitions are to be told of it. */
  readonly notes: boolean;
  /** Adds a chunk. `first`: the number of its first part, if the ids have numbers that follow one another. */
  send(
    tasks: readonly EncodedTask[],
    last: boolean,
    rest?: { readonly first?: number | undefined; readonly whole?: Buffer },
  ): Promise<void>;
}

interface RecordOptions {
  readonly id: string;
  /** Known to this client only. */
  readonly adder: string;
  readonly about: PackableObject;
}

function createRecord({ own, redis, resultHash }: Part, { id, adder, about }: RecordOptions): BatchRecord {
  const packed = pack({ ...about, unique: 1 });
  const { queue, result, errors, cancelled, stats } = own;
  let chunk = 0;
  let begun = false;
  let stopped = false;
  let size = 0;
  let notes = false;
  return {
    get begun() {
      return begun;
    },
    get stopped() {
      return stopped;
    },
    get size() {
      return size;
    },
    get notes() {
      return notes;
    },
    send: async (now, last, { first, whole } = {}) => {
      const ids = now.map((task) => task.id);
      const isFirst = ++chunk === 1;
      if (resultHash.redis !== redis && ids.length > 0) {
        // those of another batch of this id stay; the script says so again, with nothing between its look and its writes
        const holder = isFirst ? await redis.hget(own.batch(id), 'adder') : adder;
        if (holder !== null && holder !== adder) throw new BatchExists(id);
        await resultHash.redis.hdel(resultHash.key, ...ids);
      }
      const head = [id, adder, chunk, last ? 1 : 0, packed, ids.length, now.length, first ?? ''];
      const args = [...head, ...ids, ...now.map(({ raw }) => raw), ...(whole ? [whole] : [])];
      const reply = (await script(redis, 'batch-add')(queue, result, errors, cancelled, stats, ...args)) as [
        number,
        ...unknown[],
      ];
      stopped = reply[0] === -2;
      throwRefusal(id, reply, () => (begun = true));
      size = reply[0];
      if (reply[2]) notes = true;
    },
  };
}

/** Throws what a reply of batch/add.lua says, if that is no size. `onBegun`: called if there is a batch of this client. */
function throwRefusal(id: string, reply: readonly [number, ...unknown[]], onBegun: () => void): void {
  if (reply[0] === -1) throw new BatchExists(id);
  if (reply[0] === -4)
    throw new BadBatch(
      `batch "${id}" cannot begin in a queue that is being moved (millrace move), because its parts would be counted in two places: begin it in the new place`,
    );
  onBegun();
  if (reply[0] === -2) throw new BatchCancelled(id, String(reply[1]));
  if (reply[0] === -3)
    throw new Error(
      `Redis has lost parts of batch "${id}": it went back to an older state. Begin it again under another id`,
    );
}
