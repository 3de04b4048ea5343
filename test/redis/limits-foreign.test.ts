/** Limits whose keys hold what these limits did not write: buckets of another rate, and values of something else. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { QueueKeys } from '../../queue/keys.ts';
import type { QueueLimits } from '../../queue/limits/definition.ts';
import { removeLimits, setLimits, showLimits } from '../../queue/limits/limits.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

async function queueWith(limits: QueueLimits): Promise<QueueKeys> {
  const keys = freshKeys();
  await setLimits(redis, keys, limits, 'test');
  return keys;
}

const of = (customer: string, n: number): string => JSON.stringify({ customer, n });
const perKey = (rest: object): QueueLimits => ({ perKey: { field: 'customer', ...rest } });

/** Runs tasks, each as soon as it is given out, until so many have ended. */
async function work(keys: QueueKeys, count: number): Promise<string[]> {
  const worker = await startHandWorker(redis, keys);
  const ran: string[] = [];
  let held = await worker.turn({ want: 5 });
  await eventually(async () => {
    ran.push(...texts(held.tasks));
    held = await worker.turn({ want: 5, settled: { results: held.tasks.map((task) => done(task)) } });
    expect(ran.length).toBeGreaterThanOrEqual(count);
  });
  return ran;
}

test.each([
  ['of the queue', { rate: '1/h' }, { rate: '20/s', burst: 1 }],
  ['of keys', perKey({ rate: '1/h' }), perKey({ rate: '20/s', burst: 1 })],
] as const)(
  'a rate %s that becomes higher holds at once, whatever the one before it has used',
  async (_, slow, fast) => {
    const keys = await queueWith(slow);
    await redis.lpush(keys.queue, of('a', 1), of('a', 2), of('a', 3));
    const worker = await startHandWorker(redis, keys);
    const first = await worker.turn({ want: 5 });
    expect(texts(first.tasks)).toEqual([of('a', 1)]);
    await worker.turn({ settled: { results: first.tasks.map((task) => done(task)) } });
    await setLimits(redis, keys, fast, 'test');
    expect(await work(keys, 2)).toEqual([of('a', 2), of('a', 3)]);
  },
);

const STRANGE = ['', 'x', 'nan', '-nan', 'inf', '-inf', '1e300', '-1e300', '-7'];
const everything = (): Promise<QueueKeys> =>
  queueWith({ rate: '100/s', concurrency: 5, ...perKey({ rate: '50/s', concurrency: 1 }) });

test.each(STRANGE)('%j for any number: tasks go on, a sample can be read', async (value) => {
  const keys = await everything();
  const names = ['tat', 'held', 'woken', 'wokenDue', 'checked', 'cursor', 'at', 'offset'];
  await redis.hset(keys.limitState, Object.fromEntries(names.map((name) => [name, value])));
  await redis.hset(keys.limitRunning, 'a', value, 'b', value);
  await redis.hset(keys.load, 'somebody', value);
  await redis.set(keys.limitRate('a'), value);
  await redis.lpush(keys.queue, of('a', 1), of('a', 2), of('b', 1), 'plain');
  expect((await showLimits(redis, keys))?.limits.rate).toBe('100/s');
  expect((await sampleQueue(redis, keys, 0)).waiting).toBeGreaterThan(0);
  expect((await work(keys, 4)).toSorted()).toEqual([of('a', 1), of('a', 2), of('b', 1), 'plain'].toSorted());
  expect(await showLimits(redis, keys)).toMatchObject({ held: 0, running: 0 });
});

test.each([
  ['no entry', undefined],
  ['0', 0],
  ['a negative number', -3],
  ['too many', 7],
  ['infinity', '+inf'],
])('tasks that are held begin although their number is %s', async (_, count) => {
  const keys = await queueWith(perKey({ concurrency: 1 }));
  await redis.lpush(keys.queue, of('a', 1), of('a', 2), of('a', 3));
  const worker = await startHandWorker(redis, keys);
  const first = await worker.turn({ want: 5 });
  expect(texts(first.tasks)).toEqual([of('a', 1)]);
  await redis.zrem(keys.held, 'a');
  if (count !== undefined) await redis.zadd(keys.held, count, 'a');
  await redis.lpush(keys.queue, of('a', 4));
  expect((await showLimits(redis, keys))?.heldKeys).toBeDefined();
  await worker.turn({ settled: { results: first.tasks.map((task) => done(task)) } });
  expect(await work(keys, 3)).toEqual([of('a', 2), of('a', 3), of('a', 4)]);
  expect(await redis.exists(keys.held, keys.heldTasks('a'))).toBe(0);
  await removeLimits(redis, keys, 'test');
});

test('long values among the limits are cut, and do not keep a sample from being read', async () => {
  const keys = await everything();
  await redis.hset(keys.limits, { extra: 'x'.repeat(4 << 20), by: 'y'.repeat(4 << 20) });
  const view = await showLimits(redis, keys);
  expect(view?.by.length).toBeLessThanOrEqual(1_024);
  expect((await sampleQueue(redis, keys, 0)).limits?.limits.concurrency).toBe(5);
});
