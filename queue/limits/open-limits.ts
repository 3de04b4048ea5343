/** The limits of a queue as programs see them: `queue.limits`. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { readLevels } from '../served-levels.ts';
import { BadLimits, checkLimits, type QueueLimits } from './definition.ts';
import { removeLimits, setLimits, showLimits, type LimitsView } from './limits.ts';

export interface ChangeOptions {
  /** Also those that a pool has set; it sets them again, if it is still there. */
  readonly force?: boolean;
  /** Who sets them, for people; `a client` by default. */
  readonly by?: string;
}

const CLIENT = 'a client';

interface ListOfQueue {
  readonly redis: Redis;
  readonly own: QueueKeys;
}

export interface Limits {
  /**
   * How many tasks may begin in a time and run at once, in place of the limits that the queue had. All workers of the queue keep them together,
   * from their next turn on. Throws `BadLimits` for what cannot be, `LimitsOfPool` for a queue whose limits a pool sets.
   */
  set(limits: QueueLimits, options?: ChangeOptions): Promise<void>;
  /** The limits, who has set them, and what they hold back; `undefined` without any. */
  show(): Promise<LimitsView | undefined>;
  /** Resolves to whether there were any. Throws `LimitsOfPool` as `set` does. */
  remove(options?: ChangeOptions): Promise<boolean>;
}

/** Of a queue that is in these lists. */
export function openLimits(all: readonly ListOfQueue[]): Limits {
  const only = (): ListOfQueue => {
    const [first, ...others] = all;
    if (first && others.length === 0) return first;
    throw new BadLimits(
      'a queue in partitions has no limits, because each partition is a list of its own: use one list, or queues of their own for what is limited',
    );
  };
  return {
    set: async (limits, { force = false, by = CLIENT } = {}) => {
      const { redis, own } = only();
      if ((await readLevels(redis, own)).length > 0)
        throw new BadLimits(
          `"${own.queue}" has priorities, each with a list that limits would not hold for: remove spec.priorities of its WorkerPool, or --priorities of its workers, first`,
        );
      await setLimits(redis, own, checkLimits(limits), by, force);
    },
    show: async () => {
      if (all.length > 1) return undefined;
      const { redis, own } = only();
      return showLimits(redis, own);
    },
    remove: async ({ force = false, by = CLIENT } = {}) => {
      const { redis, own } = only();
      return removeLimits(redis, own, by, force);
    },
  };
}
