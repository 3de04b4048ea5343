/** Removes expired results, errors and dead letters (sweep.lua): workers and the controller both do, now and then. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';

/** Entries removed per call of the script, which blocks the server. */
const BATCH = 500;
/** Limit on the calls, so that the caller can return to its other work. */
const MOST_CALLS = 200;

/** Removes expired results, errors and dead letters, in pieces that block the server only briefly. */
export async function sweep(redis: Redis, keys: QueueKeys): Promise<void> {
  const { result, dead, errors, cancelled, expiry } = keys;
  for (let calls = 0; calls < MOST_CALLS; calls++)
    if ((await script(redis, 'sweep')(result, dead, errors, cancelled, expiry, BATCH)) !== 1) return;
}
