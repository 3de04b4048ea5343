/** turn.lua on a real Redis: what its header promises, sentence by sentence. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { redisNow } from '../../queue/connection/connection.ts';
import { deadHeader } from '../../queue/dead-letter-format.ts';
import { drainWorkers } from '../../queue/workers/drain.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { reap } from '../../queue/workers/reap.ts';
import { receiptPrefix, turn } from '../../queue/workers/turn.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

test('takes from the right end, at most what is wanted, and notes it in flight', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c', 'd');
  const worker = await startHandWorker(redis, keys);
  const reply = await worker.turn({ want: 3 });
  expect(texts(reply.tasks)).toEqual(['a', 'b', 'c']);
  expect(reply).toMatchObject({ length: 1, drain: false, seen: 3 });
  expect(reply.tasks.map((task) => task.receipt)).toEqual(
    [1, 2, 3].map((n) => `${receiptPrefix(worker.epoch)}${n}`),
  );
  expect(Object.values(await redis.hgetall(keys.inflight(worker.id))).toSorted()).toEqual(['a', 'b', 'c']);
  expect(await sampleQueue(redis, keys)).toMatchObject({ waiting: 1, inFlight: 3, busy: 1, workers: 1 });
});

test('any bytes come and go unchanged: empty, not UTF-8, equal ones, 10 MB', async () => {
  const keys = freshKeys();
  const tasks = [Buffer.alloc(0), Buffer.from([0xff, 0x00, 0xfe]), Buffer.from('x'), Buffer.from('x')];
  tasks.push(Buffer.alloc(10 << 20, 0x80));
  await redis.lpush(keys.queue, ...tasks);
  const worker = await startHandWorker(redis, keys);
  const { tasks: taken } = await worker.turn({ want: 10 });
  expect(taken.map((task, i) => task.raw.equals(tasks[i] as Buffer))).toEqual(tasks.map(() => true));
  await worker.turn({ settled: { results: taken.map((task) => done(task, task.raw)) } });
  const values = await Promise.all(tasks.map((task) => redis.hgetBuffer(keys.result, task)));
  expect(values.map((value, i) => value?.equals(tasks[i] as Buffer))).toEqual(tasks.map(() => true));
  expect(await redis.exists(keys.inflight(worker.id))).toBe(0);
});

test('many tasks come as they are: short and long ones, of any bytes, and again after a lost reply', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  const many = (size: (i: number) => number): Buffer[] =>
    Array.from({ length: 300 }, (_, i) => Buffer.alloc(size(i), i));
  // of up to 300 bytes; a few of them longer; all of them together more than a reply packs
  for (const size of [(i: number) => i, (i: number) => (i % 50 ? 1 : 20_000), () => 2_000]) {
    const tasks = many(size);
    await redis.lpush(keys.queue, ...tasks);
    const request = worker.next({ want: 300 });
    const replies = [await worker.send(request), await worker.send(request)];
    for (const reply of replies) {
      if (reply.kind === 'fenced') throw new Error(`${worker.id} is fenced`);
      expect(reply.tasks.map(({ raw }, i) => raw.equals(tasks[i] as Buffer))).toEqual(tasks.map(() => true));
    }
  }
});

test('long ids, values and dead letters go through beside short ones, as text and as bytes', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  const values = ['', 'short', 'x'.repeat(4_096), 'é'.repeat(70_000), Buffer.alloc(5_000, 0xff)];
  const ids = values.map((_, i) => (i % 2 === 0 ? `${i}` : `${i} ${'€'.repeat(5_000)}`));
  await redis.lpush(keys.queue, ...ids, 'bad');
  const { tasks } = await worker.turn({ want: 6 });
  const long = Buffer.alloc(20_000, 0xfe);
  const results = tasks
    .slice(0, 5)
    .map(({ receipt }, i) => ({ receipt, id: ids[i] ?? '', value: values[i] ?? '' }));
  const dead = tasks.slice(5).map(({ receipt }) => ({ receipt, id: long, header: 'why' }));
  await worker.turn({ settled: { results, dead } });
  const stored = await Promise.all(ids.map((id) => redis.hgetBuffer(keys.result, id)));
  expect(stored.map((value, i) => value?.equals(Buffer.from(values[i] ?? '')))).toEqual(ids.map(() => true));
  expect(await redis.hgetall(keys.errors)).toEqual({ [long.toString()]: 'why' });
});

test('a turn repeated after a lost reply settles once and returns the same tasks', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c', 'd', 'e', 'f');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 4 });
  const [a, b, c, d] = tasks as [(typeof tasks)[0], (typeof tasks)[0], (typeof tasks)[0], (typeof tasks)[0]];
  const request = worker.next({
    want: 1,
    settled: {
      results: [done(a)],
      retries: [{ receipt: b.receipt, delayMs: 60_000, past: { attempts: 1, deliveries: 0 } }],
      dead: [{ receipt: c.receipt, id: 'c', header: deadHeader({ error: 'no', attempts: 5, worker: 'w' }) }],
      released: [d.receipt],
      serviceUs: 1_000,
      squaresMs2: 2_500,
    },
  });
  // the first reply is lost: nobody reads it
  const lost = await turn(redis, keys, request);
  const before = await everything(keys);
  await redis.hdel(keys.result, 'a'); // a client collected it: it must not be written again
  const again = await worker.send(request);
  expect(again).toMatchObject({ kind: 'held', tasks: lost.kind === 'held' ? lost.tasks : [] });
  expect(await redis.hexists(keys.result, 'a')).toBe(0);
  await redis.hset(keys.result, 'a', 'done');
  expect(await everything(keys)).toEqual(before);
  expect(await sampleQueue(redis, keys)).toMatchObject({
    waiting: 2,
    inFlight: 1,
    delayed: 1,
    dead: 1,
    counters: {
      taken: 4,
      completed: 1,
      failed: 1,
      retried: 1,
      serviceUs: 1e3,
      // in s², of all three
      squaresS2: 0.0025,
      squaredTasks: 3,
    },
  });
});

/** All that a queue's keys hold but the leases, which every turn renews. */
async function everything(keys: ReturnType<typeof freshKeys>): Promise<unknown> {
  const names = (await redis.keys('*')).filter((key) => key.includes(keys.queue) || key === keys.result);
  const dumps = names.toSorted().filter((key) => key !== keys.workers);
  return Promise.all(
    dumps.map(async (key) => {
      const type = await redis.type(key);
      if (type === 'hash') return [key, await redis.hgetall(key)];
      return [
        key,
        type === 'list' ? await redis.lrange(key, 0, -1) : await redis.zrange(key, '0', '-1', 'WITHSCORES'),
      ];
    }),
  );
}

