/** Ends epochs of workers and puts their tasks back (reap.lua, rejoin.lua, overdue.lua). */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { openRequests, type Requests } from '../scripts/answers.ts';
import { asList, asText } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';

/** How long a blocking move of a worker may last, and so outlive the worker, ms. */
export const BLOCK_MS = 5_000;
/** Maximum length of a worker's id, bytes. */
const LONGEST_ID = 1_024;
/** How long a blocking move may be pending of a worker that has not ended it, ms. */
export const GRAVE_MS = 2 * BLOCK_MS;

/**
 * Puts back the tasks of a worker and ends its epoch. `whose`: `expired`, `any`, or one epoch. `why`: only tasks of a worker
 * that is `lost` count a delivery; `displaced` means that the worker was removed by something else, `silent`
 * that its lease expired for an unknown reason. `graveMs`: how long a blocking move of it may still be pending in Redis. Returns
 * the number of tasks that went back to the queue, also where a reply was lost, or `undefined` if the worker was not the one meant.
 */
export async function reap(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  whose: 'expired' | 'any' | number,
  why: 'lost' | 'displaced' | 'silent' | 'leave',
  graveMs: number = why === 'leave' ? 0 : GRAVE_MS,
): Promise<number | undefined> {
  await using requests = openRequests(redis, keys);
  const piece = (of: typeof whose): Promise<ReapReply> =>
    reapPiece(redis, keys, worker, of, why, graveMs, requests);
  // the last worker also returns what it had put aside; both commands are sent together
  const [first] = await Promise.all([piece(whose), graveMs === 0 && rejoin(redis, keys)]);
  let [returned, rest] = first;
  if (returned < 0) return undefined;
  const several = rest > 0;
  while (rest > 0) {
    const [more, left] = await piece(0);
    if (more < 0) break; // somebody else continued it
    returned += more;
    rest = left;
  }
  if (several && graveMs === 0) await rejoin(redis, keys);
  return returned;
}

/** One call of reap.lua, which puts back a part of what the worker holds; the epoch ends with the first one. */
export async function reapPiece(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  whose: 'expired' | 'any' | number,
  why: 'lost' | 'displaced' | 'silent' | 'leave',
  graveMs: number,
  requests: Requests,
): Promise<ReapReply> {
  const places = [
    keys.queue,
    keys.workers,
    keys.worker(worker),
    keys.inflight(worker),
    keys.carried(worker),
    keys.wake(worker),
    keys.stats,
    keys.history,
    keys.load,
    keys.progress(worker),
    keys.isolator,
    keys.pasts,
    keys.emptying,
    keys.apart,
    keys.clock,
    keys.limits,
  ];
  const reply = await requests.send(
    (answers, about) => script(redis, 'reap')(...places, answers, worker, whose, why, graveMs, about),
    (answer) => (answer as ReapReply)[0] >= 0,
  );
  return reply as ReapReply;
}

/** The reply of reap.lua: tasks put back, -1 when the worker was not the one meant; and those that it still holds. */
type ReapReply = readonly [returned: number, rest: number];

/** Returns suspects that were put aside to the queue if no worker is left to take them. Resolves to their number. */
export async function rejoin(redis: Redis, keys: QueueKeys): Promise<number> {
  const { queue, workers, suspects, history, pasts, stats } = keys;
  let returned = 0;
  for (;;) {
    const count = Number(await script(redis, 'rejoin')(queue, workers, suspects, history, pasts, stats));
    if (count === 0) return returned;
    returned += count;
  }
}

/**
 * Reaps the workers whose lease has expired, at most 200 per call; resolves to the number of tasks put back, by worker. `isWorker`: the
 * caller is a worker of this queue, which takes suspects that were put aside, so that they need not go back.
 */
export async function reapExpired(
  redis: Redis,
  keys: QueueKeys,
  isWorker = false,
): Promise<ReadonlyMap<string, number>> {
  const expired = await findOverdue(redis, keys);
  const returned = new Map<string, number>();
  for (const worker of expired) {
    const tasks = await reap(redis, keys, worker, 'expired', 'silent');
    if (tasks !== undefined) returned.set(worker, tasks);
  }
  if (!isWorker || expired.length > 0) await rejoin(redis, keys);
  return returned;
}

/** The workers whose lease has expired, at most 200. Each call advances queue time (turn.lua), also where no worker makes turns. */
export async function findOverdue(redis: Redis, keys: QueueKeys): Promise<string[]> {
  const found = await script(redis, 'overdue')(keys.workers, keys.clock, keys.worker(''), 100, LONGEST_ID);
  return asList(found, 'workers whose lease has expired').map((id) => asText(id, 'a worker'));
}
