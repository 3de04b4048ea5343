/** What a client says of the tasks that it enqueues, and how these are encoded with it. */
import { BadTaskOptions, checkExpiresAt, encodeWithOptions } from './task-options.ts';
import { isPriority, type Priority } from './priorities.ts';
import type { EncodedTask } from './task.ts';

export interface EnqueueOptions {
  /** Run it no earlier than this from now, ms. */
  readonly delayMs?: number;
  /** Run it no earlier than this. */
  readonly at?: Date;
  /**
   * If it was not begun by then, it is not run, and a dead letter with that reason: `result` throws a `TaskExpired`. By the clock of Redis,
   * and of the first time that it is begun. The task has to be a JSON object; it gets the field `millrace`. See docs/task-options.md.
   */
  readonly expiresAt?: Date;
  /** The same, from now, ms. */
  readonly expiresInMs?: number;
  /**
   * While a task with this key waits, is delayed or runs, another one is not pushed, and `enqueue` resolves to the id of the one that is there.
   * Of one task; it has to be a JSON object. See docs/task-options.md.
   */
  readonly unique?: string;
  /** The key is kept for so long at least, from the push on, even if the task has ended, ms. */
  readonly uniqueForMs?: number;
  /**
   * `high`: before all tasks of normal priority, `low`: after them. Where the queue's pool or its workers serve that priority, otherwise it
   * is refused. See docs/task-options.md.
   */
  readonly priority?: Priority;
}

/** Milliseconds from now, or `undefined` for immediately. Throws `RangeError`. */
export function dueIn(options: EnqueueOptions = {}): number | undefined {
  const at = msOf('at', options.at);
  const delay = at === undefined ? options.delayMs : at - Date.now();
  if (delay !== undefined && !Number.isFinite(delay))
    throw new RangeError(`a task cannot be delayed by ${delay} ms`);
  return delay !== undefined && delay > 0 ? delay : undefined;
}

/** In ms since the epoch. Throws `BadTaskOptions`. */
function msOf(name: 'at' | 'expiresAt', date: Date | undefined): number | undefined {
  if (date === undefined) return undefined;
  if (Object.prototype.toString.call(date) === '[object Date]') return date.getTime();
  throw new BadTaskOptions(`${name} is a Date: got ${JSON.stringify(date)}`);
}

/** Throws `BadTaskOptions`. */
export function priorityOf({ priority }: EnqueueOptions = {}): Priority {
  if (priority === undefined || isPriority(priority)) return priority ?? 'normal';
  throw new BadTaskOptions(`a priority is high, normal or low: got ${JSON.stringify(priority)}`);
}

/** Encodes tasks. Throws `BadTaskOptions` for one that cannot carry the options, `TypeError` for what JSON cannot represent. */
export type TaskEncoder = (task: unknown) => EncodedTask;

/** `redisNow`: asks Redis for its time, ms. Rejects with `BadTaskOptions`. */
export async function createEncoder(
  options: EnqueueOptions | undefined,
  redisNow: () => Promise<number>,
): Promise<TaskEncoder> {
  const expiry = await expiryOf(options ?? {}, redisNow);
  const { unique, uniqueForMs } = options ?? {};
  const fixed = {
    ...(unique !== undefined && { unique }),
    ...(uniqueForMs !== undefined && { uniqueForMs }),
  };
  return (task) => encodeWithOptions(task, { ...expiry(), ...fixed });
}

/** Returns when a task that is pushed now expires. */
async function expiryOf(
  options: EnqueueOptions,
  redisNow: () => Promise<number>,
): Promise<() => { readonly expiresAt?: number }> {
  const { expiresInMs } = options;
  const expiresAt = msOf('expiresAt', options.expiresAt);
  if (expiresAt === undefined && expiresInMs === undefined) return () => ({});
  if (expiresAt !== undefined && expiresInMs !== undefined)
    throw new BadTaskOptions('both expiresAt and expiresInMs are given: choose one');
  const lastsMs = expiresInMs ?? checkExpiresAt(expiresAt) - Date.now();
  if (expiresInMs !== undefined && !(Number.isFinite(expiresInMs) && expiresInMs > 0))
    throw new BadTaskOptions(`a task cannot expire in ${expiresInMs} ms: name a time that is to come`);
  const delayMs = dueIn(options);
  if (delayMs !== undefined && delayMs >= lastsMs)
    throw new BadTaskOptions(
      'the task would expire before it is due: let it expire later, or run it earlier',
    );
  if (expiresAt !== undefined) return () => ({ expiresAt });
  // a stream of tasks may last: each expires so long after it is pushed
  const aheadMs = (await redisNow()) - performance.now();
  return () => ({ expiresAt: Math.ceil(performance.now() + aheadMs + lastsMs) });
}
