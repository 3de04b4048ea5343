/** Which ids sample a queue: several pools may use the same one. */
import type { QueueKeys } from '../../queue/keys.ts';

export interface QueueUsers {
  /** The ids that sample the queue of this key. */
  of(queue: string): Iterable<string>;
  /** From now on `id` samples the queues `now` instead of `before`. Returns those of `before` that are no longer sampled. */
  change(id: string, before: readonly QueueKeys[], now: readonly QueueKeys[]): QueueKeys[];
  /** The same of single keys of a source. */
  changeKeys(id: string, before: readonly string[], now: readonly string[]): void;
}

export function createQueueUsers(): QueueUsers {
  const users = new Map<string, Set<string>>();
  const forget = (id: string, keys: readonly string[]): void => {
    for (const key of keys) {
      users.get(key)?.delete(id);
      if (users.get(key)?.size === 0) users.delete(key);
    }
  };
  return {
    changeKeys: (id, before, now) => {
      forget(id, before);
      for (const key of now) users.set(key, (users.get(key) ?? new Set()).add(id));
    },
    of: (queue) => users.get(queue) ?? [],
    change: (id, before, now) => {
      for (const { queue } of before) users.get(queue)?.delete(id);
      for (const { queue } of now) users.set(queue, (users.get(queue) ?? new Set()).add(id));
      const unused = before.filter(({ queue }) => users.get(queue)?.size === 0);
      for (const { queue } of unused) users.delete(queue);
      return unused;
    },
  };
}
