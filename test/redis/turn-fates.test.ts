/** turn.lua on a real Redis: where settled tasks go, one by one and by the thousand. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { deadHeader, readDeadLetters } from '../../queue/dead-letter-format.ts';
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

test('a retry waits until it is due, then goes to the back with its attempts, also among equal tasks', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'same', 'same', 'x'.repeat(100));
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 3 });
  const retries = tasks.map(({ receipt }, i) => ({
    receipt,
    delayMs: 0,
    past: {
      attempts: i + 1,
      deliveries: 0,
    },
  }));
  await redis.lpush(keys.queue, 'other');
  const reply = await worker.turn({ want: 10, settled: { retries } });
  expect(texts(reply.tasks)[0]).toBe('other');
  expect(texts(reply.tasks).toSorted()).toEqual(['other', 'same', 'same', 'x'.repeat(100)]);
  const attempts = reply.tasks.map(({ past }) => past.attempts);
  expect(attempts.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3]);
  expect(await redis.exists(keys.history)).toBe(0);
});

test('reports when the next delayed task falls due, and promotes no earlier', async () => {
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

test('more due tasks than one turn promotes are promoted immediately after, oldest first', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  const members = Array.from({ length: 250 }, (_, i) => [
    String(i),
    delayedMember(`n${i}`, `task ${i}`),
  ]).flat();
  await redis.zadd(keys.delayed, ...members);
  const first = await worker.turn();
  expect(first).toMatchObject({ length: 100, dueInMs: 0 });
  await worker.turn();
  const last = await worker.turn({ want: 1_000 });
  expect(texts(last.tasks)).toEqual(Array.from({ length: 250 }, (_, i) => `task ${i}`));
  expect(last.dueInMs).toBeUndefined();
});

test('what something else put among the delayed tasks is a task as it is, and loses none that fell due with it', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  const others = [1, 3].flatMap((due) => [due, delayedMember(`n${due}`, `due ${due}`)]);
  await redis.zadd(keys.delayed, ...others, 2, 'no|member of ours');
  expect(texts((await worker.turn({ want: 5 })).tasks)).toEqual(['due 1', 'no|member of ours', 'due 3']);
});

test('dead letters keep task, error and id; the oldest over the limit goes, with its error', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  const header = (text: string, id?: string): string =>
    deadHeader({ error: text, attempts: 5, worker: 'w', ...(id === undefined ? {} : { id }) });
  const oldest = [
    `1 ${header('gone', 'json id')}\n{"id":"json id"}`,
    `2 ${header('gone')}\nplain`,
    `3 ${header('old')}\ntwice`,
  ];
  await redis.rpush(keys.dead, ...oldest.toReversed());
  await redis.hset(
    keys.errors,
    'json id',
    header('gone', 'json id'),
    'plain',
    header('gone'),
    'twice',
    header('newer'),
  );
  const filler = Array.from({ length: 9_997 }, (_, i) => `4 ${header('filler')}\n${i}`);
  await redis.lpush(keys.dead, ...filler);
  await redis.lpush(keys.queue, 'bad 1', 'bad 2', '\nnot\nUTF-8');
  const { tasks } = await worker.turn({ want: 3 });
  const dead = tasks.map(({ receipt, raw }) => ({ receipt, id: raw, header: header('it fails') }));
  await worker.turn({ settled: { dead } });
  expect(await redis.llen(keys.dead)).toBe(10_000);
  expect((await redis.hkeys(keys.errors)).toSorted()).toEqual(
    ['\nnot\nUTF-8', 'bad 1', 'bad 2', 'twice'].toSorted(),
  );
  const [newest] = await readDeadLetters(redis, keys, 1);
  expect(newest).toMatchObject({
    error: 'it fails',
    attempts: 5,
    worker: 'w',
    raw: Buffer.from('\nnot\nUTF-8'),
  });
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
  const retries = rest
    .slice(0, 500)
    .map(({ receipt }) => ({ receipt, delayMs: 60_000, past: { attempts: 1, deliveries: 0 } }));
  await worker.turn({ settled: { retries, released: rest.slice(500).map((task) => task.receipt) } });
  expect(await redis.lrange(keys.queue, -500, -1)).toEqual(all.slice(5_500, 6_000).toReversed());
  expect(await redis.exists(keys.inflight(worker.id))).toBe(0);
});
