/** The sampler on a real Redis: what it returns, when it reads, and what it recovers. */
import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { delayedMember } from '../../queue/task.ts';
import { eventually, sooner } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { known, sample } from '../support/sampling.ts';
import { done, freshKeys, startHandWorker } from '../support/turns.ts';

async function redisNow(redis: Redis): Promise<number> {
  const [seconds = 0, micros = 0] = (await redis.time()).map(Number);
  return seconds * 1e3 + micros / 1e3;
}

test('waiting, in flight, delayed and due tasks, and the counters', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample(server.address);
  const { sampler } = sampling;
  expect(sampler.latest('p')).toMatchObject({ kind: 'unknown', reason: 'NotSampledYet' });
  sampler.add('p', [keys]);
  await known(sampler, 'p', { waiting: 0, workers: 0, nextDue: undefined });
  await redis.lpush(keys.queue, 'a', 'b', 'c', 'd');
  const worker = await startHandWorker(redis, keys);
  const { tasks, now } = await worker.turn({ want: 3 });
  await worker.turn({ settled: { results: tasks.slice(0, 1).map((task) => done(task)), serviceUs: 2_500 } });
  await redis.zadd(keys.delayed, now - 5, delayedMember('1', 'x'), now + 60_000, delayedMember('2', 'y'));
  await known(sampler, 'p', {
    waiting: 1,
    inFlight: 2,
    delayed: 2,
    due: 1,
    nextDue: now - 5,
    workers: 1,
    expired: 0,
    overdue: false,
    counters: {
      taken: 3,
      completed: 1,
      failed: 0,
      retried: 0,
      recovered: 0,
      fenced: 0,
      serviceUs: 2500,
    },
  });
});

test('an idle queue is not polled, and a push is seen within milliseconds all the same', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample(server.address, { safetyMs: 600_000 });
  const { sampler, seen } = sampling;
  sampler.add('p', [keys]);
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await known(sampler, 'p', { waiting: 0 });
  sampler.setActive('p', false, 0);
  const quiet = (): Promise<void> =>
    eventually(async () => {
      const before = seen.length;
      await new Promise((resolve) => void setTimeout(resolve, 200));
      expect(seen.length).toBe(before);
    });
  const quieten = async (): Promise<void> => {
    sampler.setActive('p', true, 0);
    await redis.del(keys.queue);
    await known(sampler, 'p', { waiting: 0 });
    sampler.setActive('p', false, 0);
    await quiet();
  };
  // so it is known when it came, though the look before is long ago: 200 ms at least; by another clock, so to within a look
  await sooner(100, async () => {
    await quieten();
    const before = seen.length;
    const earliest = await redisNow(redis);
    await redis.lpush(keys.queue, 'a');
    await known(sampler, 'p', { waiting: 1 });
    const first = seen
      .slice(before)
      .find(({ sampled }) => sampled.kind === 'known' && sampled.sample.waiting === 1)?.sampled;
    if (first?.kind !== 'known') throw new Error('there was no sample with the task');
    expect(first.quietUntil).toBeLessThanOrEqual(first.sample.now);
    return earliest - (first.quietUntil ?? -Infinity);
  });
  await sooner(60, async () => {
    await quieten();
    const pushed = performance.now();
    await redis.lpush(keys.queue, 'a');
    await known(sampler, 'p', { waiting: 1 });
    return performance.now() - pushed;
  });
});

test('an idle queue is read when its delayed task falls due', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample(server.address, { safetyMs: 600_000 });
  const { sampler } = sampling;
  sampler.add('p', [keys]);
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await known(sampler, 'p', { waiting: 0 });
  sampler.setActive('p', false, 0);
  await redis.zadd(keys.delayed, (await redisNow(redis)) + 1_000, delayedMember('1', 'x'));
  await known(sampler, 'p', { delayed: 1 });
  await known(sampler, 'p', { due: 1 });
});

test('a delayed task that arrives between the read of an idle queue and listening to it is noticed', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const pools = new Map(Array.from({ length: 30 }, (_, i) => [`${i}`, freshKeys()]));
  const pushes: Promise<unknown>[] = [];
  const untouched = new Set(pools.keys());
  await using sampling = sample(server.address, {
    safetyMs: 600_000,
    // called when the look has ended; on another connection, the push comes before the queue is listened to, or after
    onSample: (id) => {
      const keys = pools.get(id);
      if (keys === undefined || !untouched.delete(id)) return;
      sampling.sampler.setActive(id, false, 0);
      pushes.push(redis.zadd(keys.delayed, Date.now() + 86_400_000, delayedMember('1', 'x')));
    },
  });
  const { sampler } = sampling;
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  for (const [id, keys] of pools) sampler.add(id, [keys]);
  await eventually(() => expect(pushes.length).toBe(pools.size));
  await Promise.all(pushes);
  for (const id of pools.keys()) await known(sampler, id, { delayed: 1 });
});

