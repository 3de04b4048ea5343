/** Tasks that were in flight in a lost worker, turn by turn: they run alone, and none starves. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { inspectQueue } from '../../queue/inspect.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { reap, reapExpired } from '../../queue/workers/reap.ts';
import type { Delivery } from '../../queue/workers/turn.ts';
import { receiptPrefix } from '../../queue/workers/turn.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts, type HandWorker } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

/** A worker takes these tasks and is lost with them. */
async function lose(keys: QueueKeys, ...tasks: string[]): Promise<void> {
  await redis.lpush(keys.queue, ...tasks);
  const worker = await startHandWorker(redis, keys);
  await worker.turn({ want: tasks.length });
  await reap(redis, keys, worker.id, worker.epoch, 'lost', 0);
}

/** A worker that holds these tasks. */
async function busyWith(
  keys: QueueKeys,
  ...tasks: string[]
): Promise<{ worker: HandWorker; held: readonly Delivery[] }> {
  const worker = await startHandWorker(redis, keys);
  await redis.rpush(keys.queue, ...tasks.toReversed());
  const { tasks: held } = await worker.turn({ want: tasks.length });
  expect(texts(held)).toEqual(tasks);
  return { worker, held };
}

const results = (tasks: readonly Delivery[]) => ({ settled: { results: tasks.map((task) => done(task)) } });

test('a worker that holds nothing takes one alone, and nothing while it has it', async () => {
  const keys = freshKeys();
  await lose(keys, 'a', 'b');
  await redis.lpush(keys.queue, 'healthy');
  const worker = await startHandWorker(redis, keys);
  const first = await worker.turn({ want: 3 });
  expect(first.tasks).toMatchObject([{ raw: Buffer.from('a'), past: { deliveries: 1 } }]);
  expect(first.apart).toBe(true);
  expect(await worker.turn({ want: 3 })).toMatchObject({ tasks: [], apart: true, length: 2 });
  // also not what a blocking move that was pending brings
  await redis.lmove(keys.queue, keys.wake(worker.id), 'RIGHT', 'LEFT');
  expect(await worker.turn({ want: 3 })).toMatchObject({ tasks: [], apart: true, length: 2 });
  const second = await worker.turn({ want: 3, ...results(first.tasks) });
  expect(texts(second.tasks)).toEqual(['b']);
  const third = await worker.turn({ want: 3, ...results(second.tasks) });
  expect(third).toMatchObject({ apart: false });
  expect(texts(third.tasks)).toEqual(['healthy']);
});

test('one that is put in a wake list is alone as well', async () => {
  const keys = freshKeys();
  await lose(keys, 'a');
  await redis.lpush(keys.queue, 'healthy');
  const worker = await startHandWorker(redis, keys);
  await redis.lmove(keys.queue, keys.wake(worker.id), 'RIGHT', 'LEFT');
  const { tasks, apart } = await worker.turn({ want: 4 });
  expect([texts(tasks), apart]).toEqual([['a'], true]);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['healthy']);
});

