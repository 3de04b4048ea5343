/**
 * Writes a pool's limits to its queues, and removes them when the pool has none any more. Each queue has them by itself. That
 * they are there is asked for with each reconcile: a Redis may have lost them.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { checkLimits, describeLimits, type QueueLimits } from '../../queue/limits/definition.ts';
import { ownerOf, removeLimits, setLimits } from '../../queue/limits/limits.ts';

export interface LimitsInput {
  /** `namespace/name`. */
  readonly pool: string;
  readonly limits: QueueLimits | undefined;
  /** The pool had some when its status was last written. */
  readonly formerly: boolean;
  readonly queues: readonly QueueKeys[];
  readonly redisOf: (keys: QueueKeys) => Redis;
}

/**
 * Resolves to the limits, human-readable, `undefined` for none; and whether queues have got new ones. Throws `RangeError` for limits that cannot be, `LimitsOfPool` where another
 * pool sets those of a queue.
 */
export async function keepLimits(
  input: LimitsInput,
): Promise<{ readonly text: string | undefined; readonly changed: boolean }> {
  const { pool, limits, formerly, queues, redisOf } = input;
  const owner = ownerOf(pool);
  if (!limits) {
    if (formerly) await dropLimits(input);
    return { text: undefined, changed: false };
  }
  const wanted = checkLimits(limits, 'spec.limits');
  let changed = false;
  for (const keys of queues) changed = (await setLimits(redisOf(keys), keys, wanted, owner)) || changed;
  return { text: describeLimits(wanted), changed };
}

/** Those of this pool; what others have set stays. */
export async function dropLimits({
  pool,
  queues,
  redisOf,
}: Pick<LimitsInput, 'pool' | 'queues' | 'redisOf'>): Promise<void> {
  const owner = ownerOf(pool);
  for (const keys of queues) {
    const redis = redisOf(keys);
    if ((await redis.hget(keys.limits, 'by')) === owner) await removeLimits(redis, keys, owner);
  }
}
