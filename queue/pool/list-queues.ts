/** Lists the queues in a Redis that Millrace has served: each has a hash of counters. */
import type { Redis } from 'ioredis';

const COUNTERS = 'millrace:{*:stats';
const PAGE = 1_000;

/** Names of queues, sorted. Scans every key of the database, a page at a time. */
export async function findQueues(redis: Redis): Promise<string[]> {
  const found = new Set<string>();
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', COUNTERS, 'COUNT', PAGE);
    for (const key of keys) {
      const queue = queueOf(key);
      if (queue !== undefined) found.add(queue);
    }
    cursor = next;
  } while (cursor !== '0');
  return [...found].toSorted();
}

/** The queue of a key `…:stats`: the inverse of `queueKeys`. */
function queueOf(key: string): string | undefined {
  const match = /^millrace:\{([^}]*)\}(?:\[(.*)\])?:stats$/s.exec(key);
  return match?.[2] ?? match?.[1];
}
