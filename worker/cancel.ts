/**
 * Finds out which of a worker's tasks were cancelled. A turn says that there are marks, and whether there are new ones:
 * what was just taken is looked up whenever there are any, what the worker had before only when there are new ones. As
 * long as nobody cancels anything, none of this costs a round trip.
 */
import type { Redis } from 'ioredis';
import { areCancelled } from '../queue/cancel.ts';
import type { QueueKeys } from '../queue/keys.ts';
import type { Delivery, TurnReply } from '../queue/turn.ts';
import { taskId } from '../queue/task.ts';

type Held = Extract<TurnReply, { kind: 'held' }>;

/** A user who may not look runs everything: a task that nobody wants any more does less harm than none at all. */
function notAllowed(error: Error): boolean[] {
  if (error.message.startsWith('NOPERM')) return [];
  throw error;
}

export interface CancelCheck {
  /** Receipts of the tasks that are marked, with their ids, of those that `reply` brought and of those in `before`. */
  marked(
    reply: Held,
    before: () => readonly Delivery[],
  ): Promise<ReadonlyMap<string, string | Buffer>> | undefined;
}

/** `repeat` sends again what Redis did not answer; `undefined` when there is no time left. */
export function createCancelCheck(
  redis: Redis,
  keys: QueueKeys,
  repeat: <T>(send: () => Promise<T>) => Promise<T | undefined>,
): CancelCheck {
  let known = 0;
  return {
    marked: ({ marks, tasks }, before) => {
      const fresh = marks !== known;
      known = marks;
      if (marks === 0) return undefined;
      const deliveries = fresh ? [...before(), ...tasks] : tasks;
      return deliveries.length === 0 ? undefined : lookUp(deliveries);
    },
  };

  async function lookUp(deliveries: readonly Delivery[]): Promise<ReadonlyMap<string, string | Buffer>> {
    const ids = deliveries.map(({ raw }) => taskId(raw));
    // what cannot even be asked is run, as where asking is not allowed
    const found =
      (await repeat(() => areCancelled(redis, keys, ids).catch(notAllowed)).catch(() => [])) ?? [];
    return new Map(deliveries.flatMap(({ receipt }, i) => (found[i] ? [[receipt, ids[i] ?? '']] : [])));
  }
}
