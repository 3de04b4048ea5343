/**
 * `queue/`: all that we know about Redis. It takes tasks and ids from clients, and turns and reports from workers; it
 * returns tasks, results and samples. It knows nothing of Kubernetes, pools or handlers.
 *
 * The queue library: what a program needs to hand out tasks and to collect results. It adds nothing to the contract
 * that a plain client could not do with `LPUSH` and `HGET`; it saves the waiting and the batching.
 *
 * `openQueue` returns a handle with a few functions and owns its connections until it is closed (`await using`, or
 * `close()`). A connection that is lost comes back by itself; commands wait for it.
 */
import type { Redis } from 'ioredis';
import { cancelTask } from './cancel.ts';
import { closeRedis, openRedis, type RedisAddress } from './connection/connection.ts';
import { awaitReplicas, checkDurability, type Durability } from './connection/durability.ts';
import { inspectQueue, type QueueView } from './inspect.ts';
import { queueKeys, type QueueKeys } from './keys.ts';
import { openDeadLetters, type DeadLetters } from './dead-letters.ts';
import { pauseQueue, resumeQueue } from './pause.ts';
import { readProgress } from './progress.ts';
import { createPusher, type Pusher } from './push.ts';
import { openResults, type ResultOptions, type Results } from './results.ts';
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
export { ResultTimeout, TaskFailed, type ResultOptions } from './results.ts';
export { parseTask, type IdOf, type ParsedTask, type TaskId } from './task.ts';
export { WrongKeyType, type QueueCounters, type QueueSample } from './pool/sample.ts';
export type { RedisAddress, RedisTls } from './connection/connection.ts';

export interface QueueOptions {
  /** A URL, or an address with its parts. */
  readonly redis?: string | RedisAddress;
  readonly queue?: string;
  readonly result?: string;
  /**
   * After each push, wait until so many replicas of Redis have it; throw `NotReplicated` when they do not confirm in
   * time. The tasks are enqueued then all the same: enqueueing them again would run them twice.
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
   * Adds one task and returns its id: a text, and for a task that is bytes and no text, these bytes. Text and bytes are pushed as
   * they are, anything else as JSON; an object without an `id` is given one, and `traceparent` where an OpenTelemetry span is
   * active. What is left of an earlier task with that id is forgotten: its result, its error, and a cancel of it.
   *
   * The task is pushed once, also when the connection breaks before Redis has answered and the push is sent again.
   */
  enqueue<Task>(task: Task, options?: EnqueueOptions): Promise<IdOf<Task>>;
  /** Adds many tasks, in their order, in as few round trips as is kind to the server; returns their ids. */
  enqueueMany<Task>(
    tasks: Iterable<Task> | AsyncIterable<Task>,
    options?: EnqueueOptions,
  ): Promise<IdOf<Task>[]>;
  /**
   * Waits for a result, without polling where the server allows it, and returns it as text (or, with `as`, as bytes
   * or parsed JSON). Throws `TaskFailed` when the task failed for good, `TaskCancelled` when it was cancelled,
   * `ResultTimeout` after `timeoutMs`, and the signal's reason when that aborts.
   */
  result(id: string | Buffer, options: ResultOptions & { as: 'bytes' }): Promise<Buffer>;
  result(id: string | Buffer, options: ResultOptions & { as: 'json' }): Promise<unknown>;
  result(id: string | Buffer, options?: ResultOptions): Promise<string>;
  /**
   * Cancels a task: one that waits or is delayed is not run, one that runs is aborted, within about a second. `finished`
   * when the id has a result or failed for good: then nothing is done. `marked` does not say that there is such a task;
   * a mark that meets none is forgotten after a week. Of several tasks with one id, one is cancelled.
   */
  cancel(id: string | Buffer): Promise<'marked' | 'finished'>;
  /** What the task's handler reported last; `undefined` when it does not run now, or has reported nothing. */
  progress(id: TaskId): Promise<unknown>;
  inspect(): Promise<QueueView>;
  /**
   * Workers begin no more tasks of this queue until it is resumed; what runs is finished. They hear of it within a
   * second. `reason` is shown to whoever inspects the queue.
   */
  pause(reason?: string): Promise<void>;
  /** Resolves to whether it was paused. */
  resume(): Promise<boolean>;
  /** `dead(20)` lists the newest dead letters; `dead.find`, `dead.requeue` and `dead.drop` work on chosen ones. */
  readonly dead: DeadLetters;
  close(): Promise<void>;
}

const BATCH_TASKS = 1_000;
const BATCH_BYTES = 1 << 20;

/** Opens a queue. Throws `RangeError` for an address or a name that cannot be one; connects in the background. */
export function openQueue(options: QueueOptions = {}): Queue {
  const address: RedisAddress =
    typeof options.redis === 'object' ? options.redis : { url: options.redis ?? 'redis://localhost:6379' };
  const keys = queueKeys(options.queue ?? 'task_queue', options.result ?? 'result');
  const { durability } = options;
  if (durability) checkDurability(durability);
  const redis = defineScripts(openRedis(address));
  const pusher = createPusher(redis, keys);
  const target: PushTarget = { redis, pusher, durability };
  const results: Results = openResults(address, keys, redis);
  const close = async (): Promise<void> => {
    await Promise.all([results[Symbol.asyncDispose](), pusher[Symbol.asyncDispose]()]);
    await closeRedis(redis);
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
    cancel: (id) => cancelTask(redis, keys, id),
    progress: (id) => readProgress(redis, keys, id),
    inspect: () => inspectQueue(redis, keys),
    pause: (reason = '') => pauseQueue(redis, keys, reason),
    resume: () => resumeQueue(redis, keys),
    dead: openDeadLetters(redis, keys),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Milliseconds from now, or `undefined` for at once. */
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
  // while Redis takes one batch, the next one is made
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
