/** Tasks that were lost together are cleared by halves, and the one that takes its workers down is still found. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { reap } from '../../queue/workers/reap.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import type { Delivery } from '../../queue/workers/turn.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const names = (count: number, prefix = 't'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const results = (tasks: readonly Delivery[]) => ({ results: tasks.map((task) => done(task)) });

/** A worker takes these tasks and is lost with them. */
async function lose(keys: QueueKeys, tasks: readonly string[], elsewhere = 0): Promise<void> {
  await redis.rpush(keys.queue, ...tasks.toReversed());
  const worker = await startHandWorker(redis, keys);
  const { tasks: taken } = await worker.turn({ want: tasks.length, elsewhere });
  expect(texts(taken)).toEqual(tasks);
  await reap(redis, keys, worker.id, worker.epoch, 'lost', 0);
}

/** Workers that take what they may, and die of the killer, until nothing is left. Returns the sizes of what they took. */
async function narrowDown(
  keys: QueueKeys,
  killer: string,
  slots: number,
): Promise<[number, Map<string, number>][]> {
  const rounds: [number, Map<string, number>][] = [];
  for (let round = 0; round < 200; round++) {
    const worker = await startHandWorker(redis, keys);
    const { tasks } = await worker.turn({ want: slots, together: slots });
    if (tasks.length === 0) return rounds;
    rounds.push([tasks.length, new Map(tasks.map(({ raw, past }) => [raw.toString(), past.deliveries]))]);
    if (texts(tasks).includes(killer)) {
      if (tasks.find(({ raw }) => raw.toString() === killer)?.past.deliveries === 5) return rounds;
      await reap(redis, keys, worker.id, worker.epoch, 'lost', 0);
    } else {
      await worker.turn({ settled: results(tasks) });
      await reap(redis, keys, worker.id, worker.epoch, 'leave');
    }
  }
  throw new Error('it does not end');
}

test.for([20, 50, 7, 3])('%i tasks lost with no killer among them take few rounds', async (count) => {
  const keys = freshKeys();
  await lose(keys, names(count));
  const rounds = await narrowDown(keys, 'nobody', count);
  expect(rounds.reduce((sum, [size]) => sum + size, 0)).toBe(count);
  // two halves, and what is left of an odd number
  expect(rounds.length).toBeLessThanOrEqual(3);
});

test.for([20, 50, 100])('the killer among %i is delivered five times, the last time alone', async (count) => {
  const keys = freshKeys();
  await lose(keys, names(count));
  const killer = `t${Math.floor(count / 3)}`;
  const rounds = await narrowDown(keys, killer, count);
  const its = rounds.filter(([, tasks]) => tasks.has(killer));
  expect(its.map(([, tasks]) => tasks.get(killer))).toEqual([1, 2, 3, 4, 5]);
  expect(its.at(-1)?.[0]).toBe(1);
  // its fellows are halved each time, and those that are not with it end in that round
  expect(its.map(([size]) => size)).toEqual(
    its.map(([size], i) => Math.min(size, Math.floor(count / 2 ** (i + 1)) || 1)),
  );
  expect(rounds.length).toBeLessThan(30);
  // nobody else comes near the end, and whoever would is alone
  for (const [size, tasks] of rounds)
    for (const [task, deliveries] of tasks)
      if (task !== killer)
        expect(deliveries < 4 || size === 1, `${task}: ${deliveries} of ${size}`).toBe(true);
});

test('one that was lost alone goes alone, and so does one that the next loss may condemn', async () => {
  const keys = freshKeys();
  await lose(keys, ['single']);
  await lose(keys, names(8));
  const first = await startHandWorker(redis, keys);
  expect(texts((await first.turn({ want: 20, together: 20 })).tasks)).toEqual(names(4));
  const second = await startHandWorker(redis, keys);
  await redis.hset(keys.worker(second.id), 'maxDeliveries', 2);
  expect(texts((await second.turn({ want: 20, together: 20 })).tasks)).toEqual(['t4']);
  const third = await startHandWorker(redis, keys);
  expect(texts((await third.turn({ want: 20, together: 20 })).tasks)).toEqual(names(8).slice(5));
  const fourth = await startHandWorker(redis, keys);
  expect(texts((await fourth.turn({ want: 20, together: 20 })).tasks)).toEqual(['single']);
});

