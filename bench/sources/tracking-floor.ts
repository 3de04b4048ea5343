/**
 * The least that can lie between a push and a sample that shows it: one connection that tracks the key, one that is notified, and
 * the length of the list when it is.
 */
import { once } from 'node:events';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import type { BenchRedis } from '../run/redis.ts';

export interface TrackingFloor extends AsyncDisposable {
  /** ms from a push to an empty list until its length is known. Leaves the list empty. */
  push(list: string): Promise<number>;
}

export async function openTrackingFloor({ url, redis }: BenchRedis): Promise<TrackingFloor> {
  const [reader, listener] = [openRedis({ url }), openRedis({ url }, { protocol: 2 })];
  const id = await listener.client('ID');
  await listener.subscribe('__redis__:invalidate');
  await reader.client('TRACKING', 'ON', 'REDIRECT', id);
  return {
    push: async (list) => {
      await reader.llen(list);
      const notified = once(listener, 'message');
      const began = performance.now();
      await Promise.all([redis.lpush(list, '1'), notified]);
      await reader.llen(list);
      const tookMs = performance.now() - began;
      // the notice of the removal is not the one of the next push
      const cleared = once(listener, 'message');
      await Promise.all([redis.del(list), cleared]);
      return tookMs;
    },
    [Symbol.asyncDispose]: async () => void (await Promise.all([closeRedis(reader), closeRedis(listener)])),
  };
}
