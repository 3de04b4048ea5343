/** Cancelling on a real Redis: tasks that wait, are delayed, run, or are finished; whoever is first wins. */
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { openQueue, TaskCancelled, type Queue } from '../../queue/queue.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { eventually, sooner } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, openFreshQueue, startHandWorker, texts } from '../support/turns.ts';
import { resultsOf, spawnWorker, startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const openFresh = (): Queue => openFreshQueue(server.url);

test.concurrent('tasks that wait or are delayed are not run, and clients that wait for them are notified', async () => {
  await using queue = openFresh();
  await queue.enqueueMany(['a', { id: 'b' }, 'c']);
  await queue.enqueue('d', { delayMs: 300 });
  expect([await queue.cancel('a'), await queue.cancel('b'), await queue.cancel('d')]).toEqual(
    Array(3).fill('marked'),
  );
  const ran: unknown[] = [];
  const handler = (task: unknown): string => {
    ran.push(task);
    return 'ok';
  };
  const waits = ['a', 'b', 'd'].map((id) => queue.result(id));
  await using _worker = startWorker(server, queue.keys, { handler });
  for (const [i, id] of ['a', 'b', 'd'].entries()) {
    await expect(waits[i]).rejects.toThrow(TaskCancelled);
    await expect(waits[i]).rejects.toThrow(`task ${id} was cancelled`);
  }
  expect(await queue.result('c')).toBe('ok');
  expect(ran).toEqual(['c']);
  const view = await queue.inspect();
  expect(view).toMatchObject({ inFlight: 0, dead: 0, counters: { cancelled: 3, completed: 1, failed: 0 } });
  expect(await redis.exists(queue.keys.cancelled)).toBe(0);
  expect(await queue.cancel('a')).toBe('finished');
});

test.concurrent('a running task is aborted within about a second; what its handler returns then is dropped', async () => {
  await using queue = openFresh();
  const reasons: unknown[] = [];
  const handler = async (task: unknown, { signal }: TaskContext): Promise<string> => {
    if (task !== 'obeys') await once(signal, 'abort');
    else await once(signal, 'abort').then(() => signal.throwIfAborted());
    reasons.push(signal.reason);
    return 'too late';
  };
  await using worker = startWorker(server, queue.keys, { handler, concurrency: 3 });
  await queue.enqueueMany(['obeys', 'stubborn']);
  await eventually(async () => expect(await queue.inspect()).toMatchObject({ inFlight: 2 }));
  const waits = ['obeys', 'stubborn'].map((id) => queue.result(id));
  for (const id of ['obeys', 'stubborn']) expect(await queue.cancel(id)).toBe('marked');
  for (const wait of waits) await expect(wait).rejects.toThrow(TaskCancelled);
  expect(reasons).toEqual([expect.any(TaskCancelled)]);
  expect(await redis.exists(queue.keys.result)).toBe(0);
  expect(await queue.dead()).toEqual([]);
  expect((await sampleQueue(redis, queue.keys)).counters).toMatchObject({ cancelled: 2, retried: 0 });
  expect(worker.epochs).toBe(1);
  await sooner(2_000, async (round) => {
    const id = `again ${round}`;
    await queue.enqueue(id);
    await eventually(async () => expect(await queue.inspect()).toMatchObject({ inFlight: 1 }));
    const began = performance.now();
    const wait = queue.result(id);
    expect(await queue.cancel(id)).toBe('marked');
    await expect(wait).rejects.toThrow(TaskCancelled);
    return performance.now() - began;
  });
});

test.concurrent('a worker process: its running task is aborted, and the next one runs', async () => {
  await using queue = openFresh();
  await using _worker = await spawnWorker(server, queue.keys);
  await queue.enqueue({ id: 'long', sleepMs: 60_000 });
  await eventually(async () => expect(await queue.inspect()).toMatchObject({ inFlight: 1 }));
  const wait = queue.result('long');
  wait.catch(() => undefined);
  await queue.cancel('long');
  await expect(wait).rejects.toThrow(TaskCancelled);
  await queue.enqueue({ id: 'next' });
  expect(await queue.result('next')).toBe('{"attempt":1}');
});

test.concurrent('finished tasks keep their outcome: a result, and a final failure', async () => {
  await using queue = openFresh();
  const handler = (task: unknown): string => {
    if (task === 'bad') throw Object.assign(new Error('never'), { retry: false });
    return 'ok';
  };
  await using _worker = startWorker(server, queue.keys, { handler });
  await queue.enqueueMany(['good', 'bad']);
  await resultsOf(redis, queue.keys.result, 1);
  await expect(queue.result('bad')).rejects.toThrow('never');
  expect([await queue.cancel('good'), await queue.cancel('bad')]).toEqual(['finished', 'finished']);
  expect(await queue.result('good')).toBe('ok');
  await expect(queue.result('bad')).rejects.toThrow('never');
  expect(await redis.exists(queue.keys.cancelled)).toBe(0);
});

test.concurrent('a result that comes before the mark is met takes it away, so that a later task of that id runs', async () => {
  await using queue = openFresh();
  await queue.enqueue('a');
  const worker = await startHandWorker(redis, queue.keys);
  const { tasks, marks } = await worker.turn({ want: 1 });
  expect(marks).toBe(0);
  const [a] = tasks;
  if (!a) throw new Error('a task was pushed');
  expect(await queue.cancel('a')).toBe('marked');
  expect((await worker.turn()).marks).toBe(1);
  await worker.turn({ settled: { results: [{ receipt: a.receipt, id: 'a', value: 'first' }] } });
  expect(await queue.result('a')).toBe('first');
  expect((await worker.turn()).marks).toBe(0);
});

test.concurrent('enqueueing the id again takes a cancel back, before the mark is met and after', async () => {
  await using queue = openFresh();
  await queue.enqueue('a');
  await queue.cancel('a');
  await queue.enqueue('a');
  await using _worker = startWorker(server, queue.keys, { handler: () => 'ran' });
  expect(await queue.result('a')).toBe('ran');

  await queue.enqueue('b', { delayMs: 100 });
  await queue.cancel('b');
  await expect(queue.result('b')).rejects.toThrow(TaskCancelled);
  await queue.enqueue('b');
  expect(await queue.result('b')).toBe('ran');
});

test.concurrent('a task that was taken back while a worker dropped it goes back to the queue', async () => {
  await using queue = openFresh();
  await queue.enqueue('a');
  await queue.cancel('a');
  const worker = await startHandWorker(redis, queue.keys);
  const { tasks, marks } = await worker.turn({ want: 1 });
  expect(marks).toBeGreaterThan(0);
  await queue.enqueue('a');
  const cancelled = tasks.map(({ receipt }) => ({ receipt, id: 'a', header: '{}' }));
  const reply = await worker.turn({ want: 5, settled: { cancelled } });
  expect(texts(reply.tasks)).toEqual(['a', 'a']);
  expect(await redis.exists(queue.keys.errors)).toBe(0);
  expect((await sampleQueue(redis, queue.keys)).counters).toMatchObject({ taken: 2, cancelled: 0 });
});

test.concurrent('a mark survives the worker that held the task', async () => {
  await using queue = openFresh();
  await queue.enqueue('a');
  const dead = await startHandWorker(redis, queue.keys, { leaseMs: 1 });
  expect(texts((await dead.turn({ want: 1, leaseMs: 1 })).tasks)).toEqual(['a']);
  await queue.cancel('a');
  await using _worker = startWorker(server, queue.keys, { handler: () => 'ran', leaseMs: 1_000 });
  await expect(queue.result('a')).rejects.toThrow(TaskCancelled);
});

test.concurrent('a worker that may not read marks runs everything, and continues', async () => {
  await using queue = openFresh();
  await redis.call('ACL', 'SETUSER', 'blind', 'on', '>secret', '~*', '&*', '+@all', '-zmscore');
  await queue.enqueueMany(['a', 'b']);
  await queue.cancel('a');
  const address = { url: server.url, username: 'blind', password: 'secret' };
  await using _worker = startWorker({ address }, queue.keys, { handler: () => 'ran' });
  expect([await queue.result('a'), await queue.result('b')]).toEqual(['ran', 'ran']);
  expect(await redis.exists(queue.keys.cancelled)).toBe(0);
});

test('marks that meet no task are bounded, and forgotten in time', async () => {
  await using queue = openFresh();
  await queue.cancel('nobody');
  const { cancelled } = queue.keys;
  const left = Number(await redis.zscore(cancelled, 'nobody')) - Date.now();
  expect(left).toBeGreaterThan(6.9 * 86_400_000);
  expect(left).toBeLessThan(7.1 * 86_400_000);
  await redis.zadd(cancelled, 1, 'forgotten');
  const many = Array.from({ length: 100_000 }, (_, i) => [String(Date.now() + 1_000_000 + i), `old ${i}`]);
  for (let i = 0; i < many.length; i += 10_000)
    await redis.zadd(cancelled, ...many.slice(i, i + 10_000).flat());
  await queue.cancel('one more');
  expect(await redis.zcard(cancelled)).toBe(100_000);
  expect(await redis.zscore(cancelled, 'forgotten')).toBeNull();
  expect(await redis.zscore(cancelled, 'one more')).not.toBeNull();
});

test('a mark without a task is read once, and no task is looked up because of it', async () => {
  await using own = await startRedis();
  const client = own.client();
  const { queue: name, result } = freshKeys();
  await using queue = openQueue({ redis: own.url, queue: name, result });
  await using worker = startWorker(own, queue.keys, { handler: () => 'ok', concurrency: 4 });
  await worker.ready();
  expect(await queue.cancel('nobody')).toBe('marked');
  for (let i = 0; i < 20; i++) {
    await queue.enqueueMany(Array.from({ length: 10 }, (_, k) => `${i}-${k}`));
    await resultsOf(client, queue.keys.result, 10 * (i + 1));
  }
  expect(await client.info('commandstats')).not.toMatch(/cmdstat_zmscore/);
  // one that is met is looked up, and found
  expect(await queue.cancel('somebody')).toBe('marked');
  await queue.enqueueMany(['before', 'after']);
  await client.lpush(queue.keys.queue, 'somebody');
  await expect(queue.result('somebody')).rejects.toThrow(TaskCancelled);
});

test('with more marks than a worker caches, those of its tasks are still found', async () => {
  await using queue = openFresh();
  await queue.enqueueMany(['a', 'b', 'c']);
  const marks = Array.from({ length: 1_200 }, (_, i) => [2 ** 50 + i, `gone ${i}`]).flat();
  await redis.zadd(queue.keys.cancelled, ...marks);
  expect(await queue.cancel('b')).toBe('marked');
  await using _ = startWorker(server, queue.keys, { handler: () => 'ok' });
  expect(Object.keys(await resultsOf(redis, queue.keys.result, 2)).toSorted()).toEqual(['a', 'c']);
  await expect(queue.result('b')).rejects.toThrow(TaskCancelled);
});
