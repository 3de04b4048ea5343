/** What only Sidekiq does. */
import { expect, test } from 'vitest';
import { createAsk } from '../../queue/sources/ask.ts';
import { readSource } from '../../queue/sources/read.ts';
import type { SourceWorker } from '../../queue/sources/source.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { boundedClient } from '../support/bounded.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { sidekiqCase } from './sidekiq.ts';

const source = sourceOf(sidekiqCase.settings);
const { holding } = source;
if (holding.by !== 'worker' || !holding.orders) throw new Error('Sidekiq takes orders');
const { readWorkers, orders } = holding;
const patience = { everyMs: 50 };

test('a quiet process finishes its job and takes no other, and ends when it is wanted again', async () => {
  await using server = await startRedis();
  await using library = await sidekiqCase.open(server);
  const redis = server.client();
  const workers = async (): Promise<readonly SourceWorker[]> =>
    (await readWorkers(createAsk(redis), redis)).workers;
  const seen = async (parts: Partial<SourceWorker>): Promise<void> =>
    eventually(async () => expect(await workers()).toMatchObject([parts]), patience);
  await library.work('pod-1');
  await library.push(2);
  await seen({ hosts: ['pod-1'], tasks: 1, quiet: false });
  await redis.call(
    'ACL',
    'SETUSER',
    'controller',
    'on',
    'nopass',
    '~*-signals',
    '+exists',
    '+lpush',
    '+expire',
  );
  await using controller = await boundedClient(server);
  await controller.redis.call('AUTH', 'controller', '');
  await orders.drain(controller.redis, await workers());
  // not twice, however often it is asked before the heartbeat
  await orders.drain(controller.redis, await workers());
  await seen({ tasks: 1, quiet: true });
  expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 1, leaving: 1 });
  // it holds a job: not yet
  await orders.resume(controller.redis, await workers());
  expect(await redis.keys('*-signals')).toEqual([]);
  await library.release(1);
  await seen({ tasks: 0, quiet: true });
  await eventually(async () =>
    expect((await readSource(redis, source, 0)).sample).toMatchObject({
      waiting: 1,
      inFlight: 0,
      counters: { completed: 1 },
    }),
  );
  await orders.resume(controller.redis, await workers());
  await eventually(async () => expect(await workers()).toEqual([]), patience);
  expect(await redis.llen('queue:mail')).toBe(1);
});

test('what is due of other queues is not counted', async () => {
  await using server = await startRedis();
  await using library = await sidekiqCase.open(server);
  const redis = server.client();
  // the first job of all: nothing else names the queue
  await library.push(1, 3_600_000);
  expect(await redis.smembers('queues')).toEqual([]);
  await library.pushElsewhere(10);
  await eventually(async () => expect(await redis.zcount('schedule', '-inf', Date.now() / 1e3)).toBe(1));
  const { sample } = await readSource(redis, source, 0);
  expect(sample).toMatchObject({ delayed: 1, due: 0 });
  expect((sample.nextDue ?? 0) - sample.now).toBeGreaterThan(3_000_000);
});

test('a process of a later version is reported', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.sadd('processes', 'pod-1:1:abc');
  await redis.hset('pod-1:1:abc', { info: '{"queues":["mail"],"version":"9.0.0"}', busy: 0 });
  await expect(readSource(redis, source, 0)).rejects.toMatchObject({ kind: 'UnknownLayout' });
});