describe('a worker that holds something', () => {
  test('sets suspects aside, continues with the others, and then empties itself for them', async () => {
    const keys = freshKeys();
    const { worker, held } = await busyWith(keys, 'x', 'y');
    await lose(keys, 'a', 'b');
    await redis.lpush(keys.queue, 'c', 'd');
    const turn = await worker.turn({ want: 3 });
    expect(texts(turn.tasks)).toEqual(['c']);
    expect(turn).toMatchObject({ length: 1, apart: true });
    // they wait, and all who ask are told so
    expect(await sampleQueue(redis, keys)).toMatchObject({ waiting: 3, suspects: 2, inFlight: 3 });
    expect(await inspectQueue(redis, keys)).toMatchObject({ waiting: 3 });
    expect(await worker.turn({ want: 3, ...results(held) })).toMatchObject({ tasks: [], apart: true });
    const alone = await worker.turn({ want: 3, ...results(turn.tasks) });
    expect([texts(alone.tasks), alone.apart]).toEqual([['a'], true]);
    const last = await worker.turn({ want: 3, ...results(alone.tasks) });
    expect([texts(last.tasks), last.apart]).toEqual([['b'], true]);
    const over = await worker.turn({ want: 3, ...results(last.tasks) });
    expect([texts(over.tasks), over.apart]).toEqual([['d'], false]);
  });

  test('is one of many: one empties itself, the others continue, and an empty one takes them', async () => {
    const keys = freshKeys();
    const { worker: one } = await busyWith(keys, 'x');
    const { worker: two } = await busyWith(keys, 'y');
    await lose(keys, 'a');
    await redis.lpush(keys.queue, 'c', 'd', 'e');
    expect(await one.turn({ want: 1 })).toMatchObject({ tasks: [], apart: true });
    const other = await two.turn({ want: 1, emptyInMs: 1_000 });
    expect([texts(other.tasks), other.apart]).toEqual([['c'], false]);
    const three = await startHandWorker(redis, keys);
    expect(texts((await three.turn({ want: 2 })).tasks)).toEqual(['a']);
    const again = await one.turn({ want: 1 });
    expect([texts(again.tasks), again.apart]).toEqual([['d'], false]);
    // whatever was elected is not for ever
    expect(await redis.pttl(keys.isolator)).not.toBe(-1);
  });

  test.each([
    ['is lost', (keys: QueueKeys, { id, epoch }: HandWorker) => reap(redis, keys, id, epoch, 'displaced', 0)],
    ['begins to drain', (_: QueueKeys, worker: HandWorker) => worker.turn({ state: 'draining' })],
    [
      'is told to drain',
      async (keys: QueueKeys, worker: HandWorker) => {
        await redis.hset(keys.worker(worker.id), 'drain', 2 ** 53);
        await worker.turn();
      },
    ],
  ])('and empties itself, but %s: then another one does', async (_, end) => {
    const keys = freshKeys();
    const { worker: one } = await busyWith(keys, 'x');
    const { worker: two } = await busyWith(keys, 'y');
    await lose(keys, 'a');
    expect(await one.turn({ want: 1 })).toMatchObject({ apart: true });
    await end(keys, one);
    expect(await two.turn()).toMatchObject({ apart: true });
  });
});

describe('no worker is left', () => {
  test('tasks set aside go back to the front with their pasts when the last worker says goodbye', async () => {
    const keys = freshKeys();
    const { worker } = await busyWith(keys, 'x');
    await lose(keys, 'a', 'b');
    await redis.lpush(keys.queue, 'c');
    await worker.turn({ want: 3 });
    expect(await redis.llen(keys.suspects)).toBe(2);
    await reap(redis, keys, worker.id, worker.epoch, 'leave');
    // plain workers take them from here
    expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['c', 'x', 'b', 'a']);
    const next = await startHandWorker(redis, keys);
    const { tasks } = await next.turn({ want: 9 });
    expect(tasks).toMatchObject([{ past: { deliveries: 1 } }]);
  });

  test('nor a grave: sweeping the last one brings them back', async () => {
    const keys = freshKeys();
    const { worker } = await busyWith(keys, 'x');
    await lose(keys, 'a');
    await worker.turn({ want: 3 });
    await reap(redis, keys, worker.id, worker.epoch, 'lost');
    expect(await redis.llen(keys.suspects)).toBe(1);
    await redis.zadd(keys.workers, 1, worker.id);
    await reapExpired(redis, keys);
    expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['x', 'a']);
    expect(await redis.exists(keys.suspects)).toBe(0);
  });
});

test('a displaced task is no suspect', async () => {
  const keys = freshKeys();
  const { worker } = await busyWith(keys, 'a', 'b');
  await reap(redis, keys, worker.id, worker.epoch, 'displaced', 0);
  const next = await startHandWorker(redis, keys);
  const { tasks, apart } = await next.turn({ want: 2 });
  expect(tasks.map(({ past }) => past)).toEqual([1, 2].map(() => ({ attempts: 0, deliveries: 0 })));
  expect(apart).toBe(false);
  expect((await sampleQueue(redis, keys)).counters).toMatchObject({ recovered: 2, fenced: 1 });
});

test('hundreds of them, among equal ones, end one by one', async () => {
  const keys = freshKeys();
  await lose(keys, ...Array.from({ length: 300 }, (_, i) => `task ${i % 200}`));
  const { worker } = await busyWith(keys, 'x');
  await worker.turn({ want: 2_000 });
  expect(await redis.llen(keys.suspects)).toBe(300);
  await redis.hdel(keys.inflight(worker.id), `${receiptPrefix(worker.epoch)}1`);
  let { tasks } = await worker.turn({ want: 2_000 });
  for (let i = 0; i < 300; i++) {
    expect(texts(tasks)).toEqual([`task ${i % 200}`]);
    tasks = (await worker.turn({ want: 2_000, ...results(tasks) })).tasks;
  }
  expect(tasks).toEqual([]);
  expect(await redis.exists(keys.suspects, keys.history, keys.carried(worker.id))).toBe(0);
});
