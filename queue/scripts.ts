/**
 * The Lua scripts as typed functions. Keys and arguments are put in the order that each script's head names; replies
 * become values. EVALSHA with a fallback to EVAL on NOSCRIPT is ioredis's own.
 */
import type { Redis } from 'ioredis';
import { redisNow } from './connection.ts';
import type { QueueKeys } from './keys.ts';
import { sources } from './lua.ts';

type Arg = string | number | Buffer;
type Script = (...args: Arg[]) => Promise<unknown>;

/** How many dead letters a queue keeps. */
const DEAD_KEPT = 10_000;
/** How long a blocking move of a worker may last, and so outlive the worker, ms. */
export const BLOCK_MS = 5_000;
const GRAVE_MS = 2 * BLOCK_MS;

/** How many keys each script takes; `undefined`: the first argument says how many. */
const arity = { turn: 13, register: 5, reap: 9, sample: 8, drain: undefined, note: 1 } as const;

/** Makes the scripts known to a connection. To be called once for each. */
export function defineScripts(redis: Redis): Redis {
  for (const [name, numberOfKeys] of Object.entries(arity)) {
    const lua = sources[name];
    if (lua === undefined) throw new Error(`queue/${name}.lua is not part of this build: build it again`);
    redis.defineCommand(`millrace:${name}`, { ...(numberOfKeys && { numberOfKeys }), lua });
  }
  return redis;
}

/** The script as a function of its keys and arguments; bytes in its reply stay bytes. */
export function script(redis: Redis, name: keyof typeof arity): Script {
  const call = (redis as unknown as Record<string, Script | undefined>)[`millrace:${name}Buffer`];
  if (!call) throw new Error(`scripts were not defined on this connection: call defineScripts first`);
  return call.bind(redis);
}

/** What a task has been through before this delivery. */
export interface Past {
  /** Tries that failed. */
  readonly attempts: number;
  /** Deliveries to workers that were lost while they held it. */
  readonly deliveries: number;
}

export interface Settled {
  readonly results: readonly { receipt: string; id: string | Buffer; value: string | Buffer }[];
  readonly retries: readonly { receipt: string; delayMs: number; past: Past }[];
  readonly dead: readonly { receipt: string; id: string | Buffer; header: string }[];
  readonly released: readonly string[];
  /** Service time of what was settled, µs in all. */
  readonly serviceUs: number;
  /** The bucket of each slow task among it (slow.ts). */
  readonly slow?: readonly number[];
}

export interface TurnRequest {
  readonly worker: string;
  readonly epoch: number;
  /** One more than in the last turn that was answered; the same when this one repeats it. */
  readonly turn: number;
  /** The highest receipt counter seen so far. */
  readonly seen: number;
  readonly settled: Settled;
  /** How many tasks may be taken. */
  readonly want: number;
  readonly leaseMs: number;
  readonly state: string;
}

export interface Delivery {
  readonly receipt: string;
  readonly raw: Buffer;
  readonly past: Past;
}

export type TurnReply =
  | { readonly kind: 'fenced' }
  | {
      readonly kind: 'held';
      /** Redis time, ms. */
      readonly now: number;
      /** Length of the queue after the turn; a text when the queue could not be read. */
      readonly length: number | string;
      readonly drain: boolean;
      readonly seen: number;
      readonly tasks: readonly Delivery[];
      /** Until the next delayed task falls due, ms. */
      readonly dueInMs: number | undefined;
    };

const noPast: Past = { attempts: 0, deliveries: 0 };

export async function turn(redis: Redis, keys: QueueKeys, request: TurnRequest): Promise<TurnReply> {
  const { worker, epoch, settled } = request;
  const args: Arg[] = [
    keys.queue,
    keys.result,
    keys.workers,
    keys.worker(worker),
    keys.inflight(worker),
    keys.carried(worker),
    keys.wake(worker),
    keys.delayed,
    keys.dead,
    keys.errors,
    keys.stats,
    keys.history,
    keys.load,
    worker,
    epoch,
    request.turn,
    request.seen,
    request.want,
    request.leaseMs,
    request.state,
    [Math.round(settled.serviceUs), ...(settled.slow ?? [])].join(' '),
    DEAD_KEPT,
    settled.results.length,
    settled.retries.length,
    settled.dead.length,
    settled.released.length,
  ];
  for (const { receipt } of settled.results) args.push(receipt);
  for (const { id, value } of settled.results) args.push(id, value);
  for (const { receipt, delayMs, past } of settled.retries)
    args.push(receipt, Math.round(delayMs), `${past.attempts}:${past.deliveries}`);
  for (const { receipt, id, header } of settled.dead) args.push(receipt, id, header);
  for (const receipt of settled.released) args.push(receipt);
  const reply = (await script(redis, 'turn')(...args)) as [
    ...[number, number, number | Buffer, number, number, Buffer[], unknown[], number],
  ];
  if (reply[0] === 0) return { kind: 'fenced' };
  const [, now, length, drain, first, raws, pastList, dueIn] = reply;
  const pasts = new Map<number, Past>();
  for (let i = 0; i + 1 < pastList.length; i += 2)
    pasts.set(Number(pastList[i]), parsePast(String(pastList[i + 1])));
  return {
    kind: 'held',
    now,
    length: typeof length === 'number' ? length : length.toString(),
    drain: drain === 1,
    seen: first + raws.length - 1,
    tasks: raws.map((raw, i) => ({
      receipt: `${epoch}-${first + i}`,
      raw,
      past: pasts.get(i + 1) ?? noPast,
    })),
    dueInMs: dueIn < 0 ? undefined : dueIn,
  };
}

function parsePast(text: string): Past {
  const [attempts = 0, deliveries = 0] = text.split(':').map(Number);
  return { attempts, deliveries };
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
    keys.leaving,
    worker,
    leaseMs,
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