test('none is given to a worker that holds tasks of another queue, and one that is empty finds it', async () => {
  const keys = freshKeys();
  await lose(keys, names(8));
  await redis.lpush(keys.queue, 'healthy');
  const busy = await startHandWorker(redis, keys);
  const turn = await busy.turn({ want: 20, together: 0, elsewhere: 1, emptyInMs: 3_600_000 });
  expect(texts(turn.tasks)).toEqual(['healthy']);
  // an hour is too long to wait for
  expect(turn).toMatchObject({ apart: false, aside: 8 });
  const empty = await startHandWorker(redis, keys);
  expect((await empty.turn({ want: 20, together: 20 })).tasks).toHaveLength(4);
});

test('the worker with the earliest estimate is the one that takes nothing more', async () => {
  const keys = freshKeys();
  const [slow, fast] = [await startHandWorker(redis, keys), await startHandWorker(redis, keys)];
  for (const worker of [slow, fast]) {
    await redis.lpush(keys.queue, `held by ${worker.id}`);
    await worker.turn({ want: 1 });
  }
  await lose(keys, ['suspect']);
  await redis.lpush(keys.queue, ...names(5));
  await slow.turn({ want: 1, emptyInMs: 4_000 });
  expect(await fast.turn({ want: 1, emptyInMs: 200 })).toMatchObject({ apart: true, tasks: [] });
  const other = await slow.turn({ want: 1, emptyInMs: 4_000 });
  expect([other.apart, texts(other.tasks)]).toEqual([false, ['t0']]);
  // it is held to its word: after that another one may be first
  await redis.zadd(keys.emptying, 1, fast.id);
  expect(await fast.turn({ want: 1, emptyInMs: 60_000 })).toMatchObject({ apart: false });
  expect(await slow.turn({ want: 1, emptyInMs: 4_000 })).toMatchObject({ apart: true });
});

test('a worker waits for suspects as long as they have waited', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.queue, 'long');
  await worker.turn({ want: 1 });
  await lose(keys, ['suspect']);
  expect(await worker.turn({ want: 1, emptyInMs: 60_000 })).toMatchObject({ apart: false });
  await redis.hincrby(keys.stats, 'asideSince', -61_000);
  expect(await worker.turn({ want: 1, emptyInMs: 60_000 })).toMatchObject({ apart: true });
});

test('after a clock was set back, suspects wait no longer than before', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.queue, 'long');
  await worker.turn({ want: 1 });
  await lose(keys, ['suspect']);
  await worker.turn({ want: 1, emptyInMs: 60_000 });
  // an hour back, and then a minute passes
  await redis.hincrby(keys.stats, 'asideSince', 3_600_000);
  expect(await worker.turn({ want: 1, emptyInMs: 60_000 })).toMatchObject({ apart: false });
  await redis.hincrby(keys.stats, 'asideSince', -61_000);
  expect(await worker.turn({ want: 1, emptyInMs: 60_000 })).toMatchObject({ apart: true });
});

test('company in another queue is recorded, so that no task is condemned for it', async () => {
  const keys = freshKeys();
  await lose(keys, ['a'], 3);
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 1 });
  expect(tasks[0]?.past).toMatchObject({ deliveries: 1, company: 2 });
  await reap(redis, keys, worker.id, worker.epoch, 'lost', 0);
  const next = await startHandWorker(redis, keys);
  const [again] = (await next.turn({ want: 1 })).tasks;
  expect(again?.past).toMatchObject({ deliveries: 2 });
  expect(again?.past.company).toBeUndefined();
});

test('suspects that need a whole worker each are counted', async () => {
  const keys = freshKeys();
  const busy = await startHandWorker(redis, keys);
  await redis.lpush(keys.queue, 'x');
  await busy.turn({ want: 1 });
  await lose(keys, ['single']);
  await lose(keys, names(8));
  await busy.turn({ want: 20, emptyInMs: 60_000 });
  expect(await sampleQueue(redis, keys)).toMatchObject({ suspects: 9, solitary: 1, waiting: 9 });
  const empty = await startHandWorker(redis, keys);
  expect(texts((await empty.turn({ want: 20, together: 20 })).tasks)).toEqual(names(4));
  const other = await startHandWorker(redis, keys);
  await other.turn({ want: 20, together: 20 });
  const third = await startHandWorker(redis, keys);
  expect(texts((await third.turn({ want: 20, together: 20 })).tasks)).toEqual(['single']);
  expect(await sampleQueue(redis, keys)).toMatchObject({ suspects: 0, solitary: 0, waiting: 0 });
  expect(await redis.exists(keys.suspects, keys.emptying)).toBe(0);
});
