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
import type { Redis } from 'ioredis';
import { cancelTask } from './cancel.ts';
import { openClusterLinks } from './connection/cluster/links.ts';
import { closeRedis, openRedis, type RedisAddress } from './connection/connection.ts';
import { awaitReplicas, checkDurability, type Durability } from './connection/durability.ts';
import { inspectQueue, type QueueView } from './inspect.ts';
import { queueKeys, type QueueKeys } from './keys.ts';
import { openDeadLetters, type DeadLetters } from './dead-letters.ts';
import { pauseQueue, resumeQueue } from './pause.ts';
import { locationOf } from './location.ts';
import { readProgress } from './progress.ts';
import { createPusher, type Pusher } from './push.ts';
import { openResults, type ResultOptions, type Results } from './results/results.ts';
import { defineScripts } from './scripts/scripts.ts';
import { encodeTask, type EncodedTask, type IdOf, type TaskId } from './task.ts';
import { traced } from './tracing.ts';

export { NotReplicated, type Durability } from './connection/durability.ts';
export { TaskCancelled } from './cancel.ts';
export type { DeadLetter } from './dead-letter-format.ts';
export type { DeadFilter, DeadLetters, DeadSelection } from './dead-letters.ts';
export type { TaskProgress } from './progress.ts';
export type { QueueView, WorkerView } from './inspect.ts';
export { queueKeys, type QueueKeys } from './keys.ts';
export { ResultTimeout, TaskFailed, type ResultOptions } from './results/results.ts';
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
   * After each push, wait until this many replicas of Redis have it; throw `NotReplicated` when they do not confirm in
   * time. The tasks are enqueued nevertheless: enqueueing them again would run them twice.
   */
  readonly durability?: Durability;
}

export interface EnqueueOptions {
  /** Run it no earlier than this from now, ms. */
  readonly delayMs?: number;
  /** Run it no earlier than this. */
  readonly at?: Date;
}

export interface Queue extends AsyncDisposable {
  readonly keys: QueueKeys;
  /**
   * Adds one task and resolves to its id: a text, or for a binary task its bytes. Text and bytes are pushed unchanged, anything
   * else as JSON; an object without an `id` gets one, and `traceparent` if an OpenTelemetry span is active. Remains of an earlier
   * task with that id are deleted: its result, its error, and its cancellation.
   *
   * The task is pushed once, even if the connection breaks before Redis has replied and the push is resent.
   */
  enqueue<Task>(task: Task, options?: EnqueueOptions): Promise<IdOf<Task>>;
  /** Adds many tasks, in order, in batches of moderate size; resolves to their ids. */
  enqueueMany<Task>(
    tasks: Iterable<Task> | AsyncIterable<Task>,
    options?: EnqueueOptions,
  ): Promise<IdOf<Task>[]>;
  /**
   * Waits for a result, without polling if the server supports that, and resolves to it as text (or, with `as`, as bytes
   * or parsed JSON). Throws `TaskFailed` when the task failed for good, `TaskCancelled` when it was cancelled,
   * `ResultTimeout` after `timeoutMs`, and the signal's reason when it aborts.
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
  /** `dead(20)` lists the newest dead letters; `dead.find`, `dead.requeue` and `dead.drop` work on chosen ones. */
  readonly dead: DeadLetters;
  close(): Promise<void>;
}

/** A slot that moves, or a replica that takes over, is waited for like a server that is away, but not for ever, ms. */
const PASSING_MS = 60_000;
const BATCH_TASKS = 1_000;
const BATCH_BYTES = 1 << 20;

