/**
 * `queue/scripts/`: Lua scripts, each one atomic step, and the functions that call them. They take keys and plain values and
 * return checked values. They know nothing of who calls.
 *
 * The Lua scripts as typed functions; the largest, the worker's turn, is in workers/turn.ts. Keys and arguments go in the order
 * of each script's head; replies become values. EVALSHA with a fallback to EVAL on NOSCRIPT is ioredis's own.
 */
import { randomInt } from 'node:crypto';
import type { Redis } from 'ioredis';
import { definedCommand } from '../connection/ioredis-internals.ts';
import type { QueueKeys } from '../keys.ts';
import { sources } from './lua.ts';
import { asList, asText } from './decode-reply.ts';

type Arg = string | number | Buffer;
type Script = (...args: Arg[]) => Promise<unknown>;

/** How long a blocking move of a worker may last, and so outlive the worker, ms. */
export const BLOCK_MS = 5_000;
/** Bytes; no worker of ours has a longer id. */
const LONGEST_ID = 1_024;
const GRAVE_MS = 2 * BLOCK_MS;

/** Number of keys of each script; `undefined`: the first argument is their number. */
const arity = {
  turn: 22,
  register: 5,
  reap: 15,
  overdue: 2,
  rejoin: 6,
  sample: 13,
  cancel: 4,
  push: 6,
  letter: 4,
  progress: 2,
  sweep: 5,
  drain: undefined,
  filled: undefined,
  note: 1,
  read: 1,
  ask: undefined,
  'list-workers': 2,
  heads: 1,
  move: 4,
} as const;

/** Defines the scripts on a connection. Call once for each. */
export function defineScripts(redis: Redis): Redis {
  for (const [name, numberOfKeys] of Object.entries(arity)) {
    const lua = sources[name];
    if (lua === undefined)
      throw new Error(`queue/scripts/${name}.lua is not part of this build: build it again`);
    redis.defineCommand(`millrace:${name}`, { ...(numberOfKeys && { numberOfKeys }), lua });
  }
  return redis;
}

/** The script as a function of its keys and arguments; bytes in its reply stay bytes. */
export function script(redis: Redis, name: keyof typeof arity): Script {
  const call = definedCommand(redis, `millrace:${name}`) as Script | undefined;
  if (!call) throw new Error(`scripts were not defined on this connection: call defineScripts first`);
  return call.bind(redis);
}

/** Begins an epoch; `undefined` while remains of an earlier one exist. Reap that one first. */
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
    keys.load,
    keys.leaving,
    keys.clock,
    worker,
    leaseMs,
    randomInt(1_000),
    ...Object.entries(about).flat(),
  );
  return Number(epoch) || undefined;
}

/** Sets a field of a worker's hash. Does nothing when the epoch is over. */
export async function note(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  epoch: number,
  field: string,
  value: string | number,
): Promise<void> {
  await script(redis, 'note')(keys.worker(worker), epoch, field, value);
}

/**
 * Puts back what a worker holds and ends its epoch. `whose`: `expired`, `any`, or one epoch. `why`: only what was held
 * by a worker that is `lost` counts a delivery; `displaced` means that the worker was removed by something else, `silent`
 * that its lease expired for an unknown reason. `graveMs`: how long a blocking move of it may still be pending in Redis. Returns
 * the number of tasks that went back to the queue, or `undefined` if the worker was not the one meant.
 */
export async function reap(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  whose: 'expired' | 'any' | number,
  why: 'lost' | 'displaced' | 'silent' | 'leave',
  graveMs: number = why === 'leave' ? 0 : GRAVE_MS,
): Promise<number | undefined> {
  const piece = (of: typeof whose): Promise<ReapReply> => reapPiece(redis, keys, worker, of, why, graveMs);
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
): Promise<ReapReply> {
  const reply = await script(redis, 'reap')(
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
    worker,
    whose,
    why,
    graveMs,
  );
  return reply as ReapReply;
}

/** The reply of reap.lua: tasks put back, -1 when the worker was not the one meant; and those that it still holds. */
type ReapReply = readonly [returned: number, rest: number];

/** Returns suspects that wait aside to the queue if no worker is left to take them. Resolves to their number. */
export async function rejoin(redis: Redis, keys: QueueKeys): Promise<number> {
  const { queue, workers, suspects, history, pasts, stats } = keys;
  let returned = 0;
  for (;;) {
    const count = Number(await script(redis, 'rejoin')(queue, workers, suspects, history, pasts, stats));
    if (count === 0) return returned;
    returned += count;
  }
}

/** Reaps every worker whose lease is over, at most 100 at a time; returns the tasks that went back, by worker. */
export async function reapExpired(redis: Redis, keys: QueueKeys): Promise<ReadonlyMap<string, number>> {
  const expired = await findOverdue(redis, keys);
  const returned = new Map<string, number>();
  for (const worker of expired) {
    const tasks = await reap(redis, keys, worker, 'expired', 'silent');
    if (tasks !== undefined) returned.set(worker, tasks);
  }
  await rejoin(redis, keys);
  return returned;
}

/** The workers whose lease is over, at most 200. Each call advances queue time (turn.lua): needed where no worker turns. */
export async function findOverdue(redis: Redis, keys: QueueKeys): Promise<string[]> {
  const found = await script(redis, 'overdue')(keys.workers, keys.clock, keys.worker(''), 100, LONGEST_ID);
  return asList(found, 'workers whose lease is over').map((id) => asText(id, 'a worker'));
}
