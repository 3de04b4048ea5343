/** Progress reports on a real Redis: the latest wins, rarely written, gone with the task or with the worker. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { noteProgress } from '../../queue/progress.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { reap } from '../../queue/workers/reap.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, openFreshQueue, startHandWorker } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const openFresh = (): Queue => openFreshQueue(server.url);

test('can be read while the task runs, and is gone when it is settled', async () => {
  await using queue = openFresh();
  const gate = Promise.withResolvers<void>();
  const handler = async (_task: unknown, { progress }: TaskContext): Promise<string> => {
    progress({ percent: 40 });
    await gate.promise;
    return 'ok';
  };
  await using worker = startWorker(server, queue.keys, { handler });
  await queue.enqueue({ id: 'a' });
  await eventually(async () => expect(await queue.progress('a')).toEqual({ percent: 40 }));
  const view = await queue.inspect();
  expect(view.progress).toEqual([{ id: 'a', worker: worker.id, value: { percent: 40 } }]);
  expect(await queue.progress('b')).toBeUndefined();
  gate.resolve();
  await queue.result('a');
  await eventually(async () => expect(await queue.progress('a')).toBeUndefined());
  expect(await redis.exists(queue.keys.progress(worker.id))).toBe(0);
});

test('ten thousand reports cost a few commands, and the latest one wins', async () => {
  const own = await startRedis();
  await using _own = own;
  const client = own.client();
  await using queue = openQueue({ redis: own.url });
  const gate = Promise.withResolvers<void>();
  const handler = async (_task: unknown, { progress }: TaskContext): Promise<void> => {
    for (let step = 1; step <= 10_000; step++) {
      progress(step);
      if (step % 100 === 0) await new Promise((resolve) => void setTimeout(resolve, 5));
    }
    await gate.promise;
  };
  const before = await scripts(client);
  await using _worker = startWorker(own, queue.keys, { handler });
  await queue.enqueue('a');
  const began = performance.now();
  await eventually(async () => expect(await queue.progress('a')).toBe(10_000));
  const seconds = (performance.now() - began) / 1_000;
  gate.resolve();
  await queue.result('a');
  // four a second, and what the turns of the worker call
  expect((await scripts(client)) - before).toBeLessThan(20 + 10 * seconds);
});

async function scripts(client: Redis): Promise<number> {
  const stats = await client.info('commandstats');
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

test('a failed attempt removes its report, and a handler that keeps reporting is ignored', async () => {
  await using queue = openFresh();
  const reported = Promise.withResolvers<void>();
  let late: (() => void) | undefined;
  const handler = async (_task: unknown, { progress, retryAfter }: TaskContext): Promise<void> => {
    progress('half');
    late = () => progress('from beyond');
    await reported.promise;
    retryAfter('1h');
  };
  await using _worker = startWorker(server, queue.keys, { handler });
  await queue.enqueue('a');
  await eventually(async () => expect(await queue.progress('a')).toBe('half'));
  reported.resolve();
  await eventually(async () => expect(await queue.inspect()).toMatchObject({ inFlight: 0, delayed: 1 }));
  late?.();
  await eventually(async () => expect(await queue.progress('a')).toBeUndefined());
});

test('a report that is not JSON, or too large, fails the attempt with a message', async () => {
  await using queue = openFresh();
  const handler = (task: unknown, { progress }: TaskContext): void =>
    progress(task === 'large' ? 'x'.repeat(20_000) : undefined);
  await using _worker = startWorker(server, queue.keys, { handler });
  await queue.enqueueMany(['large', 'nothing']);
  await expect(queue.result('large')).rejects.toThrow('progress may have 16384 bytes of JSON');
  await expect(queue.result('nothing')).rejects.toThrow('progress cannot be undefined');
});

test('a fenced worker writes none, and its earlier reports are removed with it', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  const about = { worker: worker.id, epoch: worker.epoch };
  expect(await noteProgress(redis, keys, about, [{ id: 'a', json: '1' }], [])).toBe(true);
  expect(await redis.hgetall(keys.progress(worker.id))).toEqual({ a: '1' });
  await reap(redis, keys, worker.id, worker.epoch, 'lost');
  expect(await redis.exists(keys.progress(worker.id))).toBe(0);
  expect(await noteProgress(redis, keys, about, [{ id: 'a', json: '2' }], ['b'])).toBe(false);
  expect(await redis.exists(keys.progress(worker.id))).toBe(0);
});
