/** Workers of several queues, some of which have limits: what is held in a less urgent one is not forgotten. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { setLimits } from '../../queue/limits/limits.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshQueues } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const tasks = (prefix: string): string[] =>
  Array.from({ length: 6 }, (_, n) => `{"id":"${prefix}${n}","k":"x"}`);

test.each([0, 20])('held tasks of queues below begin, with a Redis %i ms away', async (roundTripMs) => {
  await using proxy = await startTcpProxy(server.port, { roundTripMs });
  const queues = freshQueues(3);
  const [, middle, last] = queues;
  if (!middle || !last) throw new Error('there are three queues');
  await setLimits(redis, middle, { perKey: { field: 'k', rate: '5/s', burst: 1 } }, 'test');
  await setLimits(redis, last, { rate: '20/s', perKey: { field: 'k', rate: '4/s', burst: 1 } }, 'test');
  await redis.lpush(middle.queue, ...tasks('m'));
  await redis.lpush(last.queue, ...tasks('l'));
  const address = { ...server.address, url: `redis://127.0.0.1:${proxy.port}` };
  const options = { handler: () => 'ok', queue: queues.map(({ queue }) => queue), concurrency: 2 };
  await using _one = startWorker({ address }, queues[0], options);
  await using _other = startWorker({ address }, queues[0], options);
  await resultsOf(redis, middle.result, 12);
  await eventually(async () => expect(await redis.exists(middle.held, last.held)).toBe(0));
});

test('a queue whose held tasks may not begin lets those below it go on', async () => {
  const queues = freshQueues(2);
  const [first, last] = queues;
  if (!last) throw new Error('there are two queues');
  await setLimits(redis, first, { perKey: { field: 'k', rate: '1/h', concurrency: 1 } }, 'test');
  await redis.lpush(first.queue, ...tasks('f'));
  await redis.lpush(last.queue, ...tasks('l'));
  await using _worker = startWorker(server, first, {
    handler: () => 'ok',
    queue: queues.map(({ queue }) => queue),
  });
  await resultsOf(redis, first.result, 7);
  expect(await redis.zscore(first.held, 'x')).toBe('5');
});
