/**
 * `queue/scripts/`: Lua scripts, each one atomic step, and the functions that call them. They take keys and plain values and
 * return checked values. They know nothing of who calls.
 *
 * The Lua scripts as typed functions; the largest, the worker's turn, is in workers/turn.ts. Keys and arguments are put in the
 * order that each script's head names; replies become values. EVALSHA with a fallback to EVAL on NOSCRIPT is ioredis's own.
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
/** Bytes; what has a longer name is no worker of ours. */
const LONGEST_ID = 1_024;
const GRAVE_MS = 2 * BLOCK_MS;

/** How many keys each script takes; `undefined`: the first argument says how many. */
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
  look: undefined,
  note: 1,
  read: 1,
  crew: 2,
  heads: 1,
  move: 4,
} as const;

/** Makes the scripts known to a connection. To be called once for each. */
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

/** Writes something down about a worker. Does nothing when the epoch is over. */
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
 * by a worker that is `lost` counts a delivery; `displaced` means that something else took the worker away, `silent` that
 * its lease ended and nobody knows why. `graveMs`:
 * how long a blocking move of it may still be pending in Redis. Returns how many tasks went back to the queue, or
 * `undefined` when the worker was not the one meant.
 */
export async function reap(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  whose: 'expired' | 'any' | number,
  why: 'lost' | 'displaced' | 'silent' | 'leave',
  graveMs: number = why === 'leave' ? 0 : GRAVE_MS,
): Promise<number | undefined> {
  const piece = async (of: typeof whose): Promise<ReapReply> => {
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
      of,
      why,
      graveMs,
    );
    return reply as ReapReply;
  };
  // the last worker takes leave of what it had put aside, too; both commands travel together
  const [first] = await Promise.all([piece(whose), graveMs === 0 && rejoin(redis, keys)]);
  let [returned, rest] = first;
  if (returned < 0) return undefined;
  const several = rest > 0;
  while (rest > 0) {
    const [more, left] = await piece(0);
    if (more < 0) break; // somebody else went on with it
    returned += more;
    rest = left;
  }
  if (several && graveMs === 0) await rejoin(redis, keys);
  return returned;
}

/** What reap.lua returns: -1 when the worker was not the one meant, and what it still holds after this piece. */
type ReapReply = readonly [returned: number, rest: number];

/** Suspects that wait aside go back to the queue when no worker is left to take them. Returns how many. */
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

/** The workers whose lease is over, at most 200. To ask lets queue time pass (turn.lua), so ask often where no worker turns. */
export async function findOverdue(redis: Redis, keys: QueueKeys): Promise<string[]> {
  const found = await script(redis, 'overdue')(keys.workers, keys.clock, keys.worker(''), 100, LONGEST_ID);
  return asList(found, 'workers whose lease is over').map((id) => asText(id, 'a worker'));
}
