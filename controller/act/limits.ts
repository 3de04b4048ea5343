/**
 * Writes a pool's limits to its queues, and removes them when the pool has none any more. Each queue has them by itself. That
 * they are there is asked for with each reconcile: a Redis may have lost them. That they are gone is asked for once, and whenever a sample
 * shows them: a Redis may have gone back to a time when they were there.
 */
import type { Redis } from 'ioredis';
import { within } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { checkLimits, describeLimits, type QueueLimits } from '../../queue/limits/definition.ts';
import { limitsSetBy, ownerOf, removeLimits, setLimits } from '../../queue/limits/limits.ts';

/** A Redis that hangs must not hold up the reconcile, whose sample says so. */
const ANSWER_TIMEOUT_MS = 5_000;

export interface LimitsState {
  /**
   * None of its queues has limits of the pool, unless a sample shows some. At first that is not known: what a controller before this one wrote
   * may not be in the status yet.
   */
  gone: boolean;
}

export function initialLimitsState(): LimitsState {
  return { gone: false };
}

export interface LimitsInput {
  /** `namespace/name`. */
  readonly pool: string;
  readonly limits: QueueLimits | undefined;
  /** Who has set those that the last sample shows. */
  readonly shownBy: readonly string[] | undefined;
  readonly queues: readonly QueueKeys[];
  readonly redisOf: (keys: QueueKeys) => Redis;
}

/**
 * Resolves to the limits, human-readable, `undefined` for none; and whether queues have got new ones. Throws `RangeError` for limits
 * that cannot be, `LimitsOfPool` where another pool sets those of a queue.
 */
export async function keepLimits(
  input: LimitsInput,
  state: LimitsState,
): Promise<{ readonly text: string | undefined; readonly changed: boolean }> {
  const { pool, limits, shownBy, queues, redisOf } = input;
  const owner = ownerOf(pool);
  if (!limits) {
    if (!state.gone || shownBy?.includes(owner))
      await within(ANSWER_TIMEOUT_MS, dropLimits(input), 'removing limits');
    state.gone = true;
    return { text: undefined, changed: false };
  }
  const wanted = checkLimits(limits, 'spec.limits');
  let changed = false;
  state.gone = false;
  for (const keys of queues) {
    const setting = setLimits(redisOf(keys), keys, wanted, owner);
    changed = (await within(ANSWER_TIMEOUT_MS, setting, 'setting limits')) || changed;
  }
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
    if ((await limitsSetBy(redis, keys)) === owner) await removeLimits(redis, keys, owner);
  }
}
