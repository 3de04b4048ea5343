/**
 * Stores results on another server than that of their queue, before the turn that settles their tasks. A turn waits for that only as long as
 * its lease allows; what is under way then, a later turn with the same outcomes takes up.
 */
import type { Redis } from 'ioredis';
import { RedisTimeout, within } from '../../queue/connection/connection.ts';
import type { Drops } from '../../queue/connection/drops.ts';
import type { Settled } from '../../queue/workers/turn.ts';
import { ResultsAway } from './refusal.ts';
import type { OutcomePart } from './refused-outcomes.ts';
import type { ReplicationWait } from './replication.ts';

/** The server of a result hash that is not on the server of its queue. */
export interface ResultsElsewhere {
  /** The hash. */
  readonly key: string;
  readonly redis: Redis;
  /** Of `redis`. */
  readonly drops: Drops;
  store(results: Settled['results']): Promise<void>;
}

/** No longer than this, nor longer than a fourth of the lease, ms. */
const STORE_TIMEOUT_MS = 3_000;

export interface ResultStore {
  /**
   * Resolves when the results of these outcomes are stored and, with `durability`, replicated. Rejects with `ResultsAway` when the lease
   * should be renewed meanwhile.
   */
  store(entries: OutcomePart['entries'], results: Settled['results'], leaseMs: number): Promise<void>;
}

export function createResultStore(
  server: ResultsElsewhere,
  replication: Pick<ReplicationWait, 'stored'>,
): ResultStore {
  /** Those that are being stored, or were when their turn was sent without them. */
  const storing = new WeakMap<OutcomePart['entries'], Promise<void>>();

  function begin(entries: OutcomePart['entries'], results: Settled['results']): Promise<void> {
    const done = server.drops.guard(() => server.store(results));
    // once the tasks are settled, nothing would run them again
    const begun = done.then(() => replication.stored(server.redis, results.length));
    begun.catch(() => undefined);
    storing.set(entries, begun);
    return begun;
  }

  return {
    store: async (entries, results, leaseMs) => {
      if (results.length === 0) return;
      const confirmed = storing.get(entries) ?? begin(entries, results);
      try {
        await within(Math.min(STORE_TIMEOUT_MS, leaseMs / 4), confirmed, 'storing results');
      } catch (error) {
        if (error instanceof RedisTimeout)
          throw new ResultsAway('the server of the results does not answer', { cause: error });
        storing.delete(entries);
        throw error;
      }
    },
  };
}