test('a turn that comes after a later one is refused', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 1 });
  const slow = worker.next({ want: 1, settled: { results: tasks.map((task) => done(task)) } });
  await turn(redis, keys, slow);
  await worker.turn();
  await redis.hdel(keys.result, 'a');
  await expect(turn(redis, keys, slow)).rejects.toThrow(/^STALE turn 2 came after turn 3/);
  expect(await redis.exists(keys.result)).toBe(0);
});

test('a worker without a lease of this epoch writes nothing', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 1 });
  await reap(redis, keys, worker.id, worker.epoch, 'displaced');
  const late = worker.next({ want: 1, settled: { results: tasks.map((task) => done(task, 'late')) } });
  expect(await worker.send(late)).toEqual({ kind: 'fenced' });
  const namesake = await reap(redis, keys, worker.id, 'any', 'leave').then(() =>
    startHandWorker(redis, keys, { id: worker.id }),
  );
  expect(namesake.epoch).toBeGreaterThan(worker.epoch);
  expect(await worker.send(late)).toEqual({ kind: 'fenced' });
  expect(await redis.exists(keys.result)).toBe(0);
  expect(texts((await namesake.turn({ want: 5 })).tasks)).toEqual(['a', 'b']);
});

test('released tasks go back to the front in the order in which they were taken', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c', 'd', 'e');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 4 });
  await worker.turn({ settled: { released: tasks.slice(1).map((task) => task.receipt) } });
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['e', 'd', 'c', 'b']);
  expect((await sampleQueue(redis, keys)).counters.taken).toBe(1);
});

test('adopts what a blocking move put aside, before anything from the queue', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.wake(worker.id), 'first', 'second');
  await redis.lpush(keys.queue, 'third', 'fourth');
  expect(texts((await worker.turn({ want: 3 })).tasks)).toEqual(['first', 'second', 'third']);
  expect(await redis.exists(keys.wake(worker.id))).toBe(0);
});

test('hands back unwanted tasks of a blocking move, in their order', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.wake(worker.id), 'first', 'second', 'third');
  await redis.lpush(keys.queue, 'fourth');
  const reply = await worker.turn({ want: 1 });
  expect(texts(reply.tasks)).toEqual(['first']);
  expect(reply.length).toBe(3);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['fourth', 'third', 'second']);
  expect((await sampleQueue(redis, keys)).counters.taken).toBe(1);
});

test('gives a draining worker nothing, and reports that', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  const worker = await startHandWorker(redis, keys);
  const marked = await drainWorkers(() => redis, [keys], new Map([[worker.id, 'leave']]));
  expect(marked.get(worker.id)).toEqual({ state: 'starting', inFlight: 0, blockers: [], pool: '' });
  expect(await worker.turn({ want: 1 })).toMatchObject({ drain: true, tasks: [], length: 1 });
  await drainWorkers(() => redis, [keys], new Map([[worker.id, 'stay']]));
  expect(await worker.turn({ want: 1 })).toMatchObject({ drain: false, length: 0 });
});

test('a mark that is not renewed expires', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  const worker = await startHandWorker(redis, keys);
  await drainWorkers(() => redis, [keys], new Map([[worker.id, 'leave']]));
  await redis.hset(keys.worker(worker.id), 'drain', (await redisNow(redis)) - 1);
  expect(await worker.turn({ want: 1 })).toMatchObject({ drain: false, length: 0 });
});

test('works after SCRIPT FLUSH', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.queue, 'a');
  await redis.script('FLUSH');
  expect(texts((await worker.turn({ want: 1 })).tasks)).toEqual(['a']);
});
