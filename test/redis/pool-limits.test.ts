/** Limits that a pool has no more, while Redis goes back in time. */
import { expect, test } from 'vitest';
import { initialLimitsState, keepLimits, type LimitsInput } from '../../controller/act/limits.ts';
import { ownerOf, setLimits } from '../../queue/limits/limits.ts';
import { combineSamples, type PoolSample } from '../../queue/pool/pool-sample.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { pauseQueue } from '../../queue/pause.ts';
import { startRedis } from '../support/redis.ts';
import { freshQueues } from '../support/turns.ts';

test('they are removed however often they come back, in each queue, beside those of others that read the same', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const queues = freshQueues(2);
  const [first, second] = queues as [(typeof queues)[0], (typeof queues)[0]];
  const pool = 'default/tiles';
  const limits = { concurrency: 2 };
  const state = initialLimitsState();
  const sample = async (): Promise<PoolSample> =>
    combineSamples(await Promise.all(queues.map((keys) => sampleQueue(redis, keys))));
  const remove = async (shownBy: LimitsInput['shownBy']): Promise<unknown> =>
    await keepLimits({ pool, limits: undefined, shownBy, queues, redisOf: () => redis }, state);
  const written = async (): Promise<(string | null)[]> =>
    await Promise.all(queues.map((keys) => redis.hget(keys.limits, 'by')));

  await setLimits(redis, first, limits, ownerOf(pool));
  const before = await redis.hgetall(first.limits);
  // the sample is as old as a quiet queue lets it be
  const { limitsBy: old } = await sample();
  await remove(old);
  await remove(old);
  expect(await written()).toEqual([null, null]);

  // the replica that takes over had not heard of the removal
  await redis.hset(first.limits, before);
  await remove((await sample()).limitsBy);
  await redis.hset(second.limits, before);
  await remove((await sample()).limitsBy);
  expect(await written()).toEqual([null, null]);

  await setLimits(redis, first, limits, 'a client');
  await remove((await sample()).limitsBy);
  await pauseQueue(redis, second, 'test');
  await redis.hset(second.limits, before);
  await remove((await sample()).limitsBy);
  expect(await written()).toEqual(['a client', null]);
});
