/**
 * Several queues in strict priority, at any distance from Redis: the lowest one is served, and what that takes is counted in
 * turns, which are round trips, not in milliseconds.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
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

/** Turns that a worker has made, by queue. */
function turnsOf(queues: readonly QueueKeys[], worker: string): Promise<number[]> {
  return Promise.all(queues.map(async (keys) => Number(await redis.hget(keys.worker(worker), 'turn'))));
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

/** All lanes have made a turn and know that there is nothing. */
async function settled(queues: readonly QueueKeys[], worker: string): Promise<void> {
  await eventually(async () => expect(Math.min(...(await turnsOf(queues, worker)))).toBeGreaterThan(0));
}

const matrix = [0, 5, 50].flatMap((roundTripMs) => [1, 3, 10].map((count) => [roundTripMs, count] as const));

test.for(matrix)(
  'round trips of %i ms, %i queues: the lowest one is served',
  async ([roundTripMs, count]) => {
    await using proxy = await startTcpProxy(server.port, { roundTripMs });
    const queues = freshQueues(count);
    const lowest = queues.at(-1) as QueueKeys;
    const [{ result }] = queues as [QueueKeys];
    const address = { url: `redis://127.0.0.1:${proxy.port}` };
    const queue = queues.map((keys) => keys.queue);
    await using worker = startWorker({ address }, lowest, { handler: () => 'ok', queue });
    await worker.ready();
    await settled(queues, worker.id);

    const before = sum(await turnsOf(queues, worker.id));
    const began = performance.now();
    await redis.lpush(lowest.queue, 'a');
    expect(await resultsOf(redis, result, 1)).toEqual({ a: 'ok' });
    const turns = sum(await turnsOf(queues, worker.id)) - before;
    // one turn that takes, one that settles and one that hears that there is no more, and none of the queues above; besides,
    // each queue makes a turn a second anyway
    const regular = count * Math.ceil((performance.now() - began) / 1_000);
    expect(turns - regular).toBeLessThanOrEqual(3);
  },
);

test('a hundred queues: the lowest one is served without a turn in those above', async () => {
  await using proxy = await startTcpProxy(server.port, { roundTripMs: 5 });
  const queues = freshQueues(100);
  const lowest = queues.at(-1) as QueueKeys;
  const address = { url: `redis://127.0.0.1:${proxy.port}` };
  const queue = queues.map((keys) => keys.queue);
  await using worker = startWorker({ address }, lowest, { handler: () => 'ok', queue });
  await worker.ready();
  await settled(queues, worker.id);
  let tasks = 0;
  // each queue makes a turn a second anyway, and they may come together: not with each task
  await eventually(async () => {
    const before = sum(await turnsOf(queues, worker.id));
    const began = performance.now();
    await redis.lpush(lowest.queue, `task ${++tasks}`);
    await resultsOf(redis, lowest.result, tasks);
    const turns = sum(await turnsOf(queues, worker.id)) - before;
    const regular = (queues.length * (performance.now() - began)) / 1_000;
    expect(turns - regular).toBeLessThan(50);
  });
});

test('many queues: each is served in order of urgency, from a distance', async () => {
  await using proxy = await startTcpProxy(server.port, { roundTripMs: 10 });
  const queues = freshQueues(20);
  const [first] = queues as [QueueKeys];
  const began: string[] = [];
  const handler = (task: unknown): string => {
    began.push(String(task));
    return 'ok';
  };
  const address = { url: `redis://127.0.0.1:${proxy.port}` };
  const tasks = queues.map((_, i) => `task ${i}`);
  for (const [i, keys] of queues.entries()) await redis.lpush(keys.queue, tasks[i] ?? '');
  await using _ = startWorker({ address }, first, { handler, queue: queues.map(({ queue }) => queue) });
  await resultsOf(redis, first.result, queues.length);
  expect(began).toEqual(tasks);
});

test('a worker that is throttled, and stands still for 50 ms at a time, serves the lowest queue', async () => {
  const queues = freshQueues(5);
  const lowest = queues.at(-1) as QueueKeys;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  await using worker = startWorker(server, lowest, {
    handler: () => 'ok',
    queue: queues.map(({ queue }) => queue),
  });
  await worker.ready();
  const throttle = setInterval(() => Atomics.wait(cell, 0, 0, 50), 1);
  try {
    await redis.lpush(lowest.queue, 'a', 'b');
    expect(await resultsOf(redis, lowest.result, 2)).toEqual({ a: 'ok', b: 'ok' });
  } finally {
    clearInterval(throttle);
  }
});

test('an idle worker of many queues reads each of them equally often, and no more than that', async () => {
  const queues = freshQueues(10);
  const [first] = queues as [QueueKeys];
  await using worker = startWorker(server, first, {
    handler: () => 'ok',
    queue: queues.map(({ queue }) => queue),
  });
  await worker.ready();
  await settled(queues, worker.id);
  const before = await turnsOf(queues, worker.id);
  await eventually(async () => {
    const turns = await turnsOf(queues, worker.id);
    expect((turns.at(-1) ?? 0) - (before.at(-1) ?? 0)).toBeGreaterThanOrEqual(2);
  });
  const turns = (await turnsOf(queues, worker.id)).map((count, i) => count - (before[i] ?? 0));
  expect(Math.max(...turns)).toBeLessThanOrEqual(4);
});
