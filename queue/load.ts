/** How many tasks each worker holds. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';

/** Worker id → tasks in flight there, of all the queues. Workers that hold none may be missing. */
export async function holding(
  redis: Redis,
  queues: readonly QueueKeys[],
): Promise<ReadonlyMap<string, number>> {
  const held = new Map<string, number>();
  for (const load of await Promise.all(queues.map((keys) => redis.hgetall(keys.load))))
    for (const [worker, tasks] of Object.entries(load))
      held.set(worker, (held.get(worker) ?? 0) + Number(tasks));
  return held;
}
