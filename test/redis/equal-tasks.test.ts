/**
 * Tasks of the same bytes that have a past: `tick`, or a URL that is pushed many times. Each keeps a past of its own, and
 * costs what a task of other bytes costs, however many there are: counted in commands and in bytes of the append-only file.
 */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { QueueKeys } from '../../queue/keys.ts';
import { reap } from '../../queue/workers/reap.ts';
import { startOldWorker } from '../support/old-worker.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  // while a sync is on its way, the server puts off writing to its file, and what it counts is that of the next step
  const unsynced = ['--appendonly', 'yes', '--appendfsync', 'no', '--auto-aof-rewrite-percentage', '0'];
  server = await startRedis({ args: unsynced });
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

interface Cost {
  /** Of the append-only file. */
  readonly bytes: number;
  /** Run in scripts and outside. */
  readonly commands: number;
}

async function costOf(work: () => Promise<void>): Promise<Cost> {
  const look = async (): Promise<Cost> => {
    const [persistence, stats] = [await redis.info('persistence'), await redis.info('commandstats')];
    const calls = [...stats.matchAll(/:calls=(\d+)/g)].map(([, count]) => Number(count));
    return {
      bytes: Number(/aof_current_size:(\d+)/.exec(persistence)?.[1]),
      commands: calls.reduce((sum, count) => sum + count, 0),
    };
  };
  const before = await look();
  await work();
  const after = await look();
  return { bytes: after.bytes - before.bytes, commands: after.commands - before.commands };
}

type Scenario = (keys: QueueKeys, tasks: readonly string[]) => Promise<void>;

/** They fail, fall due together, and are taken again; `pastOf` by position. */
const retried =
  (pastOf: (position: number) => string): Scenario =>
  async (keys, tasks) => {
    const members = tasks.flatMap((task, i) => [1, `${i}|${pastOf(i).replace(':', '|')}|${task}`]);
    await redis.zadd(keys.delayed, ...members);
    const worker = await startHandWorker(redis, keys);
    while ((await redis.zcard(keys.delayed)) > 0) await worker.turn();
    const pasts: string[] = [];
    while (pasts.length < tasks.length) {
      const { tasks: taken } = await worker.turn({ want: 500 });
      pasts.push(...taken.map(({ past }) => `${past.attempts}:${past.deliveries}`));
    }
    expect(pasts.toSorted()).toEqual(tasks.map((_, i) => pastOf(i)).toSorted());
    await reap(redis, keys, worker.id, worker.epoch, 'leave');
    expect(await redis.llen(keys.queue)).toBe(tasks.length);
  };

/** A worker is lost that held them all, and they are suspects. */
const lost: Scenario = async (keys, tasks) => {
  await redis.lpush(keys.queue, ...tasks);
  const worker = await startHandWorker(redis, keys);
  await worker.turn({ want: tasks.length });
  await reap(redis, keys, worker.id, worker.epoch, 'lost', 0);
  const next = await startHandWorker(redis, keys);
  let { tasks: held } = await next.turn({ want: tasks.length });
  for (let left = tasks.length; left > 0; left -= 1) {
    expect(held[0]?.past).toMatchObject({ deliveries: 1, lastWorker: worker.id });
    const results = held.map((task) => done(task));
    ({ tasks: held } = await next.turn({ want: tasks.length, settled: { results } }));
  }
  expect(await redis.exists(keys.history, keys.pasts, keys.suspects)).toBe(0);
};

test.for<[string, Scenario, number]>([
  ['retries of one kind', retried(() => '1:0'), 1_000],
  ['retries of several kinds in turn', retried((i) => `${1 + (i % 3)}:0`), 1_000],
  ['a lost worker', lost, 200],
])('%s: twice as many cost twice as much, and no more than different ones', async ([, scenario, count]) => {
  const equal = (many: number): string[] => Array.from({ length: many }, () => 'tick');
  const once = await costOf(() => scenario(freshKeys(), equal(count)));
  const twice = await costOf(() => scenario(freshKeys(), equal(2 * count)));
  const different = await costOf(() =>
    scenario(
      freshKeys(),
      Array.from({ length: 2 * count }, (_, i) => `tick ${i}`),
    ),
  );
  for (const what of ['bytes', 'commands'] as const) {
    expect(twice[what] / once[what], what).toBeLessThan(2.2);
    expect(twice[what] / different[what], what).toBeLessThan(2);
  }
});

test('a version that knows one text for all pasts finds those that it has room for, and the others stay', async () => {
  const keys = freshKeys();
  const members = Array.from({ length: 100 }, (_, i) => [1, `${i}|1|0|tick`]).flat();
  await redis.zadd(keys.delayed, ...members);
  const worker = await startHandWorker(redis, keys);
  await worker.turn();
  const old = await startOldWorker(redis, keys, 'old');
  const taken = (await old.turn(10)) ?? [];
  expect(taken.map(({ attempts }) => attempts)).toEqual(taken.map(() => 1));
  await old.leave();
  const { tasks } = await worker.turn({ want: 100 });
  expect(tasks.map(({ past }) => past.attempts)).toEqual(tasks.map(() => 1));
  expect(tasks).toHaveLength(100);
  expect(await redis.exists(keys.history, keys.pasts)).toBe(0);
});
