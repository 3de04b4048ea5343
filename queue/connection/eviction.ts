/**
 * Whether the server may throw tasks away. A Redis that is set up as a cache (`maxmemory-policy allkeys-…`) evicts whole
 * keys when its memory is full: the queue with all that waits, or what a worker holds. Nothing that we write could
 * prevent that, so it is said loudly. Policies of the `volatile-…` kind evict only keys with a time to live, and none of
 * ours has one; without `maxmemory` nothing is evicted.
 *
 * Read from INFO, which is allowed where CONFIG is not; where that is refused too, nothing is known and nothing said.
 */
import type { Redis } from 'ioredis';

export interface EvictionRisk {
  /** What can happen. */
  readonly note: string;
  /** What to do about it. */
  readonly todo: string;
}

/** Both in one sentence, for a log or a status. */
export function describeRisk({ note, todo }: EvictionRisk): string {
  return `${note}; ${todo}`;
}

/** `undefined` when nothing can be evicted, or when the server does not say. */
export async function evictionRisk(redis: Redis): Promise<EvictionRisk | undefined> {
  const text = await redis.info('memory').catch(() => '');
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(text)?.[1] ?? '';
  const policy = field('maxmemory_policy');
  if (!policy.startsWith('allkeys-') || !(Number(field('maxmemory')) > 0)) return undefined;
  return {
    note:
      `Redis evicts keys when its memory is full (maxmemory ${field('maxmemory_human')}, ` +
      `maxmemory-policy ${policy}): tasks and results can be lost`,
    todo: 'set maxmemory-policy to noeviction',
  };
}
