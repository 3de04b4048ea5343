/**
 * What workers that find their number of slots themselves leave to those that start later, beside their queue: the number that was best,
 * and larger ones that are being tried, so that a worker that is killed for want of memory does not try the same again.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';

/** Numbers are forgotten after this long without a worker, s. */
const KEPT_S = 7 * 86_400;

export interface LearnedSlots {
  /** By any worker of the pool. */
  readonly slots: number | undefined;
  /** The number that this worker tried when it ended without a goodbye. */
  readonly diedAt: number | undefined;
}

const bestField = (pool: string): string => `best ${pool}`;
const trialField = (worker: string): string => `trial ${worker}`;

/** `pool`: `namespace/name`; empty outside of pools. */
export async function readLearnedSlots(
  redis: Redis,
  keys: QueueKeys,
  pool: string,
  worker: string,
): Promise<LearnedSlots> {
  const [slots, diedAt] = await redis.hmget(keys.slots, bestField(pool), trialField(worker));
  return { slots: numberOf(slots), diedAt: numberOf(diedAt) };
}

export async function writeBestSlots(
  redis: Redis,
  keys: QueueKeys,
  pool: string,
  slots: number,
): Promise<void> {
  await redis.hset(keys.slots, bestField(pool), slots);
  await redis.expire(keys.slots, KEPT_S);
}

/** `undefined`: the trial is over. */
export async function writeTrialSlots(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  slots: number | undefined,
): Promise<void> {
  if (slots === undefined) await redis.hdel(keys.slots, trialField(worker));
  else {
    await redis.hset(keys.slots, trialField(worker), slots);
    await redis.expire(keys.slots, KEPT_S);
  }
}

/** Of a text that anyone may have written. */
function numberOf(text: string | null | undefined): number | undefined {
  const value = Number(text ?? NaN);
  return Number.isSafeInteger(value) && value >= 1 ? value : undefined;
}
