/**
 * `queue/`: all that we know about Redis. It takes tasks and ids from clients, and turns and reports from workers; it
 * returns tasks, results and samples. It knows nothing of Kubernetes, pools or handlers.
 *
 * The queue library, for programs that enqueue tasks and collect results. It does nothing that a plain client could not do with
 * `LPUSH` and `HGET`; it takes care of waiting and batching.
 *
 * `openQueue` returns a handle with a few functions and owns its connections until it is closed (`await using`, or
 * `close()`). A lost connection is re-established automatically; commands wait for it.
 */
import { openClusterLinks } from './connection/cluster/links.ts';
import { closeRedis, openRedis, redisNow, type RedisAddress } from './connection/connection.ts';
import { checkDurability, type Durability } from './connection/durability.ts';
import {
  createEncoder,
  dueIn,
  priorityOf,
  type EnqueueOptions,
  type TaskEncoder,
} from './enqueue-options.ts';
import type { QueueView } from './inspect.ts';
import { openBatches, type Batches } from './batches/batches.ts';
import { openLimits, type Limits } from './limits/open-limits.ts';
import { queueKeys, type QueueKeys } from './keys.ts';
import type { DeadLetters } from './dead-letters.ts';
import { createBatchPusher } from './parts/batch-pusher.ts';
import { cancelInLevels, checkForLevel, createLevels, deadInLevels } from './parts/levels.ts';
import { openPart, type Part } from './parts/part.ts';
import { cancelIn, homeOf, inspectParts, progressIn, type Parts } from './parts/parts.ts';
import { createRecentIds, type RecentIds } from './parts/recent-ids.ts';
import { namingKey, NOT_LOST } from './wrong-key.ts';
import type { Priority } from './priorities.ts';
import { partitionedKeys, partitionKeys } from './partitions.ts';
import { pauseQueue, resumeQueue } from './pause.ts';
import { createElsewhere, type OtherHashes } from './results/elsewhere.ts';
import type { ResultOptions } from './results/results.ts';
import { defineScripts } from './scripts/scripts.ts';
import { BadTaskOptions, uniqueInPartitions } from './task-options.ts';
import { checkTaskId, shortId, type EncodedTask, type IdOf, type TaskId } from './task.ts';
import { traced } from './tracing.ts';

export { NotReplicated, type Durability } from './connection/durability.ts';
export { TaskCancelled } from './cancel.ts';
export { BadBatch, type FailurePolicy } from './batch-mark.ts';
export { BadTaskOptions } from './task-options.ts';
export type { EnqueueOptions } from './enqueue-options.ts';
export type { Priority } from './priorities.ts';
export { nested, NestedBatch, type Batch, type BatchOptions } from './batches/add.ts';
export { BatchCancelled, BatchExists } from './batches/batch-errors.ts';
export type { Batches } from './batches/batches.ts';
export type { BatchState, BatchView, PartResult } from './batches/record.ts';
export type { DeadLetter } from './dead-letter-format.ts';
export type { DeadFilter, DeadLetters, DeadSelection } from './dead-letters.ts';
export type { TaskProgress } from './progress.ts';
export type { QueueView, WorkerView } from './inspect.ts';
export { queueKeys, type QueueKeys } from './keys.ts';
export {
  ResultTimeout,
  TaskDuplicate,
  TaskExpired,
  TaskFailed,
  type ResultOptions,
} from './results/results.ts';
export { BadLimits, describeLimits, type KeyLimits, type QueueLimits } from './limits/definition.ts';
export { LimitsOfPool, type LimitedKey, type LimitsView } from './limits/limits.ts';
export type { ChangeOptions, Limits } from './limits/open-limits.ts';
export { parseTask, type IdOf, type ParsedTask, type TaskId } from './task.ts';
export { WrongKeyType, type QueueCounters, type QueueSample } from './pool/sample.ts';
export { credentialsFrom } from './connection/credential-files.ts';
export type { CredentialSource, RedisCredentials } from './connection/address.ts';
export type { RedisAddress, RedisTls } from './connection/connection.ts';

