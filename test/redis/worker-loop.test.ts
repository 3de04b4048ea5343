/** The worker in this process, on a real Redis: what it takes, how many at once, what becomes of it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { listDead } from '../../queue/dead.ts';
import { sampleQueue } from '../../queue/scripts.ts';
import { delayedMember } from '../../queue/task.ts';
import run from '../fixtures/tasks.ts';
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

/** Resolves to the result hash once it has that many fields. */
function results(key: string, count: number, withinMs = 5_000): Promise<Record<string, string>> {
  return eventually(
    async () => {
      const all = await redis.hgetall(key);
      if (Object.keys(all).length < count) throw new Error(`${Object.keys(all).length} of ${count} results`);
      return all;
    },
    { withinMs },
  );
}

test('text, bytes and JSON: each gets its result under its id', async () => {
  const keys = freshKeys();
  const bytes = Buffer.from([0xff, 0x00, 0x80]);
  await using _worker = startWorker(server, keys, { handler: run });
  await redis.lpush(keys.queue, 'text', '', bytes, '{"id":"order 1"}', '{"id":7,"failures":1}', '[1]', '{"broken');
  expect(await results(keys.result, 7)).toMatchObject({
    ...{ text: 'text', '': '', 'order 1': '{"attempt":1}', '7': '{"attempt":2}', '[1]': '[1]' },
    '{"broken': '{"broken',
  });
  expect(await redis.hgetBuffer(keys.result, bytes)).toEqual(bytes);
});

test('runs as many tasks at once as it has slots, and no more', async () => {
  const keys = freshKeys();
  let now = 0;
  let most = 0;
  let gate = Promise.withResolvers<void>();
  const handler = async (): Promise<string> => {
    most = Math.max(most, ++now);
    await gate.promise;
    now--;
    return 'ok';
  };
  await redis.lpush(keys.queue, ...Array.from({ length: 30 }, (_, i) => `task ${i}`));
  await using _worker = startWorker(server, keys, { handler, concurrency: 7 });
  await eventually(() => expect(now).toBe(7));
  expect(await sampleQueue(redis, keys)).toMatchObject({ inFlight: 7, waiting: 23 });
  gate.resolve();
  await results(keys.result, 30);
  expect(most).toBe(7);
});

test('ten thousand quick tasks: each is run once, has its result, and is counted', async () => {
  const keys = freshKeys();
  const tasks = Array.from({ length: 10_000 }, (_, i) => `task ${i}`);
  const ran: string[] = [];
  const handler = (task: unknown): string => {
    ran.push(String(task));
    return `result of ${String(task)}`;
  };
  await redis.lpush(keys.queue, ...tasks);
  await using _one = startWorker(server, keys, { handler, concurrency: 4 });
  await using _two = startWorker(server, keys, { handler, concurrency: 4 });
  const all = await results(keys.result, tasks.length);
  expect(tasks.filter((task) => all[task] !== `result of ${task}`)).toEqual([]);
  expect(ran).toHaveLength(tasks.length);
  await eventually(async () => {
    const { inFlight, waiting, counters } = await sampleQueue(redis, keys);
    expect({ inFlight, waiting, counters }).toMatchObject({
      ...{ inFlight: 0, waiting: 0 },
      counters: { taken: 10_000, completed: 10_000, failed: 0, retried: 0, recovered: 0 },
    });
  });
});

test('a slow task does not strand the quick ones that were taken ahead with it', async () => {
  const keys = freshKeys();
  const gate = Promise.withResolvers<void>();
  const handler = (task: unknown): unknown => (task === 'slow' ? gate.promise : 'quick');
  await using worker = startWorker(server, keys, { handler });
  // it learns that tasks are quick, so that it takes many ahead
  await redis.lpush(keys.queue, ...Array.from({ length: 500 }, (_, i) => `warm ${i}`));
  await results(keys.result, 500);
  await redis.lpush(keys.queue, 'slow', ...Array.from({ length: 50 }, (_, i) => `quick ${i}`));
  await eventually(async () => expect(await redis.hvals(keys.inflight(worker.id))).toContain('slow'));
  const pushed = performance.now();
  await using _other = startWorker(server, keys, { handler });
  await results(keys.result, 550, 1_500);
  expect(performance.now() - pushed).toBeLessThan(1_500);
  expect(await redis.hexists(keys.result, 'slow')).toBe(0);
  gate.resolve();
  await results(keys.result, 551);
});

test('a steady stream of tasks is not handed back while it flows', async () => {
  const keys = freshKeys();
  let ran = 0;
  const handler = async (): Promise<string> => {
    ran++;
    await new Promise((resolve) => void setTimeout(resolve, 2));
    return 'ok';
  };
  await redis.lpush(keys.queue, ...Array.from({ length: 400 }, (_, i) => `task ${i}`));
  await using worker = startWorker(server, keys, { handler });
  const seen = new Set<string>();
  await eventually(
    async () => {
      for (const receipt of await redis.hkeys(keys.inflight(worker.id))) seen.add(receipt);
      expect(ran).toBe(400);
    },
    { withinMs: 15_000 },
  );
  await results(keys.result, 400);
  // each task that was handed back would have been taken under one more receipt
  expect(Number(await redis.hget(keys.worker(worker.id), 'seq'))).toBe(400);
});

test('a task that reaches a worker by its blocking move when no slot is free goes on to another', async () => {
  const keys = freshKeys();
  const gate = Promise.withResolvers<void>();
  await using first = startWorker(server, keys, { handler: () => gate.promise });
  await first.ready();
  await blocked(1);
  // a task that falls due is taken by a turn; the blocking move goes on meanwhile
  await redis.zadd(keys.delayed, 1, delayedMember('n', 'slow'));
  await eventually(async () => expect(await redis.hvals(keys.inflight(first.id))).toEqual(['slow']));
  await using second = startWorker(server, keys, { handler: () => 'second' });
  await second.ready();
  await blocked(2);
  await redis.lpush(keys.queue, 'quick');
  expect(await results(keys.result, 1, 1_500)).toEqual({ quick: 'second' });
  gate.resolve();
  await results(keys.result, 2);
});

