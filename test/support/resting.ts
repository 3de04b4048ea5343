/** Workers at rest in the partitions of a queue: see worker/epoch/rest.ts. */
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import type { QueueKeys } from '../../queue/keys.ts';
import { eventually } from './eventually.ts';

/** How long the lease of a worker is by queue time, ms. */
export async function leaseOf(redis: Redis, keys: QueueKeys, id: string): Promise<number> {
  return Number(await redis.hget(keys.worker(id), 'till')) - Number(await redis.hget(keys.clock, 'ms'));
}

/** Resolves when the worker rests in all lists: its lease there is longer than that of a turn, `leaseMs`. */
export async function atRest(
  redisOf: (keys: QueueKeys) => Redis | Promise<Redis>,
  lists: readonly QueueKeys[],
  worker: string,
  leaseMs: number,
): Promise<void> {
  await eventually(async () => {
    for (const keys of lists) {
      const redis = await redisOf(keys);
      // otherwise a move takes seconds to end
      const moves = String(await redis.client('LIST')).matchAll(/^id=(\d+) .* cmd=blmove /gm);
      for (const [, id = ''] of moves) await redis.client('UNBLOCK', id);
      expect(await leaseOf(redis, keys, worker)).toBeGreaterThan(leaseMs);
    }
  });
}
