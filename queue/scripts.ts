/**
 * The Lua scripts as typed functions; the largest, the worker's turn, is in turn.ts. Keys and arguments are put in the
 * order that each script's head names; replies become values. EVALSHA with a fallback to EVAL on NOSCRIPT is ioredis's own.
 */
import type { Redis } from 'ioredis';
import { redisNow } from './connection.ts';
import type { QueueKeys } from './keys.ts';
import { sources } from './lua.ts';

type Arg = string | number | Buffer;
type Script = (...args: Arg[]) => Promise<unknown>;

/** How long a blocking move of a worker may last, and so outlive the worker, ms. */
export const BLOCK_MS = 5_000;
const GRAVE_MS = 2 * BLOCK_MS;

const arity = {
  turn: 16,
  register: 4,
  reap: 10,
  sample: 9,
  cancel: 4,
  letter: 4,
  progress: 2,
  sweep: 5,
} as const;

/** Makes the scripts known to a connection. To be called once for each. */
export function defineScripts(redis: Redis): Redis {
  for (const [name, numberOfKeys] of Object.entries(arity)) {
    const lua = sources[name];
    if (lua === undefined) throw new Error(`queue/${name}.lua is not part of this build: build it again`);
    redis.defineCommand(`millrace:${name}`, { numberOfKeys, lua });
  }
  return redis;
}

/** The script as a function of its keys and arguments; bytes in its reply stay bytes. */
export function script(redis: Redis, name: keyof typeof arity): Script {
  const call = (redis as unknown as Record<string, Script | undefined>)[`millrace:${name}Buffer`];
  if (!call) throw new Error(`scripts were not defined on this connection: call defineScripts first`);
  return call.bind(redis);
}

/** Begins an epoch; `undefined` while the remains of an earlier one are in the way. Reap that one first. */
export async function register(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  leaseMs: number,
  about: Record<string, string | number>,
): Promise<number | undefined> {
  const epoch = await script(redis, 'register')(
    keys.workers,
    keys.worker(worker),
    keys.stats,
    keys.load,
    worker,
    leaseMs,
    ...Object.entries(about).flat(),
  );
  return Number(epoch) || undefined;
}

/**
 * Puts back what a worker holds and ends its epoch. `whose`: `expired`, `any`, or one epoch. Returns how many tasks
 * went back to the queue, or `undefined` when the worker was not the one meant.
 */
export async function reap(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  whose: 'expired' | 'any' | number,
  why: 'lost' | 'leave',
): Promise<number | undefined> {
  const returned = await script(redis, 'reap')(
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
    worker,
    whose,
    why,
    GRAVE_MS,
  );
  return Number(returned) < 0 ? undefined : Number(returned);
}

/** Reaps every worker whose lease is over, at most 100 at a time; returns the tasks that went back, by worker. */
export async function reapExpired(redis: Redis, keys: QueueKeys): Promise<ReadonlyMap<string, number>> {
  const expired = await redis.zrangebyscore(keys.workers, '-inf', await redisNow(redis), 'LIMIT', 0, 100);
  const returned = new Map<string, number>();
  for (const worker of expired) {
    const tasks = await reap(redis, keys, worker, 'expired', 'lost');
    if (tasks !== undefined) returned.set(worker, tasks);
  }
  return returned;
}