/** Resolves when so many blocking moves wait. */
function blocked(count: number): Promise<void> {
  return eventually(async () => {
    const list = String(await redis.client('LIST'));
    expect(list.split('\n').filter((line) => line.includes('cmd=blmove'))).toHaveLength(count);
  });
}

test('failures are retried with the attempt number, then the task is dead and says why', async () => {
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: run });
  await redis.lpush(
    keys.queue,
    ...['{"id":"twice","failures":2}', '{"id":"always","failures":9}', '{"id":"final","final":true}'],
  );
  expect(await results(keys.result, 1)).toEqual({ twice: '{"attempt":3}' });
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(2));
  const dead = await listDead(redis, keys);
  expect(dead.map(({ id }) => id).toSorted()).toEqual(['always', 'final']);
  expect(dead.find(({ id }) => id === 'always')).toMatchObject({
    ...{ error: 'failed 3 of 3 attempts: attempt 3 fails', attempts: 3, worker: worker.id },
    raw: Buffer.from('{"id":"always","failures":9}'),
  });
  expect(dead.find(({ id }) => id === 'final')).toMatchObject({
    error: 'not to be retried: it can never work',
    attempts: 1,
  });
  const errors = await redis.hgetall(keys.errors);
  expect(JSON.parse(errors['always'] ?? '')).toMatchObject({ attempts: 3 });
  expect((await sampleQueue(redis, keys)).counters).toMatchObject({ completed: 1, failed: 2, retried: 4 });
});

test('the backoff is waited for', async () => {
  const keys = freshKeys();
  const at: number[] = [];
  const handler = (_task: unknown, { attempt }: { attempt: number }): string => {
    at.push(performance.now());
    if (attempt < 3) throw new Error('not yet');
    return 'ok';
  };
  const backoff = { initialMs: 100, maxMs: 10_000, jitter: false };
  await using _worker = startWorker(server, keys, { handler, retry: { attempts: 3, backoff } });
  await redis.lpush(keys.queue, 'a');
  await results(keys.result, 1);
  const pauses = at.slice(1).map((time, i) => time - (at[i] ?? 0));
  expect(pauses[0]).toBeGreaterThanOrEqual(99);
  expect(pauses[0]).toBeLessThan(190);
  expect(pauses[1]).toBeGreaterThanOrEqual(199);
  expect(pauses[1]).toBeLessThan(350);
});

test('a result that cannot be stored fails its task at once, and no other', async () => {
  const keys = freshKeys();
  const handler = (task: unknown): unknown => (task === 'bad' ? { n: 1n } : 'ok');
  await using _worker = startWorker(server, keys, { handler });
  await redis.lpush(keys.queue, 'bad', 'good');
  expect(await results(keys.result, 1)).toEqual({ good: 'ok' });
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(1));
  expect((await listDead(redis, keys))[0]?.error).toMatch(/cannot be stored as JSON: it holds a BigInt/);
});

test('wrong key types are said once, nothing of them is touched, and work goes on when they are right', async () => {
  const keys = freshKeys();
  await redis.set(keys.queue, 'not a list');
  await using worker = startWorker(server, keys, { handler: run });
  const complaints = (): string[] =>
    worker.log.filter(({ level }) => level === 'error').map(({ msg }) => msg);
  await eventually(() => expect(complaints()[0]).toMatch(/cannot take tasks .*WRONGTYPE/));
  const turns = Number(await redis.hget(keys.worker(worker.id), 'turn'));
  await eventually(async () =>
    expect(Number(await redis.hget(keys.worker(worker.id), 'turn'))).toBeGreaterThan(turns + 1),
  );
  expect(complaints()).toHaveLength(1);
  expect(await redis.get(keys.queue)).toBe('not a list');
  await redis.del(keys.queue);
  await redis.lpush(keys.queue, 'a');
  expect(await results(keys.result, 1)).toEqual({ a: 'a' });

  await redis.del(keys.result);
  await redis.set(keys.result, 'not a hash');
  await redis.lpush(keys.queue, 'b');
  await eventually(() => expect(complaints().at(-1)).toContain(keys.result));
  expect(await redis.get(keys.result)).toBe('not a hash');
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['b']);
  await redis.del(keys.result);
  expect(await results(keys.result, 1)).toEqual({ b: 'b' });
});

test('plain workers (RPOP, HSET) and Millrace workers share a queue', async () => {
  const keys = freshKeys();
  const tasks = Array.from({ length: 600 }, (_, i) => `task ${i}`);
  let plain = 0;
  const handler = async (task: unknown): Promise<string> => {
    await new Promise(setImmediate);
    return `millrace: ${String(task)}`;
  };
  await using _worker = startWorker(server, keys, { handler });
  const client = server.client();
  const working = (async () => {
    while (plain < 100) {
      const task = await client.rpop(keys.queue);
      if (task === null) continue;
      plain++;
      await client.hset(keys.result, task, `plain: ${task}`);
    }
  })();
  for (const task of tasks) await redis.lpush(keys.queue, task);
  await working;
  const all = await results(keys.result, tasks.length);
  const by = Object.values(all).map((value) => value.split(':')[0]);
  expect(by.filter((who) => who === 'plain')).toHaveLength(100);
  expect(by.filter((who) => who === 'millrace')).toHaveLength(500);
  expect(await redis.type(keys.queue)).toBe('none');
});
