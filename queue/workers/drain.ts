/**
 * Orders workers to drain, and reads their states: the part of a scale-in that is in Redis.
 *
 * A mark is in two places: in the worker's hash, where each of its turns reads it (turn.lua then gives it no tasks, however many
 * it wants), and in `leaving`, for a worker that registers only later. It lasts MARK_MS and must be renewed before.
 */
import type { Redis } from 'ioredis';
import { listWorkers } from './list-workers.ts';
import type { QueueKeys } from '../keys.ts';
import type { RedisOf } from '../location.ts';
import { unblockWaits } from './worker-connections.ts';
import { asCount, asList, asText } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';
import { mergeLoads, type WorkerLoad, type WorkerLoads } from './worker-load.ts';

/** An order for a worker: of the controller, or of a person (`ask`, `release`), which takes precedence. */
export type DrainOrder = 'leave' | 'stay' | 'read' | 'ask' | 'release';

/** How long a mark lasts unless renewed, ms. */
const MARK_MS = 30_000;

/**
 * Executes the orders, in each queue atomically, and resolves to the states of the workers right after. A mark lasts `markMs`.
 */
export async function drainWorkers(
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  orders: ReadonlyMap<string, DrainOrder>,
  markMs = MARK_MS,
): Promise<WorkerLoads> {
  const all = await Promise.all(queues.map((keys) => drainIn(redisOf(keys), keys, orders, markMs)));
  const loads = new Map<string, WorkerLoad>();
  for (const some of all) {
    for (const [id, load] of some) {
      const other = loads.get(id);
      loads.set(id, other ? mergeLoads(other, load) : load);
    }
  }
  return loads;
}

/** The workers that are registered in these queues (of each at most 1,000), and `named` ones, registered or not. */
export async function registeredWorkers(
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  named: Iterable<string>,
): Promise<WorkerLoads> {
  const found = await Promise.all(queues.map((keys) => listWorkers(redisOf(keys), keys)));
  const ids = [...named, ...found.flat().map(({ id }) => id)];
  return drainWorkers(redisOf, queues, new Map(ids.map((id) => [id, 'read'])));
}

async function drainIn(
  redis: Redis,
  keys: QueueKeys,
  orders: ReadonlyMap<string, DrainOrder>,
  markMs: number,
): Promise<WorkerLoads> {
  const ids = [...orders.keys()];
  const reply = await script(redis, 'drain')(
    ids.length + 3,
    keys.leaving,
    keys.load,
    keys.asked,
    ...ids.map((id) => keys.worker(id)),
    markMs,
    ...[...orders].flat(),
  );
  const loads = new Map<string, WorkerLoad>();
  for (const [i, one] of asList(reply, 'the states of workers', ids.length).entries()) {
    const [state, inFlight, blocker, pool] = asList(one, 'a worker', 4);
    const reported = asText(state, 'a state', 32);
    if (reported === '') continue;
    const connection = Number(asText(blocker, 'a connection', 32));
    loads.set(ids[i] ?? '', {
      state: reported,
      inFlight: asCount(inFlight, 'tasks in flight'),
      blockers: Number.isSafeInteger(connection) && connection > 0 ? [connection] : [],
      pool: asText(pool, 'a pool', 512),
    });
  }
  return loads;
}

/**
 * Ends the blocking waits of workers, so that they make a turn immediately. If the server does not allow that, they do so
 * within a second anyway. Never rejects.
 */
export async function endWaits(redis: Redis, loads: Iterable<WorkerLoad>): Promise<void> {
  await unblockWaits(
    redis,
    [...loads].flatMap(({ blockers }) => blockers),
  );
}
