/** The worker in this process while the network and the server fail: nothing is lost, nothing is written twice. */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import run from '../fixtures/tasks.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

const through = (proxy: TcpProxy): { address: { url: string } } => ({
  address: { url: `redis://127.0.0.1:${proxy.port}` },
});

/** Each task has its result, and none was counted twice. */
async function expectAll(redis: Redis, keys: QueueKeys, tasks: readonly string[]): Promise<void> {
  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(tasks.length));
  expect(Object.keys(await redis.hgetall(keys.result)).toSorted()).toEqual(tasks.toSorted());
  await eventually(async () =>
    expect(await sampleQueue(redis, keys)).toMatchObject({
      waiting: 0,
      inFlight: 0,
      delayed: 0,
      counters: {
        taken: tasks.length,
        completed: tasks.length,
        recovered: 0,
      },
    }),
  );
}

/** A handler whose tasks end when the test says so; it counts how often each was run. */
function gated(): {
  gate: PromiseWithResolvers<void>;
  runs: string[];
  handler: (task: unknown) => Promise<string>;
} {
  const gate = Promise.withResolvers<void>();
  const runs: string[] = [];
  const handler = async (task: unknown): Promise<string> => {
    runs.push(String(task));
    await gate.promise;
    return 'ok';
  };
  return { gate, runs, handler };
}

test.concurrent('a turn that never reached Redis is made again', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  const keys = freshKeys();
  const { gate, runs, handler } = gated();
  await redis.lpush(keys.queue, 'a', 'b');
  await using _worker = startWorker(through(proxy), keys, { handler, concurrency: 2 });
  await eventually(() => expect(runs).toEqual(['a', 'b']));
  proxy.stall('requests');
  gate.resolve();
  // the turn with the results is on its way once the handlers have returned and the batch was sent
  await new Promise((resolve) => void setTimeout(resolve, 30));
  expect(await redis.exists(keys.result)).toBe(0);
  proxy.cut();
  proxy.resume();
  await expectAll(redis, keys, ['a', 'b']);
  expect(runs).toHaveLength(2);
});

test('a turn whose reply was lost is not made twice, and what it took is not lost', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  const keys = freshKeys();
  const { gate, runs, handler } = gated();
  await redis.lpush(keys.queue, 'a', 'b');
  await using _worker = startWorker(through(proxy), keys, { handler, concurrency: 2 });
  await eventually(() => expect(runs).toEqual(['a', 'b']));
  await redis.lpush(keys.queue, 'c', 'd');
  proxy.stall('replies');
  gate.resolve();
  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(2));
  // a client collects them at once: they must not come back
  await redis.hdel(keys.result, 'a', 'b');
  proxy.cut();
  proxy.resume();
  await eventually(async () =>
    expect(Object.keys(await redis.hgetall(keys.result)).toSorted()).toEqual(['c', 'd']),
  );
  await eventually(async () =>
    expect((await sampleQueue(redis, keys)).counters).toMatchObject({ taken: 4, completed: 4 }),
  );
  expect(runs.toSorted()).toEqual(['a', 'b', 'c', 'd']);
});

test.concurrent('a connection that is cut again and again', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  const keys = freshKeys();
  const tasks = Array.from({ length: 1_500 }, (_, i) => `task ${i}`);
  let ran = 0;
  const handler = async (): Promise<string> => {
    ran++;
    await new Promise((resolve) => void setTimeout(resolve, 1));
    return 'ok';
  };
  await redis.lpush(keys.queue, ...tasks);
  await using _worker = startWorker(through(proxy), keys, { handler, concurrency: 2 });
  for (let cuts = 1; cuts <= 6; cuts++) {
    await eventually(async () => expect(await redis.hlen(keys.result)).toBeGreaterThan(cuts * 150));
    if (cuts % 2 === 0) proxy.stall('replies');
    await new Promise((resolve) => void setTimeout(resolve, 5));
    proxy.cut();
    proxy.resume();
  }
  await expectAll(redis, keys, tasks);
  expect(ran).toBe(tasks.length);
});

test.concurrent('a Redis that restarts, with what it kept on disk', async () => {
  await using server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  const redis = server.client();
  const keys = freshKeys();
  const tasks = Array.from({ length: 600 }, (_, i) => `task ${i}`);
  const handler = async (): Promise<string> => {
    await new Promise((resolve) => void setTimeout(resolve, 1));
    return 'ok';
  };
  await redis.lpush(keys.queue, ...tasks);
  await using worker = startWorker(server, keys, { handler, concurrency: 2 });
  await eventually(async () => expect(await redis.hlen(keys.result)).toBeGreaterThan(100));
  await server.restart();
  await expectAll(redis, keys, tasks);
  expect(worker.epochs).toBe(1);
});

test.concurrent('a Redis that lost everything: the worker begins a new epoch', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: run });
  await worker.ready();
  await redis.flushall();
  await eventually(() => expect(worker.epochs).toBe(2));
  await redis.lpush(keys.queue, 'a');
  await eventually(async () => expect(await redis.hget(keys.result, 'a')).toBe('a'));
});

test.concurrent('a worker that is stopped while Redis is down ends when its grace period is over', async () => {
  await using server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  const redis = server.client();
  const keys = freshKeys();
  const { runs, handler } = gated();
  await redis.lpush(keys.queue, 'a');
  await using worker = startWorker(server, keys, { handler, leaseMs: 1_000 });
  await eventually(() => expect(runs).toEqual(['a']));
  await server.kill();
  const refused = expect.objectContaining({ event: LogEvent.RedisFailed, code: 'ECONNREFUSED' });
  await eventually(() => expect(worker.log).toContainEqual(refused));
  // the server is started only after that
  await worker.hurry();
  await server.start();
  expect(await redis.hvals(keys.inflight(worker.id))).toEqual(['a']);
});
