/** Results in a hash that is on another server than their queue: stored before the turn that settles the tasks. */
import type { Redis } from 'ioredis';
import { resultExpiryKey } from '../keys.ts';
import { script } from '../scripts/scripts.ts';
import type { Settled } from './turn.ts';

/**
 * Stores them, for `ttlMs` if given. Doing it again, as when the turn after it is repeated, changes nothing. A worker that was
 * fenced stores its results too, as it learns of that from the turn: then a task that ran twice has the result of either run.
 */
export async function storeResults(
  redis: Redis,
  key: string,
  results: Settled['results'],
  ttlMs: number | undefined,
): Promise<void> {
  if (results.length === 0) return;
  const pairs = results.flatMap(({ id, value }) => [id, value]);
  // while a slot moves, a cluster executes what names a single key
  const keys = ttlMs === undefined ? [key] : [key, resultExpiryKey(key)];
  await script(redis, 'store')(keys.length, ...keys, ttlMs ?? '', ...pairs);
}
