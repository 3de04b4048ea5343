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
  // nearly all keys have one user, and a set of it would take 150 bytes of each of thousands
  const users = new Map<string, string | Set<string>>();

  function of(key: string): Iterable<string> {
    const found = users.get(key) ?? [];
    return typeof found === 'string' ? [found] : found;
  }

  function add(key: string, id: string): void {
    const found = users.get(key);
    if (found === undefined) users.set(key, id);
    else if (typeof found !== 'string') found.add(id);
    else if (found !== id) users.set(key, new Set([found, id]));
  }

  function forget(key: string, id: string): void {
    const found = users.get(key);
    if (found === id) users.delete(key);
    else if (found instanceof Set && found.delete(id) && found.size === 0) users.delete(key);
  }

  return {
    of,
    changeKeys: (id, before, now) => {
      for (const key of before) forget(key, id);
      for (const key of now) add(key, id);
    },
    change: (id, before, now) => {
      for (const { queue } of before) forget(queue, id);
      for (const { queue } of now) add(queue, id);
      return before.filter(({ queue }) => !users.has(queue));
    },
  };
}
