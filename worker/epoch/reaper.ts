/**
 * Every worker checks for lost workers and sweeps expired entries periodically, so that both are done even where no controller
 * runs.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { recoverLost } from '../../queue/workers/recover.ts';
import type { RedisOf } from '../../queue/location.ts';
import { sweep, tendBatches, tendShares } from '../../queue/workers/sweep.ts';
import type { Logger } from '../../runtime/log.ts';

export interface ReaperOptions {
  readonly redis: Redis;
  /** Of a queue in partitions: of any of them. */
  readonly redisOf: RedisOf | undefined;
  readonly keys: QueueKeys;
  /** The worker that checks. */
  readonly worker: string;
  readonly leaseMs: number;
  readonly log: Logger;
}

/** Returns a function that checks three times per lease if called often. It runs in the background and never fails. */
export function createReaper({
  redis,
  redisOf,
  keys,
  worker,
  leaseMs,
  log,
}: ReaperOptions): (now: number) => void {
  let last = performance.now();
  let checking = false;

  async function check(): Promise<void> {
    try {
      await recoverLost(redis, keys, log, worker);
      await sweep(redis, keys);
      await tendBatches(redis, keys);
      if (redisOf) await tendShares(redisOf, keys);
    } catch (error) {
      log.debug({ err: error }, 'failed to check for lost workers and expired entries');
    } finally {
      checking = false;
    }
  }

  return (now) => {
    if (checking || now - last <= leaseMs / 3) return;
    last = now;
    checking = true;
    void check();
  };
}
