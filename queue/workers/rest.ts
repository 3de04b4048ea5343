/** Lets a worker rest while nothing happens in its queue (rest.lua). */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { asCount, asList } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';

/** With more workers than this, none rests: each would look at all of them. */
const MOST_WORKERS = 1_000;

/** A worker that rests renews its lease after this part of the lease of its turns, and its lease is that many times as long. */
export const REST_PAUSE = 0.8;
export const REST_LEASE = 2;

export interface RestRequest {
  readonly worker: string;
  readonly epoch: number;
  /** Number of its last turn. */
  readonly turn: number;
  /** How long it may be silent now, ms. */
  readonly leaseMs: number;
  /** How long until the next call, ms. */
  readonly pauseMs: number;
}

export interface Rested {
  /** When the next delayed task falls due, if there is one, ms. */
  readonly dueInMs: number | undefined;
  /** Entries have expired: sweep.ts. */
  readonly expired: boolean;
}

/**
 * Renews the lease of a worker for a longer time, if nothing at all is to be done in the queue; otherwise does nothing and
 * resolves to `undefined`. The worker must listen to the queue, and no move of it may be blocked in the server.
 */
export async function rest(
  redis: Redis,
  keys: QueueKeys,
  { worker, epoch, turn, leaseMs, pauseMs }: RestRequest,
): Promise<Rested | undefined> {
  const reply = await script(redis, 'rest')(
    keys.queue,
    keys.workers,
    keys.worker(worker),
    keys.clock,
    keys.load,
    keys.suspects,
    keys.delayed,
    keys.paused,
    keys.expiry,
    keys.cancelled,
    worker,
    epoch,
    turn,
    leaseMs,
    pauseMs,
    keys.wake(''),
    MOST_WORKERS,
  );
  const [rests, dueInMs, expired] = asList(reply, 'whether a worker may rest');
  if (rests !== 1) return undefined;
  const due = Number(dueInMs);
  return {
    dueInMs: due >= 0 ? due : undefined,
    expired: asCount(expired, 'whether entries have expired') > 0,
  };
}
