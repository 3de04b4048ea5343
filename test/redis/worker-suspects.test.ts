/** Suspects in workers with several queues: two never wait for each other, and nothing that is more urgent waits for them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { reap } from '../../queue/workers/reap.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, freshQueues, startHandWorker, type HandWorker } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const names = (queues: readonly QueueKeys[]): string[] => queues.map(({ queue }) => queue);

/** A worker that holds these tasks, and is lost with them when the test says so. */
async function doomed(keys: QueueKeys, ...tasks: string[]): Promise<() => Promise<unknown>> {
  await redis.lpush(keys.queue, ...tasks);
  const worker: HandWorker = await startHandWorker(redis, keys);
  expect((await worker.turn({ want: tasks.length })).tasks).toHaveLength(tasks.length);
  return () => reap(redis, keys, worker.id, worker.epoch, 'lost', 0);
}

/** Tasks that run until the test says so; `running` by name. */
function gates(): {
  handler: (task: unknown) => Promise<string>;
  running: Set<string>;
  open: (...tasks: string[]) => void;
} {
  const running = new Set<string>();
  const closed = new Map<string, () => void>();
  const opened = new Set<string>();
  return {
    running,
    open: (...tasks) => {
      for (const task of tasks) {
        opened.add(task);
        closed.get(task)?.();
      }
    },
    handler: async (task) => {
      const name = String(task);
      running.add(name);
      if (!opened.has(name)) await new Promise<void>((resolve) => closed.set(name, resolve));
      running.delete(name);
      return 'ok';
    },
  };
}

test.for([2, 5])('suspects of %i queues that come back together all end, repeatedly', async (count) => {
  const queues = freshQueues(count);
  const [first] = queues as [QueueKeys];
  await using worker = startWorker(server, first, {
    handler: () => 'ok',
    queue: names(queues),
    concurrency: 4,
  });
  await worker.ready();
  for (let round = 0; round < 8; round++) {
    await redis.del(first.result);
    const losses: (() => Promise<unknown>)[] = [];
    for (const [i, keys] of queues.entries()) {
      // the worker beside it may take them first, so they are put into its hands
      const lost = await startHandWorker(redis, keys);
      await redis.lpush(keys.wake(lost.id), `task ${i}`);
      expect((await lost.turn({ want: 1 })).tasks).toHaveLength(1);
      losses.push(() => reap(redis, keys, lost.id, lost.epoch, 'lost', 0));
    }
    // the lowest first, in one packet or one after the other
    if (round % 2 === 0) await Promise.all(losses.toReversed().map((lose) => lose()));
    else for (const lose of losses.toReversed()) await lose();
    expect(Object.keys(await resultsOf(redis, first.result, count))).toHaveLength(count);
  }
});

test('urgent tasks continue while a suspect of a lower queue waits for a long task there, and while it runs', async () => {
  const [high, low] = freshQueues(2) as [QueueKeys, QueueKeys];
  const lose = await doomed(low, 'suspect');
  const { handler, running, open } = gates();
  await using worker = startWorker(server, high, { handler, queue: names([high, low]), concurrency: 10 });
  await worker.ready();
  await redis.lpush(low.queue, 'long');
  await eventually(() => expect(running.has('long')).toBe(true));
  await lose();
  await eventually(async () => expect(await redis.llen(low.suspects)).toBe(1));
  await redis.lpush(high.queue, 'urgent 1', 'urgent 2');
  await eventually(() => expect([...running]).toEqual(['long', 'urgent 1', 'urgent 2']));
  open('urgent 1', 'urgent 2', 'long');
  await eventually(() => expect([...running]).toEqual(['suspect']));
  await redis.lpush(high.queue, 'urgent 3');
  await redis.lpush(low.queue, 'ordinary');
  await eventually(() => expect([...running]).toEqual(['suspect', 'urgent 3']));
  // it is known to have company: nobody will condemn it for this
  expect(await redis.hget(low.worker(worker.id), 'elsewhere')).toBe('1');
  open('suspect', 'urgent 3');
  await eventually(() => expect([...running]).toEqual(['ordinary']));
  open('ordinary');
  await resultsOf(redis, high.result, 6);
});

test('a suspect that cannot begin beside what runs goes to a worker that is empty', async () => {
  const [high, low] = freshQueues(2) as [QueueKeys, QueueKeys];
  const lose = await doomed(high, 'suspect');
  const one = gates();
  const other = gates();
  const options = { queue: names([high, low]), concurrency: 10 };
  await using busy = startWorker(server, high, { ...options, handler: one.handler });
  await busy.ready();
  await redis.lpush(low.queue, 'long');
  await eventually(() => expect(one.running.has('long')).toBe(true));
  await using empty = startWorker(server, high, { ...options, handler: other.handler });
  await empty.ready();
  await lose();
  await eventually(() => expect(other.running.has('suspect')).toBe(true));
  expect(one.running.has('suspect')).toBe(false);
  one.open('long');
  other.open('suspect');
  await resultsOf(redis, high.result, 2);
});

test('twenty tasks of a lost worker end together, half of them in each of two workers', async () => {
  const keys = freshKeys();
  const tasks = Array.from({ length: 20 }, (_, i) => `t${i}`);
  const lose = await doomed(keys, ...tasks);
  const [one, other] = [gates(), gates()];
  await using first = startWorker(server, keys, { handler: one.handler, concurrency: 20 });
  await using second = startWorker(server, keys, { handler: other.handler, concurrency: 20 });
  await first.ready();
  await second.ready();
  await lose();
  await eventually(() => expect([one.running.size, other.running.size]).toEqual([10, 10]));
  one.open(...tasks);
  other.open(...tasks);
  await resultsOf(redis, keys.result, 20);
});
