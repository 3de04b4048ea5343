/** The timeline as the dashboard reads it: one read for all who look, and none that takes for ever. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPastReader } from '../../controller/dashboard/read/past.ts';
import type { Sampled } from '../../controller/sample/sampled.ts';
import { queueKeys } from '../../queue/keys.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

const POOL = 'media/tiles';
const keys = queueKeys('tiles', 'result');

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server?.[Symbol.asyncDispose]());

const source = {
  sampled: () => ({ kind: 'known' }) as Sampled,
  queuesOf: () => ({ redisOf: () => redis, queues: [keys] }),
};

async function readsSoFar(): Promise<number> {
  const [, calls = '0'] = /cmdstat_xrevrange:calls=(\d+)/.exec(await redis.info('commandstats')) ?? [];
  return Number(calls);
}

test('entries of a range in steps, one read for all requests within ten seconds', async () => {
  const now = Date.now();
  const line = keys.timeline(POOL);
  // ten seconds: waiting, inFlight, replicas, ready, desired
  await redis.xadd(line, `${now - 8 * 3_600_000}-0`, 'v', '10000 0 0 2 2 2');
  await redis.xadd(line, `${now - 2 * 3_600_000}-0`, 'v', '10000 0 0 5 5 5');
  let clock = now;
  const reader = createPastReader(source, () => clock);
  const before = await readsSoFar();
  const [one, another] = await Promise.all([reader.read(POOL, '6h'), reader.read(POOL, '6h')]);
  expect(another).toBe(one);
  const { stepMs, columns } = one.series;
  expect([stepMs, columns.replicas.length, one.entries]).toEqual([60_000, 360, 1]);
  // what was left before the range holds into it
  expect([columns.replicas[0], columns.replicas.at(-1)]).toEqual([2, 5]);
  expect(await readsSoFar()).toBe(before + 2);
  clock = now + 9_999;
  await reader.read(POOL, '6h');
  expect(await readsSoFar()).toBe(before + 2);
  clock = now + 10_000;
  await reader.read(POOL, '6h');
  await reader.read(POOL, '7d');
  expect(await readsSoFar()).toBe(before + 6);
});

test('a read that takes longer than two seconds is given up, in words', async () => {
  const pausing = server.client();
  await pausing.call('CLIENT', 'PAUSE', '4000');
  const reader = createPastReader(source, () => Date.now());
  await expect(reader.read(POOL, '24h')).rejects.toThrow(
    'the timeline of the last 24h could not be read: the timeline got no answer within 2000 ms',
  );
});

test('nothing is asked of a Redis that is not known to be there', async () => {
  const away = { ...source, sampled: () => undefined };
  await expect(createPastReader(away, () => Date.now()).read(POOL, '6h')).rejects.toThrow(
    /Redis cannot be reached/,
  );
});
