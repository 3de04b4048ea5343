/**
 * Whether the server may evict tasks. A Redis that is configured as a cache (`maxmemory-policy allkeys-…`) evicts whole
 * keys when its memory is full: the queue with every waiting task, or the tasks that a worker holds. Nothing that we write could
 * prevent that, so users are warned prominently. Policies of the `volatile-…` kind evict only keys with a time to live, which
 * neither the queue nor the tasks in flight have; without `maxmemory` nothing is evicted.
 *
 * Read from INFO, which is allowed where CONFIG is not; if that is refused too, the risk is unknown and not reported.
 */
import type { Redis } from 'ioredis';

export interface EvictionRisk {
  /** The risk. */
  readonly note: string;
  /** How to avoid it. */
  readonly todo: string;
}

/** Both as one sentence, for a log or a status. */
export function describeRisk({ note, todo }: EvictionRisk): string {
  return `${note}; ${todo}`;
}

/** `undefined` when nothing can be evicted, or when the server does not report it. */
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
