/** The ids that a client has enqueued lately, so that it need not look for their tasks in other partitions. */
import type { TaskId } from '../task.ts';

/** Their tasks are at home: see `homeOf`. */
export interface RecentIds {
  add(id: TaskId): void;
  has(id: TaskId): boolean;
}

const REMEMBERED = 100_000;

export function createRecentIds(): RecentIds {
  const names = new Set<string>();
  return {
    add: (id) => {
      const name = nameOf(id);
      // the newest are the last
      names.delete(name);
      names.add(name);
      if (names.size <= REMEMBERED) return;
      const [oldest] = names;
      if (oldest !== undefined) names.delete(oldest);
    },
    has: (id) => names.has(nameOf(id)),
  };
}

/** Text and its UTF-8 bytes are the same id in Redis. */
const nameOf = (id: TaskId): string => (typeof id === 'string' ? Buffer.from(id) : id).toString('latin1');