export interface QueueOptions {
  /** A URL, or an address with its parts. */
  readonly redis?: string | RedisAddress;
  readonly queue?: string;
  readonly result?: string;
  /**
   * The queue is in this many lists, `queue:{0}` to `queue:{n-1}`, each with a result hash of its own; 1 by default, with plain
   * names. A task goes to the list that the CRC-32 of its id chooses. Of several numbers, where the queue was in another number of
   * lists before, tasks go to the lists of the last one, and the others are read as well.
   */
  readonly partitions?: number | readonly number[];
  /**
   * After each push, wait until this many replicas of Redis have it; throw `NotReplicated` when they do not confirm in
   * time. The tasks are enqueued nevertheless: enqueueing them again would run them twice.
   */
  readonly durability?: Durability;
}

/** A task that was to be pushed. */
export interface Pushed<Id> {
  /** Of a duplicate, that of the task that has its key. */
  readonly id: Id;
  /** It was not pushed, because another task has its key. */
  readonly duplicate: boolean;
}

export interface Queue extends AsyncDisposable {
  /** Of the plain names. */
  readonly keys: QueueKeys;
  /** Of all lists that it is in; only `keys`, unless it is in partitions. */
  readonly partitions: readonly QueueKeys[];
  /**
   * Adds one task and resolves to its id: a text, or for a binary task its bytes. Text and bytes are pushed unchanged, anything
   * else as JSON; an object without an `id` gets one, and `traceparent` if an OpenTelemetry span is active. Remains of an earlier
   * task with that id are deleted: its result, its error, and its cancellation.
   *
   * The task is pushed once, even if the connection breaks before Redis has replied and the push is resent.
   */
  enqueue<Task>(task: Task, options?: EnqueueOptions): Promise<IdOf<Task>>;
  /**
   * The same, and says whether the task was pushed. With `unique`, it is not if another task has that key, whose id is returned, also by
   * `enqueue`: wait for its result.
   */
  enqueueUnique<Task>(task: Task, options: EnqueueOptions): Promise<Pushed<IdOf<Task>>>;
  /**
   * Adds many tasks, in order, in batches of moderate size; resolves to their ids. In partitions, the order is kept within each, and
   * batches of several are pushed at the same time.
   */
  enqueueMany<Task>(
    tasks: Iterable<Task> | AsyncIterable<Task>,
    options?: EnqueueOptions,
  ): Promise<IdOf<Task>[]>;
  /**
   * Waits for a result, without polling if the server supports that, and resolves to it as text (or, with `as`, as bytes
   * or parsed JSON). Throws `TaskFailed` when the task failed for good, `TaskCancelled` when it was cancelled,
   * `ResultTimeout` after `timeoutMs`, and the signal's reason when it aborts. In partitions, a result of a task that a plain client
   * pushed to another list than its id chooses is found within some seconds.
   */
  result(id: string | Buffer, options: ResultOptions & { as: 'bytes' }): Promise<Buffer>;
  result(id: string | Buffer, options: ResultOptions & { as: 'json' }): Promise<unknown>;
  result(id: string | Buffer, options?: ResultOptions): Promise<string>;
  /**
   * Cancels a task: one that waits or is delayed is not run, one that runs is aborted, within about a second. Resolves to
   * `finished`, and does nothing, if the id has a result or failed for good. `marked` does not imply that the task exists;
   * a mark that meets none expires after a week. Of several tasks with one id, one is cancelled.
   */
  cancel(id: string | Buffer): Promise<'marked' | 'finished'>;
  /** The last report of the task's handler; `undefined` if it is not running, or has reported nothing. */
  progress(id: TaskId): Promise<unknown>;
  inspect(): Promise<QueueView>;
  /**
   * Workers begin no more tasks of this queue until it is resumed; running ones are finished. Takes effect within a second.
   * `reason` is shown when the queue is inspected.
   */
  pause(reason?: string): Promise<void>;
  /** Resolves to whether the queue was paused. */
  resume(): Promise<boolean>;
  /**
   * `batch(tasks, { then })` splits work: when all tasks have ended, `then` is pushed, once. `batch.show`, `batch.list`, `batch.cancel` and
   * `batch.results` say what became of one. See docs/batches.md.
   */
  readonly batch: Batches;
  /**
   * `limits.set({ rate: '100/s', concurrency: 20, perKey: { field: 'customer', concurrency: 1 } })`: how many tasks may begin in a time and run
   * at once. See docs/limits.md.
   */
  readonly limits: Limits;
  /** `dead(20)` lists the newest dead letters; `dead.find`, `dead.requeue` and `dead.drop` work on chosen ones. */
  readonly dead: DeadLetters;
  close(): Promise<void>;
}

