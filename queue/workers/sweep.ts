/**
 * Removes expired results, errors and dead letters (sweep.lua), and looks after batches (batch/tend.lua): workers and the controller both do
 * the first, workers the second, now and then.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import type { RedisOf } from '../location.ts';
import { script } from '../scripts/scripts.ts';
import { deliverReports } from './batch-reports.ts';

/** Entries removed per call of the script, which blocks the server. */
const BATCH = 500;
/** Limit on the calls, so that the caller can return to its other work. */
const MOST_CALLS = 200;

/** Removes expired results, errors and dead letters, in pieces that block the server only briefly. */
export async function sweep(redis: Redis, keys: QueueKeys): Promise<void> {
  const { queue, result, dead, errors, cancelled, expiry } = keys;
  for (let calls = 0; calls < MOST_CALLS; calls++)
    if ((await script(redis, 'sweep')(result, dead, errors, cancelled, expiry, BATCH, queue)) !== 1) return;
}

/** A batch of which no part has ended for this long may have parts that ended uncounted, ms. */
const STILL_MS = 5_000;
const PARTS = 200;

/** Deletes records of batches that ended a week ago, and counts parts that ended uncounted (batch/tend.lua). */
export async function tendBatches(redis: Redis, keys: QueueKeys, stillMs = STILL_MS): Promise<void> {
  await tend(redis, keys, stillMs, 0);
}

/** The same in a partition, where parts of batches are counted that are whole in others: tells those. */
export async function tendShares(redisOf: RedisOf, keys: QueueKeys, stillMs = STILL_MS): Promise<void> {
  await tend(redisOf(keys), keys, stillMs, 1);
  await deliverReports(redisOf, keys);
}

async function tend(redis: Redis, keys: QueueKeys, stillMs: number, shares: 0 | 1): Promise<void> {
  const { queue, result, errors, stats } = keys;
  const call = script(redis, 'batch-tend');
  for (let calls = 0; calls < MOST_CALLS; calls++)
    if ((await call(queue, result, errors, stats, stillMs, PARTS, shares)) !== 1) return;
}
