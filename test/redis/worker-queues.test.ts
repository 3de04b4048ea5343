/** One worker with several queues in strict priority, and queues that are paused: real Redis, real workers. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { openQueue } from '../../queue/queue.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { sleep } from '../../runtime/timers.ts';
import { LONGEST_WINDOW_MS } from '../../worker/epoch/epoch-lane.ts';
import { FIRST_TURN_TIMEOUT_MS } from '../../worker/epoch/queue-loop.ts';
import { eventually, sooner } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys, freshQueues } from '../support/turns.ts';
import { resultsOf, spawnProgram, startWorker, TASKS } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const names = (queues: readonly QueueKeys[]): string[] => queues.map(({ queue }) => queue);

/** Runs one task at a time, each when the test says so. */
function stepper(): { handler: (task: unknown) => Promise<string>; begun: string[]; next: () => void } {
  const begun: string[] = [];
  const gates: (() => void)[] = [];
  let credit = 0;
  return {
    begun,
    handler: async (task) => {
      begun.push(String(task));
      if (credit > 0) credit--;
      else await new Promise<void>((resolve) => gates.push(resolve));
      return 'ok';
    },
    next: () => {
      const open = gates.shift();
      if (open) open();
      else credit++;
    },
  };
}

test('a waiting urgent task is started before anything else, whenever it arrived', async () => {
  const queues = freshQueues(3);
  const [urgent, normal, bulk] = queues as [QueueKeys, QueueKeys, QueueKeys];
  const { handler, begun, next } = stepper();
  await redis.lpush(bulk.queue, 'b1', 'b2', 'b3');
  await redis.lpush(normal.queue, 'n1');
  await redis.lpush(urgent.queue, 'u1');
  await using worker = startWorker(server, { ...urgent }, { handler, queue: names(queues) });
  await worker.ready();
  const expectBegun = (...tasks: string[]): Promise<void> => eventually(() => expect(begun).toEqual(tasks));
  await expectBegun('u1');
  next();
  await expectBegun('u1', 'n1');
  next();
  await expectBegun('u1', 'n1', 'b1');
  await redis.lpush(urgent.queue, 'u2');
  await redis.lpush(normal.queue, 'n2');
  // no queue is taken to be empty any more because it was before the push
  await sleep(LONGEST_WINDOW_MS);
  next();
  await expectBegun('u1', 'n1', 'b1', 'u2');
  next();
  await expectBegun('u1', 'n1', 'b1', 'u2', 'n2');
  for (let i = 0; i < 3; i++) next();
  await expectBegun('u1', 'n1', 'b1', 'u2', 'n2', 'b2', 'b3');
  expect(Object.keys(await resultsOf(redis, urgent.result, 7))).toHaveLength(7);
});

test('thousands of fast tasks in each of three queues: all done, no urgent one after a bulk one that waited', async () => {
  const queues = freshQueues(3);
  const [{ result }] = queues;
  const order: number[] = [];
  const handler = (task: unknown): string => {
    order.push(Number(String(task).split('-')[0]));
    return 'ok';
  };
  const count = 3_000;
  for (const [rank, { queue }] of queues.entries())
    await redis.lpush(queue, ...Array.from({ length: count }, (_, i) => `${rank}-${i}`));
  await using worker = startWorker(server, queues[0], { handler, queue: names(queues), concurrency: 8 });
  await worker.ready();
  await resultsOf(redis, result, 3 * count);
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  for (const keys of queues)
    await eventually(async () =>
      expect(await sampleQueue(redis, keys)).toMatchObject({
        waiting: 0,
        inFlight: 0,
        counters: { taken: count },
      }),
    );
});

test('an idle worker wakes immediately for each of its queues, and slots are shared', async () => {
  // by itself it looks once a second
  await sooner(900, async () => {
    const queues = freshQueues(2);
    const [first, second] = queues as [QueueKeys, QueueKeys];
    let running = 0;
    let most = 0;
    const gate = Promise.withResolvers<void>();
    const handler = async (): Promise<string> => {
      most = Math.max(most, ++running);
      await gate.promise;
      running--;
      return 'ok';
    };
    await using worker = startWorker(server, first, { handler, queue: names(queues), concurrency: 2 });
    await worker.ready();
    const runsAfter = async ({ queue }: QueueKeys, task: string, count: number): Promise<number> => {
      const pushed = performance.now();
      await redis.lpush(queue, task);
      await eventually(() => expect(running).toBe(count));
      return performance.now() - pushed;
    };
    const waits = [await runsAfter(second, 'b1', 1), await runsAfter(first, 'a1', 2)];
    await redis.lpush(first.queue, 'a2');
    await redis.lpush(second.queue, 'b2');
    // neither is held by the full worker: both stay for others
    await eventually(async () => {
      expect([await redis.llen(first.queue), await redis.llen(second.queue)]).toEqual([1, 1]);
      expect(await redis.keys('*:wake:*')).toEqual([]);
    });
    gate.resolve();
    await resultsOf(redis, first.result, 4);
    expect(most).toBe(2);
    return Math.max(...waits);
  });
});

test('an urgent queue that refuses the worker does not delay those below it', async () => {
  await sooner(FIRST_TURN_TIMEOUT_MS / 2, async () => {
    const queues = freshQueues(2);
    const [first, second] = queues as [QueueKeys, QueueKeys];
    const keys = [second.queue, `millrace:{${second.queue}}*`, first.queue, first.result];
    const rights = ['resetkeys', ...keys.map((key) => `~${key}`), '&*', '+@all'];
    await redis.call('ACL', 'SETUSER', second.queue, 'on', '>its own', ...rights);
    const address = { ...server.address, username: second.queue, password: 'its own' };
    await redis.lpush(second.queue, 'a');
    const began = performance.now();
    await using _ = startWorker({ address }, first, { handler: () => 'ok', queue: names(queues) });
    await resultsOf(redis, first.result, 1);
    return performance.now() - began;
  });
});

