/** Renews the lease of a worker and nothing else (renew.lua). */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';

/** Resolves to `false`, and changes nothing, if the epoch is over. */
export async function renewLease(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  epoch: number,
  leaseMs: number,
): Promise<boolean> {
  const { workers, clock } = keys;
  const renewed = await script(redis, 'renew')(workers, keys.worker(worker), clock, worker, epoch, leaseMs);
  return renewed === 1;
}