/** Opens a queue. Throws `RangeError` for an invalid address or name; connects in the background. */
export function openQueue(options: QueueOptions = {}): Queue {
  const address: RedisAddress =
    typeof options.redis === 'object' ? options.redis : { url: options.redis ?? 'redis://localhost:6379' };
  const keys = queueKeys(options.queue ?? 'task_queue', options.result ?? 'result');
  const place = locationOf(address, keys);
  const { durability } = options;
  if (durability) checkDurability(durability);
  const links = address.cluster && openClusterLinks({ address, waits: true, passingMs: PASSING_MS });
  const redis = defineScripts(links?.client(keys.queue) ?? openRedis(place.address));
  const resultHash =
    links && place.results
      ? { ...place.results, redis: links.client(keys.result) }
      : { key: keys.result, address: place.address, redis };
  const pusher = createPusher(redis, place.keys, place.results && resultHash);
  const target: PushTarget = { redis, pusher, durability };
  const results: Results = openResults(resultHash, { key: keys.errors, address: place.address, redis });
  const close = async (): Promise<void> => {
    await Promise.all([results[Symbol.asyncDispose](), pusher[Symbol.asyncDispose]()]);
    await (links ? links[Symbol.asyncDispose]() : closeRedis(redis));
  };
  return {
    keys,
    enqueue: ((task, when) =>
      traced(keys.queue, async (stamp) => {
        const encoded = encodeTask(stamp(task));
        await push(target, [encoded], dueIn(when));
        return { tasks: 1, value: encoded.id };
      })) as Queue['enqueue'],
    enqueueMany: ((tasks, when) =>
      traced(keys.queue, async (stamp) => {
        const ids = await enqueueMany(target, tasks, dueIn(when), stamp);
        return { tasks: ids.length, value: ids };
      })) as Queue['enqueueMany'],
    result: ((id, asked) => results.wait(id, asked)) as Queue['result'],
    cancel: async (id) =>
      place.results && (await resultHash.redis.hexists(resultHash.key, id))
        ? 'finished'
        : await cancelTask(redis, place.keys, id),
    progress: (id) => readProgress(redis, keys, id),
    inspect: () => inspectQueue(redis, place.keys),
    pause: (reason = '') => pauseQueue(redis, keys, reason),
    resume: () => resumeQueue(redis, keys),
    dead: openDeadLetters(redis, keys),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Milliseconds from now, or `undefined` for immediately. */
function dueIn(when: EnqueueOptions | undefined): number | undefined {
  const delay = when?.at ? when.at.getTime() - Date.now() : when?.delayMs;
  if (delay !== undefined && !Number.isFinite(delay))
    throw new RangeError(`a task cannot be delayed by ${delay} ms`);
  return delay !== undefined && delay > 0 ? delay : undefined;
}

interface PushTarget {
  readonly redis: Redis;
  readonly pusher: Pusher;
  readonly durability: Durability | undefined;
}

async function enqueueMany(
  target: PushTarget,
  tasks: Iterable<unknown> | AsyncIterable<unknown>,
  delayMs: number | undefined,
  stamp: (task: unknown) => unknown,
): Promise<TaskId[]> {
  const ids: TaskId[] = [];
  let batch: EncodedTask[] = [];
  let bytes = 0;
  // the next batch is encoded while Redis executes this one
  let sent: Promise<void> = Promise.resolve();
  const send = async (): Promise<void> => {
    await sent;
    sent = push(target, batch, delayMs);
    sent.catch(() => undefined);
    batch = [];
    bytes = 0;
  };
  for await (const task of tasks) {
    const encoded = encodeTask(stamp(task));
    ids.push(encoded.id);
    batch.push(encoded);
    bytes += encoded.raw.length;
    if (batch.length >= BATCH_TASKS || bytes >= BATCH_BYTES) await send();
  }
  if (batch.length > 0) await send();
  await sent;
  return ids;
}

async function push(
  { redis, pusher, durability }: PushTarget,
  tasks: readonly EncodedTask[],
  delayMs: number | undefined,
): Promise<void> {
  await pusher.push(tasks, delayMs);
  const what = tasks.length === 1 ? 'the task is' : `${tasks.length} tasks are`;
  if (durability) await awaitReplicas(redis, durability, `${what} enqueued`);
}
