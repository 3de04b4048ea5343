/** A worker with `concurrency: auto` on a real Redis: handlers that wait, that take turns and that compute, and what it reports. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { listWorkers, type WorkerEntry } from '../../queue/workers/list-workers.ts';
import { setLimits } from '../../queue/limits/limits.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const SETTLES_MS = 300_000;

/** Counts how many run, at most and now, around `work`. */
function counted(work: () => unknown) {
  const seen = { now: 0, most: 0, done: 0 };
  const handler = async (): Promise<string> => {
    seen.most = Math.max(seen.most, ++seen.now);
    try {
      await work();
      return 'ok';
    } finally {
      seen.now--;
      seen.done++;
    }
  };
  return { seen, handler };
}

async function push(keys: QueueKeys, tasks: number): Promise<void> {
  for (let at = 0; at < tasks; at += 1_000)
    await redis.lpush(
      keys.queue,
      ...Array.from({ length: Math.min(1_000, tasks - at) }, (_, i) => `task ${at + i}`),
    );
}

async function only(keys: QueueKeys): Promise<WorkerEntry> {
  const [worker] = await listWorkers(redis, keys);
  if (!worker) throw new Error('no worker is registered');
  return worker;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const range = { min: 1, max: 8 };

test(
  'tasks that wait: as many slots as there may be, and no more tasks at a time than that',
  async () => {
    const keys = freshKeys();
    const { seen, handler } = counted(() => sleep(100));
    await push(keys, 5_000);
    await using worker = startWorker(server, keys, { handler, concurrency: range });
    await eventually(
      async () => {
        const { concurrency, slots, slotsWhy } = await only(keys);
        expect({ concurrency, slots }).toEqual({ concurrency: 8, slots: 8 });
        expect(slotsWhy).toMatch(/^the maximum; at \d the tasks took/);
      },
      { withinMs: SETTLES_MS },
    );
    expect(seen.most).toBe(8);
    await worker.hurry();
  },
  2 * SETTLES_MS,
);

test(
  'tasks that take turns: one slot, as two make each take twice as long',
  async () => {
    const keys = freshKeys();
    let turn: Promise<unknown> = Promise.resolve();
    const { seen, handler } = counted(() => (turn = turn.then(() => sleep(20))));
    await push(keys, 5_000);
    await using worker = startWorker(server, keys, { handler, concurrency: range });
    await eventually(
      async () => {
        const { slots, slotsWhy } = await only(keys);
        expect(slots).toBe(1);
        expect(slotsWhy).toMatch(/^at 2 the tasks took [\d.]+ times as long$/);
      },
      { withinMs: SETTLES_MS },
    );
    expect(seen.most).toBeLessThanOrEqual(2);
    await worker.hurry();
  },
  2 * SETTLES_MS,
);

test(
  'tasks that compute in one event loop: it goes down from what was learned of others',
  async () => {
    const keys = freshKeys();
    const { handler } = counted(async () => {
      await Promise.resolve();
      const until = process.cpuUsage().user + 1_000;
      while (process.cpuUsage().user < until);
    });
    await redis.hset(keys.slots, 'best ', 8);
    await push(keys, 20_000);
    await using worker = startWorker(server, keys, { handler, concurrency: range });
    const had: number[] = [];
    await eventually(
      async () => {
        const { slots, slotsWhy } = await only(keys);
        had.push(slots ?? 0);
        expect(slots).toBeLessThanOrEqual(2);
        expect(slotsWhy).toMatch(/^at \d the tasks took [\d.]+ times as long$/);
      },
      { withinMs: SETTLES_MS },
    );
    expect(Math.max(...had)).toBe(8);
    await worker.hurry();
  },
  2 * SETTLES_MS,
);

test(
  'what killed its last process is not tried again, nor begun with',
  async () => {
    const keys = freshKeys();
    const { seen, handler } = counted(() => sleep(5));
    await redis.hset(keys.slots, { 'best shop/mail': 8, 'trial victim': 4 });
    await push(keys, 2_000);
    await using worker = startWorker(server, keys, {
      handler,
      concurrency: range,
      id: 'victim',
      pool: 'shop/mail',
    });
    await eventually(
      async () =>
        expect(await only(keys)).toMatchObject({ slots: 3, slotsWhy: 'at 4 the worker was killed' }),
      {
        withinMs: SETTLES_MS,
      },
    );
    await eventually(async () => expect(await redis.hlen(keys.result)).toBe(2_000), { withinMs: SETTLES_MS });
    expect(seen.most).toBe(3);
    await worker.stop();
    // it left in peace
    expect(await redis.hget(keys.slots, 'trial victim')).toBeNull();
  },
  2 * SETTLES_MS,
);

test(
  'a limit of the queue holds; slots that it keeps free are not taken for useful',
  async () => {
    const keys = freshKeys();
    const { seen, handler } = counted(() => sleep(5));
    await setLimits(defineScripts(server.client()), keys, { concurrency: 3 }, 'a test');
    await push(keys, 1_000);
    await using worker = startWorker(server, keys, { handler, concurrency: range });
    await eventually(async () => expect(await redis.hlen(keys.result)).toBe(1_000), { withinMs: SETTLES_MS });
    expect(seen.most).toBeLessThanOrEqual(3);
    expect((await only(keys)).slots).toBeLessThanOrEqual(3);
    await worker.stop();
  },
  2 * SETTLES_MS,
);

test(
  'one that stops in the middle finishes what it runs, and leaves what it learned',
  async () => {
    const keys = freshKeys();
    const { seen, handler } = counted(() => sleep(20));
    await push(keys, 5_000);
    await using first = startWorker(server, keys, { handler, concurrency: range });
    await eventually(async () => expect(Number(await redis.hget(keys.slots, 'best '))).toBeGreaterThan(1), {
      withinMs: SETTLES_MS,
    });
    await first.stop();
    expect(seen.now).toBe(0);
    const done = await redis.hlen(keys.result);
    expect(done).toBe(seen.done);
    expect(done + (await redis.llen(keys.queue))).toBe(5_000);
    await using second = startWorker(server, keys, { handler, concurrency: range });
    const best = Number(await redis.hget(keys.slots, 'best '));
    await second.ready();
    await eventually(async () => expect((await only(keys)).slots).toBeGreaterThanOrEqual(best));
    await second.hurry();
  },
  2 * SETTLES_MS,
);

test('a worker of a fixed number sends, keeps and reports nothing of it', async () => {
  const keys = freshKeys();
  const { handler } = counted(() => undefined);
  await push(keys, 100);
  await using worker = startWorker(server, keys, { handler, concurrency: 4 });
  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(100));
  expect(await redis.exists(keys.slots)).toBe(0);
  expect(await redis.hmget(keys.worker(worker.id), 'slots', 'slotsWhy', 'concurrency')).toEqual([
    null,
    null,
    '4',
  ]);
  await worker.stop();
});