test('an idle queue is read when a delayed task comes within the horizon, without polling', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample(server.address, { safetyMs: 600_000 });
  const { sampler, seen } = sampling;
  sampler.add('p', [keys]);
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await known(sampler, 'p', { waiting: 0 });
  sampler.setActive('p', false, 60_000);
  const push = async (): Promise<number> => {
    const at = (await redisNow(redis)) + 61_000;
    await redis.zadd(keys.delayed, at, delayedMember('1', 'x'), at + 3_600_000, delayedMember('2', 'y'));
    await known(sampler, 'p', { delayed: 2 });
    return at;
  };
  const isEarly = (): boolean => {
    const { sampled } = seen.at(-1) ?? {};
    return sampled?.kind === 'known' && sampled.sample.dueSoon === 0;
  };
  // a machine that is busy for a second sees it within the horizon at once
  let due = await push();
  for (; !isEarly(); due = await push()) {
    await redis.del(keys.delayed);
    await known(sampler, 'p', { delayed: 0 });
  }
  await known(sampler, 'p', { delayed: 2, dueSoon: 0, runnable: { dueSoon: 0 } });
  const looks = seen.length;
  await known(sampler, 'p', { delayed: 2, due: 0, dueSoon: 1, runnable: { dueSoon: 1 } });
  expect(seen.length).toBeLessThan(looks + 5);
  const { sampled } = seen.at(-1) ?? {};
  expect(sampled?.kind === 'known' && sampled.sample.now - (due - 60_000)).toBeGreaterThan(-60);
});

test('a worker whose lease is over is recovered', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  const worker = await startHandWorker(redis, keys);
  await worker.turn({ want: 1 });
  await using sampling = sample(server.address);
  sampling.sampler.add('p', [keys]);
  await known(sampling.sampler, 'p', { inFlight: 1 });
  await redis.zadd(keys.workers, 1, worker.id);
  await known(sampling.sampler, 'p', { inFlight: 0, waiting: 1, counters: { recovered: 1 } });
  expect(sampling.log.join()).toMatch(new RegExp(`${worker.id}.*lost its lease`));
});

test('a removed queue is no longer read; added with other keys, the new ones are', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const [old, fresh] = [freshKeys(), freshKeys()];
  await redis.lpush(fresh.queue, 'a');
  await using sampling = sample(server.address);
  const { sampler, seen } = sampling;
  sampler.add('p', [old]);
  await known(sampler, 'p', { waiting: 0 });
  sampler.add('p', [fresh]);
  await known(sampler, 'p', { waiting: 1 });
  sampler.remove('p');
  const before = seen.length;
  await new Promise((resolve) => void setTimeout(resolve, 150));
  expect(seen.length).toBe(before);
  expect(sampler.latest('p').kind).toBe('unknown');
});

test('a push overtakes thousands of pools that wait for a sample, and is reported as a wake', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using sampling = sample(server.address, { pollMs: 600_000, safetyMs: 600_000 });
  const { sampler, seen, woken } = sampling;
  const keys = freshKeys();
  sampler.add('idle', [keys]);
  await known(sampler, 'idle', { waiting: 0 });
  const armed = async (): Promise<unknown> =>
    /tracking_total_keys:(\d+)/.exec(await redis.info('stats'))?.[1];
  await eventually(async () => expect(await armed()).toBe('2'));
  const others = Array.from({ length: 5_000 }, (_, i) => `other ${i}`);
  const from = seen.length;
  for (const id of others) sampler.add(id, [freshKeys()]);
  const looked = (): number => new Set(seen.map(({ id }) => id)).size - 1;
  await redis.lpush(keys.queue, 'a');
  await eventually(() => expect(woken).toContain('idle'));
  await known(sampler, 'idle', { waiting: 1 });
  await eventually(() => expect(looked()).toBe(others.length));
  // in the order of the reads, however long this test itself had to wait
  const order = seen.slice(from).map(({ id }) => id);
  expect(new Set(order.slice(0, order.indexOf('idle'))).size).toBeLessThan(others.length);
  // of nothing else; twice where the push came between a read of it and listening to it again
  expect(new Set(woken)).toEqual(new Set(['idle']));
});

test('a queue that two pools share is listened to until both are gone', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using sampling = sample(server.address, { safetyMs: 600_000 });
  const { sampler, woken } = sampling;
  const keys = freshKeys();
  sampler.add('a', [keys]);
  sampler.add('b', [keys]);
  for (const id of ['a', 'b']) {
    await known(sampler, id, { waiting: 0 });
    sampler.setActive(id, false, 0);
  }
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  sampler.remove('a');
  await eventually(async () => {
    await redis.lpush(keys.queue, 'x');
    await redis.del(keys.queue);
    expect(woken).toContain('b');
  });
  expect(woken).not.toContain('a');
});
