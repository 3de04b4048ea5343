/** What a turn costs Redis: how many commands, how its hashes are stored, and how often it renews the lease. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { openQueue } from '../../queue/queue.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { parseTask } from '../../queue/task.ts';
import { adopt } from '../../queue/workers/adopt.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, type HandWorker, type Held } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
const keys: QueueKeys = queueKeys('tasks', 'res');

beforeAll(async () => {
  server = await startRedis();
  redis = defineScripts(openRedis(server.address));
});
afterAll(async () => {
  await closeRedis(redis);
  await server[Symbol.asyncDispose]();
});

/** A turn as a worker makes it: settles what the last one took, and takes `want`. */
async function next(worker: HandWorker, last: Held | undefined, want: number): Promise<Held> {
  const results = (last?.tasks ?? []).map((task) => done(task));
  const settled = { results, serviceUs: 100 * results.length, squaresMs2: 1 };
  return worker.turn({ settled, want, holds: results.length, heard: last?.madeAt ?? 0 });
}

/** Commands that scripts have called, without the scripts themselves. */
async function commands(): Promise<number> {
  const stats = await redis.info('commandstats');
  const calls = Array.from(stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm), ([, name, count]) =>
    name === 'evalsha' ? 0 : Number(count),
  );
  return calls.reduce((sum, count) => sum + count, 0);
}

test('a turn that settles a result and takes a task is 17 commands', async () => {
  const worker = await startHandWorker(redis, keys, { leaseMs: 3_600_000 });
  await redis.lpush(keys.queue, '3', '2', '1');
  const first = await next(worker, await next(worker, undefined, 1), 1);
  const before = await commands();
  const second = await next(worker, first, 1);
  // less the INFO of the first count
  expect((await commands()) - before - 1).toBe(17);
  expect(second.tasks.map(({ raw }) => raw.toString())).toEqual(['1']);
});

test('to take the task of a blocking move is 11 commands', async () => {
  const worker = await startHandWorker(redis, keys, { leaseMs: 3_600_000 });
  const { madeAt } = await next(worker, undefined, 0);
  await redis.lpush(keys.wake(worker.id), 'moved');
  const request = { worker: worker.id, epoch: worker.epoch, turn: 1, heard: madeAt, seen: 0 };
  // the first call sends the script itself
  expect(await adopt(redis, keys, { ...request, epoch: 1 })).toBeUndefined();
  const before = await commands();
  const adopted = await adopt(redis, keys, request);
  expect((await commands()) - before - 1).toBe(11);
  expect(adopted).toMatchObject({ delivery: { raw: Buffer.from('moved') } });
});

test.each([
  ['with an id of its own', 5, (index: number) => ({ id: `part ${index}` })],
  ['that is called by its number', 7, () => ({})],
])(
  'where that result is the one of a part %s, it is %i more, however many parts end with it',
  async (_kind, more, taskOf) => {
    const own = freshKeys();
    await using queue = openQueue({ redis: server.url, queue: own.queue, result: own.result });
    await queue.batch(
      Array.from({ length: 8 }, (_part, index) => taskOf(index)),
      { id: 'b', then: {} },
    );
    const worker = await startHandWorker(redis, own, { leaseMs: 3_600_000 });
    const settle = async ({ tasks, madeAt }: Held, want: number): Promise<[Held, number]> => {
      const results = tasks.map(({ receipt, raw }) => ({ receipt, id: parseTask(raw).id, value: '1' }));
      const parts = [
        { mark: { id: 'b' }, results: results.map((_, i) => i), dead: [], cancelled: [], spawned: [] },
      ];
      const settled = { results, parts, serviceUs: 100, squaresMs2: 1 };
      const before = await commands();
      const held = await worker.turn({ settled, want, holds: results.length, heard: madeAt });
      return [held, (await commands()) - before - 1];
    };
    const counts: number[] = [];
    let held = await worker.turn({ want: 1, holds: 0, heard: 0 });
    for (const want of [1, 1, 2, 2]) {
      const [after, count] = await settle(held, want);
      if (held.tasks.length === want) counts.push(count);
      held = after;
    }
    // a new worker takes its tasks one by one
    expect(counts.slice(1)).toEqual([17 + more, 17 + more + 1]);
  },
);

test('many tasks in flight are a table from the first turn on, few are a list', async () => {
  const encoding = async (worker: HandWorker) => redis.object('ENCODING', keys.inflight(worker.id));
  const [few, many] = [await startHandWorker(redis, keys), await startHandWorker(redis, keys)];
  await redis.lpush(keys.queue, ...Array.from({ length: 48 }, (_, i) => `task ${i}`));
  expect((await next(few, undefined, 8)).tasks.length).toBe(8);
  expect(await encoding(few)).toBe('listpack');
  const taken = await next(many, undefined, 40);
  expect(await encoding(many)).toBe('hashtable');
  expect(await redis.hkeys(keys.inflight(many.id)).then((fields) => fields.toSorted())).toEqual(
    taken.tasks.map(({ receipt }) => receipt).toSorted(),
  );
});

test('a lease is renewed once in a hundredth of it, and at once when the clock went back', async () => {
  const worker = await startHandWorker(redis, keys, { leaseMs: 360_000_000 });
  const noted = async () => redis.hmget(keys.worker(worker.id), 'till', 'renewed');
  const deadline = async () => redis.zscore(keys.workers, worker.id);
  let last = await next(worker, undefined, 0);
  const [begun, until] = [await noted(), await deadline()];
  last = await next(worker, last, 0);
  expect([await noted(), await deadline()]).toEqual([begun, until]);
  for (const renewed of [Number(begun[1]) - 3_600_001, Number(begun[1]) + 3_600_000]) {
    await redis.hset(keys.worker(worker.id), 'renewed', renewed, 'till', 1);
    await redis.zadd(keys.workers, 2, worker.id);
    last = await next(worker, last, 0);
    expect(Number((await noted())[0])).toBeGreaterThanOrEqual(360_000_000);
    expect(Number(await deadline())).toBeGreaterThanOrEqual(Number(until));
  }
});