test('one lost lease of two: only the tasks of that queue are dropped', async () => {
  const queues = freshQueues(2);
  const [first, second] = queues as [QueueKeys, QueueKeys];
  const gate = Promise.withResolvers<void>();
  const aborted: string[] = [];
  const begun: string[] = [];
  await using worker = startWorker(server, first, {
    queue: names(queues),
    concurrency: 2,
    handler: async (task, { signal }) => {
      begun.push(String(task));
      signal.addEventListener('abort', () => aborted.push(String(task)));
      await gate.promise;
      return 'ok';
    },
  });
  await worker.ready();
  await redis.lpush(first.queue, 'a');
  await redis.lpush(second.queue, 'b');
  await eventually(() => expect(begun.toSorted()).toEqual(['a', 'b']));
  await redis.hset(first.worker(worker.id), 'epoch', 0);
  await eventually(() => expect(aborted).toEqual(['a']));
  gate.resolve();
  await eventually(async () => expect(await redis.hget(first.result, 'b')).toBe('ok'));
});

test('the lost lease of an urgent queue: its tasks run again before any of a lower one', async () => {
  await using slow = await startTcpProxy(server.port, { roundTripMs: 60 });
  const queues = freshQueues(2);
  const [first, second] = queues as [QueueKeys, QueueKeys];
  const begun: string[] = [];
  let isFirst = true;
  const handler = async (task: unknown, { signal }: { signal: AbortSignal }): Promise<string> => {
    begun.push(String(task));
    if (!isFirst) return 'ok';
    isFirst = false;
    return await new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  };
  const address = { url: `redis://127.0.0.1:${slow.port}` };
  await using worker = startWorker({ address }, first, { queue: names(queues), handler });
  await worker.ready();
  await redis.lpush(first.queue, 'u1', 'u2');
  await eventually(() => expect(begun).toEqual(['u1']));
  await redis.lpush(second.queue, 'b1', 'b2');
  await redis.hset(first.worker(worker.id), 'epoch', 0);
  await resultsOf(redis, first.result, 4);
  expect(begun).toEqual(['u1', 'u1', 'u2', 'b1', 'b2']);
});

test('a paused queue: what runs is finished, nothing is begun, until it is resumed', async () => {
  const keys = freshKeys();
  const { handler, begun, next } = stepper();
  await using queue = openQueue({ redis: server.address, ...keys });
  await using worker = startWorker(server, keys, { handler });
  await worker.ready();
  await queue.enqueueMany(['a', 'b', 'c']);
  await eventually(() => expect(begun).toEqual(['a']));
  await queue.pause('the disk is full');
  next();
  expect(await queue.result('a')).toBe('ok');
  await eventually(async () =>
    expect(await queue.inspect()).toMatchObject({
      paused: true,
      waiting: 2,
      inFlight: 0,
      pause: { reason: 'the disk is full' },
    }),
  );
  // a second is two looks of an idle worker, and a push wakes one that waits
  await queue.enqueue('d');
  await eventually(async () => expect((await queue.inspect()).waiting).toBe(3));
  expect(begun).toEqual(['a']);
  expect(await queue.resume()).toBe(true);
  expect(await queue.resume()).toBe(false);
  for (let i = 0; i < 3; i++) next();
  await resultsOf(redis, keys.result, 4);
  expect(begun).toEqual(['a', 'b', 'c', 'd']);
  expect((await queue.inspect()).pause).toBeUndefined();
});

test('a paused queue of several: the ones below continue', async () => {
  const queues = freshQueues(2);
  const [first, second] = queues as [QueueKeys, QueueKeys];
  await using urgent = openQueue({ redis: server.address, queue: first.queue, result: first.result });
  await urgent.pause();
  await urgent.enqueue('a');
  await using worker = startWorker(server, first, { handler: () => 'ok', queue: names(queues) });
  await worker.ready();
  await redis.lpush(second.queue, 'b');
  await resultsOf(redis, first.result, 1);
  expect(await redis.llen(first.queue)).toBe(1);
  await urgent.resume();
  expect(await urgent.result('a')).toBe('ok');
});

test.for([
  ['a,b', 'several, with commas'],
  ['["a","b"]', 'several, as JSON'],
])('millrace-worker --queues %s', async ([text]) => {
  const { queue, result } = freshKeys();
  const list = String(text).replaceAll(/[ab]/g, (letter) => `${queue}-${letter}`);
  const args = ['--redis', server.url, '--result', result, '--queues', list, '--module', TASKS];
  await using worker = spawnProgram(args);
  await worker.reports('ready');
  await redis.lpush(`${queue}-a`, 'x');
  await redis.lpush(`${queue}-b`, 'y');
  expect(await resultsOf(redis, result, 2)).toEqual({ x: 'x', y: 'y' });
  worker.signal('SIGTERM');
  expect(await worker.ended).toBe(0);
  expect(await redis.keys(`millrace:{${queue}-*}:worker*`)).toEqual([]);
});

test.for([
  ['["a"', /not a JSON list of names/],
  ['a,a', /names a queue twice/],
  ['a,', /must have names/],
  [
    Array.from({ length: 257 }, (_, i) => `q${i}`).join(','),
    /names 257 queues, and a worker serves 256 at most/,
  ],
])('queues that cannot be: %s', async ([list, message]) => {
  await using worker = spawnProgram(['--redis', server.url, '--queues', String(list), '--module', TASKS]);
  expect(await worker.ended).toBe(2);
  expect(worker.stderr()).toMatch(message as RegExp);
});