/** A slot that moves, or a replica that takes over, is waited for like a server that is away, but not for ever, ms. */
const PASSING_MS = 60_000;

/** Opens a queue. Throws `RangeError` for an invalid address, name or number of partitions; connects in the background. */
export function openQueue(options: QueueOptions = {}): Queue {
  const address: RedisAddress =
    typeof options.redis === 'object' ? options.redis : { url: options.redis ?? 'redis://localhost:6379' };
  const { queue: name = 'task_queue', result: resultName = 'result', partitions = 1, durability } = options;
  const keys = queueKeys(name, resultName);
  const lists = partitionedKeys(name, resultName, partitions);
  const current = new Set(
    partitionKeys(name, resultName, [partitions].flat().at(-1) ?? 1).map(({ queue }) => queue),
  );
  if (durability) checkDurability(durability);
  const links = address.cluster && openClusterLinks({ address, waits: true, passingMs: PASSING_MS });
  const shared = links ? undefined : defineScripts(openRedis(address));
  const access = { address, durability, links, shared };
  const all = lists.map((list) => openPart(list, access));
  const parts: Parts = { all, current: all.filter((part) => current.has(part.keys.queue)) };
  const recent = createRecentIds();
  const levels = createLevels(parts, (list, level) =>
    openPart(list, { ...access, level: { level, of: keys } }),
  );
  const results = openResultsOf(parts, recent);
  const limited = openLimits(all);
  let closed = false;
  const close = async (): Promise<void> => {
    closed = true;
    results[Symbol.dispose]();
    await Promise.all([levels, ...all].map((part) => part[Symbol.asyncDispose]()));
    if (links) await links[Symbol.asyncDispose]();
    if (shared) await closeRedis(shared);
  };
  /** An error of Redis that a key has another type names the key; after `close`, errors say so. `harm`: of what may be done in part. */
  const named = async <T>(run: () => Promise<T>, harm?: string): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      if (closed)
        throw new Error(`queue "${name}" was closed: open it again (${(error as Error).message})`, {
          cause: error,
        });
      const there = await levels.all().catch(() => parts);
      throw await namingKey(error, there.all, harm === undefined ? {} : { harm });
    }
  };
  const pushOne = async (task: unknown, when: EnqueueOptions | undefined): Promise<Pushed<TaskId>> => {
    const encode = await createEncoder(when, () => timeOf(parts));
    const priority = priorityOf(when);
    const encoded = onlyIn(parts, encode(task), priority);
    const duplicates = await homeOf(levels.pushedTo(priority), encoded.id).push([encoded], dueIn(when));
    if (all.length > 1) recent.add(encoded.id);
    return { id: duplicates.get(0) ?? encoded.id, duplicate: duplicates.has(0) };
  };
  return {
    keys,
    partitions: lists,
    enqueue: ((task, when) =>
      traced(keys.queue, async (stamp) => {
        const { id, duplicate } = await named(() => pushOne(stamp(task), when));
        return { tasks: duplicate ? 0 : 1, value: id };
      })) as Queue['enqueue'],
    enqueueUnique: ((task, when) =>
      traced(keys.queue, async (stamp) => {
        const value = await named(() => pushOne(stamp(task), when));
        return { tasks: value.duplicate ? 0 : 1, value };
      })) as Queue['enqueueUnique'],
    enqueueMany: ((tasks, when) =>
      traced(keys.queue, async (stamp) => {
        if (when?.unique !== undefined)
          throw new BadTaskOptions(
            'unique is the key of one task: for many, name that of each in its field "millrace"',
          );
        const encode = await createEncoder(when, () => timeOf(parts));
        const priority = priorityOf(when);
        const encoded = (task: unknown): EncodedTask => onlyIn(parts, encode(stamp(task)), priority);
        const pushing = (): Promise<TaskId[]> =>
          enqueueMany(levels.pushedTo(priority), tasks, dueIn(when), encoded);
        const ids = await named(pushing, 'tasks before these may have been pushed');
        if (all.length > 1) for (const id of ids) recent.add(id);
        return { tasks: ids.length, value: ids };
      })) as Queue['enqueueMany'],
    result: results.wait as Queue['result'],
    cancel: (id) =>
      named(async () => {
        const task = checkTaskId(id);
        const there = await levels.all();
        return there.all.length > all.length
          ? await cancelInLevels(there, task)
          : await cancelIn(parts, task, recent.has(task));
      }),
    progress: (id) =>
      named(async () => {
        const task = checkTaskId(id);
        return progressIn(await levels.all(), task);
      }),
    inspect: () => named(async () => inspectParts(await levels.all())),
    pause: (reason = '') =>
      named(async () => {
        const there = await levels.all();
        await Promise.all(there.all.map((part) => pauseQueue(part.redis, part.keys, reason)));
      }),
    resume: () =>
      named(async () => {
        const there = await levels.all();
        const resumed = await Promise.all(there.all.map((part) => resumeQueue(part.redis, part.keys)));
        return resumed.includes(true);
      }),
    batch: openBatches(parts, keys),
    limits: {
      set: (limits, how) => named(() => limited.set(limits, how), NOT_LOST),
      show: () => named(() => limited.show()),
      remove: (how) => named(() => limited.remove(how), NOT_LOST),
    },
    dead: deadInLevels(levels, named),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The task. Throws `BadTaskOptions` for one that has to be in the only list of its queue. */
function onlyIn({ all }: Parts, task: EncodedTask, priority: Priority): EncodedTask {
  if (priority !== 'normal') checkForLevel(task, priority);
  if (task.unique && all.length > 1) throw uniqueInPartitions(`task ${shortId(task.id)}`, task.unique.key);
  return task;
}

/** The time by the clock of Redis, ms; of partitions, that of one. */
async function timeOf({ current: [first] }: Parts): Promise<number> {
  return first ? await redisNow(first.redis) : Date.now();
}

interface PartsResults extends Disposable {
  wait(this: void, id: TaskId, options?: ResultOptions): Promise<unknown>;
}

/** Waits for results at the home of their ids, and looks for those of tasks that are not ours in the other partitions as well. */
function openResultsOf(parts: Parts, recent: RecentIds): PartsResults {
  const elsewhere = createElsewhere();
  const hashesOf = ({ resultHash, redis, keys }: Part): OtherHashes => ({
    values: resultHash,
    errors: { redis, key: keys.errors },
  });
  const hashes = new Map(parts.all.map((part) => [part, hashesOf(part)]));
  return {
    wait: (id, options) => {
      try {
        checkTaskId(id);
      } catch (error) {
        return Promise.reject(error);
      }
      const home = homeOf(parts, id);
      if (parts.all.length === 1 || recent.has(id)) return home.results.wait(id, options);
      const others = [...hashes].flatMap(([part, places]) => (part === home ? [] : [places]));
      return home.results.wait(id, options, (settle) => elsewhere.add({ id, hashes: others, settle }));
    },
    [Symbol.dispose]: () => elsewhere[Symbol.dispose](),
  };
}

async function enqueueMany(
  parts: Parts,
  tasks: Iterable<unknown> | AsyncIterable<unknown>,
  delayMs: number | undefined,
  encode: TaskEncoder,
): Promise<TaskId[]> {
  const ids: TaskId[] = [];
  const pusher = createBatchPusher(parts, delayMs, (number, id) => (ids[number] = id));
  for await (const task of tasks) {
    const encoded = encode(task);
    ids.push(encoded.id);
    await pusher.add(encoded);
  }
  await pusher.end();
  return ids;
}
