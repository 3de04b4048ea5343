/** Checks many queues with one request (filled.lua), instead of making a turn in each of them. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';

/** The indexes of those `queues` that hold anything that `worker` could take, delayed tasks aside. */
export async function findFilled(
  redis: Redis,
  queues: readonly QueueKeys[],
  worker: string,
): Promise<ReadonlySet<number>> {
  const keys = queues.flatMap((one) => [one.queue, one.wake(worker), one.suspects]);
  const found = (await script(redis, 'filled')(keys.length, ...keys)) as number[];
  return new Set(found.map((position) => position - 1));
}
