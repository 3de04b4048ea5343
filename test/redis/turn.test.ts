/** turn.lua against a real Redis: what its head promises, sentence by sentence. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { deadHeader, listDead } from '../../queue/dead.ts';
import { reap, sampleQueue, turn } from '../../queue/scripts.ts';
import { delayedMember } from '../../queue/task.ts';
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
  expect(reply.tasks.map((task) => task.receipt)).toEqual([1, 2, 3].map((n) => `${worker.epoch}-${n}`));
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
    ...{ waiting: 2, inFlight: 1, delayed: 1, dead: 1 },
    counters: { taken: 4, completed: 1, failed: 1, retried: 1, serviceUs: 1_000 },
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
      return [key, type === 'list' ? await redis.lrange(key, 0, -1) : await redis.zrange(key, '0', '-1', 'WITHSCORES')];
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

test('whoever has no lease of this epoch writes nothing', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 1 });
  await reap(redis, keys, worker.id, worker.epoch, 'lost');
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

test('a retry waits until it is due, then goes to the back with its attempts, also among equal tasks', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'same', 'same', 'x'.repeat(100));
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 3 });
  const retries = tasks.map(({ receipt }, i) => ({
    ...{ receipt, delayMs: 0 },
    past: { attempts: i + 1, deliveries: 0 },
  }));
  await redis.lpush(keys.queue, 'other');
  const reply = await worker.turn({ want: 10, settled: { retries } });
  expect(texts(reply.tasks)[0]).toBe('other');
  expect(texts(reply.tasks).toSorted()).toEqual(['other', 'same', 'same', 'x'.repeat(100)]);
  const attempts = reply.tasks.map(({ past }) => past.attempts);
  expect(attempts.toSorted()).toEqual([0, 1, 2, 3]);
  expect(await redis.exists(keys.history)).toBe(0);
});

test('says when the next delayed task falls due, and promotes no earlier', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  const { now } = await worker.turn();
  await redis.zadd(keys.delayed, now + 60_000, delayedMember('n', 'later'));
  const reply = await worker.turn({ want: 1 });
  expect(reply.tasks).toEqual([]);
  expect(reply.dueInMs).toBeGreaterThan(55_000);
  expect(reply.dueInMs).toBeLessThanOrEqual(60_000);
  await redis.zadd(keys.delayed, now - 1, delayedMember('n', 'later'));
  expect(texts((await worker.turn({ want: 1 })).tasks)).toEqual(['later']);
});

test('more than one turn promotes is asked for at once, oldest first', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  const members = Array.from({ length: 250 }, (_, i) => [String(i), delayedMember(`n${i}`, `task ${i}`)]).flat();
  await redis.zadd(keys.delayed, ...members);
  const first = await worker.turn();
  expect(first).toMatchObject({ length: 100, dueInMs: 0 });
  await worker.turn();
  const last = await worker.turn({ want: 1_000 });
  expect(texts(last.tasks)).toEqual(Array.from({ length: 250 }, (_, i) => `task ${i}`));
  expect(last.dueInMs).toBeUndefined();
});

test('dead letters keep task, error and id; the oldest over the limit goes, with its error', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  const header = (text: string, id?: string): string =>
    deadHeader({ error: text, attempts: 5, worker: 'w', ...(id === undefined ? {} : { id }) });
  const oldest = [`1 ${header('gone', 'json id')}\n{"id":"json id"}`, `2 ${header('gone')}\nplain`, `3 ${header('old')}\ntwice`];
  await redis.rpush(keys.dead, ...oldest.toReversed());
  await redis.hset(keys.errors, 'json id', header('gone', 'json id'), 'plain', header('gone'), 'twice', header('newer'));
  const filler = Array.from({ length: 9_997 }, (_, i) => `4 ${header('filler')}\n${i}`);
  await redis.lpush(keys.dead, ...filler);
  await redis.lpush(keys.queue, 'bad 1', 'bad 2', '\nnot\nUTF-8');
  const { tasks } = await worker.turn({ want: 3 });
  const dead = tasks.map(({ receipt, raw }) => ({ receipt, id: raw, header: header('it fails') }));
  await worker.turn({ settled: { dead } });
  expect(await redis.llen(keys.dead)).toBe(10_000);
  expect((await redis.hkeys(keys.errors)).toSorted()).toEqual(['\nnot\nUTF-8', 'bad 1', 'bad 2', 'twice'].toSorted());
  const [newest] = await listDead(redis, keys, 1);
  expect(newest).toMatchObject({ error: 'it fails', attempts: 5, worker: 'w', raw: Buffer.from('\nnot\nUTF-8') });
});

test('a result takes back what an earlier task of that id failed with', async () => {
  const keys = freshKeys();
  await redis.hset(keys.errors, 'a', 'an error', 'b', 'another');
  await redis.lpush(keys.queue, 'a');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 1 });
  await worker.turn({ settled: { results: tasks.map((task) => done(task)) } });
  expect(await redis.hkeys(keys.errors)).toEqual(['b']);
});

test('5,000 settled and 1,000 wanted in one turn', async () => {
  const keys = freshKeys();
  const all = Array.from({ length: 6_500 }, (_, i) => `task ${i}`);
  await redis.lpush(keys.queue, ...all);
  const worker = await startHandWorker(redis, keys);
  const tasks = [];
  for (let i = 0; i < 5; i++) tasks.push(...(await worker.turn({ want: 1_000 })).tasks);
  const reply = await worker.turn({
    want: 1_000,
    settled: { results: tasks.map((task) => done(task, `result of ${task.raw.toString()}`)) },
  });
  expect(texts([...tasks, ...reply.tasks])).toEqual(all.slice(0, 6_000));
  expect(await redis.hlen(keys.result)).toBe(5_000);
  expect(await redis.hget(keys.result, 'task 4999')).toBe('result of task 4999');
  expect(await redis.hlen(keys.inflight(worker.id))).toBe(1_000);
  // and 5,000 that go elsewhere
  const rest = [...reply.tasks];
  const retries = rest.slice(0, 500).map(({ receipt }) => ({ receipt, delayMs: 60_000, past: { attempts: 1, deliveries: 0 } }));
  await worker.turn({ settled: { retries, released: rest.slice(500).map((task) => task.receipt) } });
  expect(await redis.lrange(keys.queue, -500, -1)).toEqual(all.slice(5_500, 6_000).toReversed());
  expect(await redis.exists(keys.inflight(worker.id))).toBe(0);
});

test('adopts what a blocking move put aside, before anything from the queue', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.wake(worker.id), 'first', 'second');
  await redis.lpush(keys.queue, 'third', 'fourth');
  expect(texts((await worker.turn({ want: 3 })).tasks)).toEqual(['first', 'second', 'third']);
  expect(await redis.exists(keys.wake(worker.id))).toBe(0);
});

test('hands back what a blocking move put aside and nobody wants, in its order', async () => {
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

test('says when the worker is to drain', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  await redis.hset(keys.worker(worker.id), 'drain', 1);
  expect((await worker.turn()).drain).toBe(true);
  await redis.hdel(keys.worker(worker.id), 'drain');
  expect((await worker.turn()).drain).toBe(false);
});

test('works after SCRIPT FLUSH', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.queue, 'a');
  await redis.script('FLUSH');
  expect(texts((await worker.turn({ want: 1 })).tasks)).toEqual(['a']);
});

