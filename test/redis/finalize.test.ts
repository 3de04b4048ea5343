/** What the deletion of a pool ends in Redis: epochs of its own workers, and no others. */
import { expect, test } from 'vitest';
import { returnTasks } from '../../controller/act/finalize.ts';
import type { QueueLink } from '../../controller/sample/sampler.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { reap } from '../../queue/workers/reap.ts';
import { register } from '../../queue/workers/register.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys, startHandWorker, texts } from '../support/turns.ts';

const pool = { metadata: { namespace: 'default', name: 'tiles', uid: 'its-uid' } } as WorkerPool;
const own = { pool: 'default/tiles', poolUid: 'its-uid' };

test('a worker of another pool that has the name of one by then keeps its tasks', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const link = { sampler: { redisOf: () => redis }, queues: [keys] } as unknown as QueueLink;
  await redis.lpush(keys.queue, 'a', 'b');
  for (const id of ['twin', 'other']) await register(redis, keys, id, 600_000, own);
  const list = redis.client.bind(redis) as (...args: unknown[]) => Promise<unknown>;
  let taken: string[] = [];
  // its workers have been listed
  redis.client = (async (...args: unknown[]) => {
    if (taken.length === 0) {
      await reap(redis, keys, 'twin', 'any', 'displaced', 0);
      const another = await startHandWorker(redis, keys, { id: 'twin' });
      taken = texts((await another.turn({ want: 1 })).tasks);
    }
    return await list(...args);
  }) as typeof redis.client;

  expect(await returnTasks({ pool, redis: link })).toBe(0);
  expect(taken).toEqual(['a']);
  expect(await redis.hvals(keys.inflight('twin'))).toEqual(['a']);
  expect(await redis.zrange(keys.workers, '0', '-1')).toEqual(['twin']);
});
