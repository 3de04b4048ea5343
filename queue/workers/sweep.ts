/**
 * Removes expired results, errors and dead letters (sweep.lua), and looks after batches (batch/tend.lua): workers and the controller both do
 * the first, workers the second, now and then.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';

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
  const { queue, result, errors, stats } = keys;
  for (let calls = 0; calls < MOST_CALLS; calls++)
    if ((await script(redis, 'batch-tend')(queue, result, errors, stats, stillMs, PARTS)) !== 1) return;
}
