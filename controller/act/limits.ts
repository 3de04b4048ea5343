/**
 * Writes a pool's limits to its queues, and removes them when the pool has none any more. Each queue has them by itself. That
 * they are there is asked for with each reconcile: a Redis may have lost them. That they are gone is asked for when samples show other
 * limits than before: a Redis may have gone back to a time when they were there.
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
   * None of its queues has limits of the pool, while a sample shows these, of others. `undefined`: that is not known, as what a controller
   * before this one wrote may not be in the status yet.
   */
  goneBeside: { readonly shown: string | undefined } | undefined;
}

export function initialLimitsState(): LimitsState {
  return { goneBeside: undefined };
}

export interface LimitsInput {
  /** `namespace/name`. */
  readonly pool: string;
  readonly limits: QueueLimits | undefined;
  /** Those that the last sample shows, of whomever, human-readable. */
  readonly shown: string | undefined;
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
  const { pool, limits, shown, queues, redisOf } = input;
  const owner = ownerOf(pool);
  if (!limits) {
    if (!state.goneBeside || state.goneBeside.shown !== shown)
      await within(ANSWER_TIMEOUT_MS, dropLimits(input), 'removing limits');
    state.goneBeside = { shown };
    return { text: undefined, changed: false };
  }
  const wanted = checkLimits(limits, 'spec.limits');
  let changed = false;
  state.goneBeside = undefined;
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
