/** The worker in this process, on a real Redis: what it takes, how many tasks at a time, and their outcomes. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { delayedMember } from '../../queue/task.ts';
import run from '../fixtures/tasks.ts';
import { eventually, sooner } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

test('text, bytes and JSON: each gets its result under its id', async () => {
  const keys = freshKeys();
  const bytes = Buffer.from([0xff, 0x00, 0x80]);
  await using _worker = startWorker(server, keys, { handler: run });
  await redis.lpush(
    keys.queue,
    'text',
    '',
    bytes,
    '{"id":"order 1"}',
    '{"id":7,"failures":1}',
    '[1]',
    '{"broken',
  );
  expect(await resultsOf(redis, keys.result, 7)).toMatchObject({
    text: 'text',
    '': '',
    'order 1': '{"attempt":1}',
    '7': '{"attempt":2}',
    '[1]': '[1]',
    '{"broken': '{"broken',
  });
  expect(await redis.hgetBuffer(keys.result, bytes)).toEqual(bytes);
});

test('runs as many tasks at a time as it has slots, and no more', async () => {
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
  await resultsOf(redis, keys.result, 30);
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
  const all = await resultsOf(redis, keys.result, tasks.length);
  expect(tasks.filter((task) => all[task] !== `result of ${task}`)).toEqual([]);
  expect(ran).toHaveLength(tasks.length);
  await eventually(async () => {
    const { inFlight, waiting, counters } = await sampleQueue(redis, keys);
    expect({ inFlight, waiting, counters }).toMatchObject({
      inFlight: 0,
      waiting: 0,
      counters: {
        taken: 1e4,
        completed: 1e4,
        failed: 0,
        retried: 0,
        recovered: 0,
      },
    });
  });
});

/** Blocks this process, in which nothing runs meanwhile, until a hash has this field. Throws after a minute. */
function blockUntil(key: string, field: string): void {
  const command = JSON.stringify(`HEXISTS ${key} "${field}"\r\n`);
  const script = `
    const socket = require('node:net').connect(${server.port}, '127.0.0.1');
    const ask = () => socket.write(${command});
    socket.on('connect', ask);
    socket.on('data', (reply) => (String(reply) === ':1\\r\\n' ? process.exit() : setTimeout(ask, 10)));`;
  execFileSync(process.execPath, ['-e', script], { timeout: 60_000 });
}

test('handlers that compute without a pause let results out between them', async () => {
  const keys = freshKeys();
  let computed = 0;
  const handler = (task: unknown): string => {
    if (String(task).startsWith('quick')) return 'quick';
    computed++;
    // the worker has sent the first one's result by now, or it never comes
    if (computed === 25) blockUntil(keys.result, 'long 0');
    const until = performance.now() + 20;
    while (performance.now() < until);
    return 'computed';
  };
  await using worker = startWorker(server, keys, { handler });
  // it learns that tasks are quick, so that it takes many ahead
  await redis.lpush(keys.queue, ...Array.from({ length: 500 }, (_, i) => `quick ${i}`));
  await resultsOf(redis, keys.result, 500);
  await redis.lpush(keys.queue, ...Array.from({ length: 50 }, (_, i) => `long ${i}`));
  await resultsOf(redis, keys.result, 550);
  expect(computed).toBe(50);
  expect(worker.epochs).toBe(1);
});

test('a slow task does not strand the quick ones that were prefetched with it', async () => {
  await sooner(1_500, async () => {
    const keys = freshKeys();
    const gate = Promise.withResolvers<void>();
    const handler = (task: unknown): unknown => (task === 'slow' ? gate.promise : 'quick');
    await using worker = startWorker(server, keys, { handler });
    // it learns that tasks are quick, so that it takes many ahead
    await redis.lpush(keys.queue, ...Array.from({ length: 500 }, (_, i) => `warm ${i}`));
    await resultsOf(redis, keys.result, 500);
    await redis.lpush(keys.queue, 'slow', ...Array.from({ length: 50 }, (_, i) => `quick ${i}`));
    await eventually(async () => expect(await redis.hvals(keys.inflight(worker.id))).toContain('slow'));
    const pushed = performance.now();
    await using _other = startWorker(server, keys, { handler });
    await resultsOf(redis, keys.result, 550);
    const took = performance.now() - pushed;
    expect(await redis.hexists(keys.result, 'slow')).toBe(0);
    gate.resolve();
    await resultsOf(redis, keys.result, 551);
    return took;
  });
});

test('a steady stream of tasks is not handed back while it flows', async () => {
  // what was taken ahead goes back where its turn does not come in time: only a run in which it does come tells
  for (let attempt = 1; ; attempt++) {
    const { receipts, longestWaitMs } = await streamOnce();
    // each task that was handed back was taken under one more receipt
    if (receipts === STREAM) return;
    expect(longestWaitMs, 'the longest wait for a turn').toBeGreaterThan(STALE_MS);
    if (attempt === 60)
      throw new Error('tasks waited too long each time: give the tests more of the machine');
  }
});

/** worker/epoch/turn-due.ts */
const STALE_MS = 250;
/** Tasks of 2 ms that are taken ahead at most, and a few for timers that are early: as many as fit into 100 ms. */
const AHEAD = 55;
const STREAM = 200;

/** `longestWaitMs`: the most that as many tasks took as may be before one that was taken ahead. */
async function streamOnce(): Promise<{ receipts: number; longestWaitMs: number }> {
  const keys = freshKeys();
  const ends: number[] = [];
  const handler = async (): Promise<string> => {
    if (ends.length === 0) ends.push(performance.now());
    await new Promise((resolve) => void setTimeout(resolve, 2));
    ends.push(performance.now());
    return 'ok';
  };
  await redis.lpush(keys.queue, ...Array.from({ length: STREAM }, (_, i) => `task ${i}`));
  await using worker = startWorker(server, keys, { handler });
  await resultsOf(redis, keys.result, STREAM);
  const receipts = Number(await redis.hget(keys.worker(worker.id), 'seq'));
  const waits = ends.map((end, i) => (ends[i + AHEAD] ?? ends.at(-1) ?? NaN) - end);
  return { receipts, longestWaitMs: Math.max(...waits) };
}

test('a task that reaches a worker by its blocking move when no slot is free is passed on to another', async () => {
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
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ quick: 'second' });
  gate.resolve();
  await resultsOf(redis, keys.result, 2);
});

/** Resolves when so many blocking moves wait. */
function blocked(count: number): Promise<void> {
  return eventually(async () => {
    const list = String(await redis.client('LIST'));
    expect(list.split('\n').filter((line) => line.includes('cmd=blmove'))).toHaveLength(count);
  });
}

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
  const all = await resultsOf(redis, keys.result, tasks.length);
  const by = Object.values(all).map((value) => value.split(':')[0]);
  expect(by.filter((who) => who === 'plain')).toHaveLength(100);
  expect(by.filter((who) => who === 'millrace')).toHaveLength(500);
  expect(await redis.type(keys.queue)).toBe('none');
});
