/** Batches and cron tasks on a pool's page: what is read of them, and what is shown to whom. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { createBatchReader } from '../../controller/dashboard/read/batches.ts';
import { createCronReader, type CronPlace } from '../../controller/dashboard/read/crons.ts';
import { withDefaults } from '../../kube/defaults.ts';
import type { CronStatus, WorkerPool } from '../../kube/workerpool.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { queueKeys, resultApart, type QueueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { openQueue } from '../../queue/queue.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { monitor } from '../support/monitor.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
/** The controller's. */
let bounded: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
  bounded = defineScripts(openBounded(server.address));
});
afterAll(async () => {
  bounded?.disconnect();
  await server[Symbol.asyncDispose]();
});

const place = (...queues: QueueKeys[]) => ({ redisOf: () => bounded, queues });

async function failing(keys: QueueKeys, id: string): Promise<void> {
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  await queue.batch([{ n: 0 }, { n: 1 }], { id });
  await redis.hset(keys.batch(id), 'state', 'failing', 'why', `part ${id}:1: the street of customer-17`);
}

test('without leave to show tasks, neither ids nor reasons; the batch can be cancelled all the same', async () => {
  const keys = freshKeys();
  await failing(keys, 'customer-17');
  const readers = [createBatchReader(false), createBatchReader(true)] as const;
  const hidden = await readers[0].follow()(place(keys));
  expect(hidden).toMatchObject({ open: 1, list: [{ id: null, why: null, state: 'failing', left: 2 }] });
  expect(JSON.stringify(hidden)).not.toContain('customer-17');
  const shown = await readers[1].follow()(place(keys));
  expect(shown).toMatchObject({
    list: [{ id: 'customer-17', why: 'part customer-17:1: the street of customer-17' }],
  });

  await redis.hdel(keys.batch('customer-17'), 'state', 'why');
  const ref = hidden.list[0]?.ref ?? '';
  // another process has another secret
  expect(await readers[1].cancel(() => bounded, [keys], ref)).toBe(0);
  expect(await redis.hget(keys.batch('customer-17'), 'state')).toBeNull();
  expect(await readers[0].cancel(() => bounded, [freshKeys(), keys], ref)).toBe(1);
  expect(await redis.hget(keys.batch('customer-17'), 'state')).toBe('cancelling');
});

test('of several queues, what waits for somebody first; and it is seen how fast each is', async () => {
  const [urgent, other] = [freshKeys(), freshKeys()];
  for (const [keys, id] of [
    [urgent, 'a'],
    [other, 'b'],
  ] as const) {
    await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
    await queue.batch([{ n: 0 }, { n: 1 }, { n: 2 }], { id });
  }
  await redis.sadd(other.batchFailed('b'), 'b:0');
  await redis.hset(other.batch('b'), 'done', 2, 'created', Date.now() - 10_000);
  const read = createBatchReader(true).follow();
  const { open, ended, list } = await read(place(urgent, other));
  expect([open, ended]).toEqual([2, 0]);
  expect(list.map(({ id, queue, dead }) => [id, queue, dead])).toEqual([
    ['b', other.queue, 1],
    ['a', urgent.queue, 0],
  ]);
  expect(list[0]?.rate).toBeGreaterThan(0);
  expect(list[1]?.rate).toBeNull();
});

test('a queue with thousands of batches costs what one with a page of them does: two commands, and a page', async () => {
  const keys = freshKeys();
  const write = redis.pipeline();
  for (let i = 0; i < 5_000; i++) {
    write.zadd(keys.batches, i % 2 === 0 ? '+inf' : i, `b-${i}`);
    write.hset(keys.batch(`b-${i}`), 'size', 10, 'done', 4, 'created', i, 'at', i, 'endedAt', i);
  }
  await write.exec();
  const read = createBatchReader(true).follow();
  await read(place(keys));
  using seen = await monitor({ host: '127.0.0.1', port: server.port });
  const view = await read(place(keys));
  expect(view).toMatchObject({ open: 2_500, ended: 2_500 });
  expect(view.list).toHaveLength(60);
  const commands = (await seen.commands(redis)).filter(({ name }) => name !== 'ECHO');
  expect(commands.filter(({ name }) => name === 'EVALSHA')).toHaveLength(2);
  expect(commands.length).toBeLessThan(400);
});

test('a batch of a queue in partitions is one, with the counts of all, and is cancelled in all', async () => {
  const records = freshKeys();
  const queues = partitionKeys(records.queue, records.result, 4);
  const { queue: name, result } = records;
  await using queue = openQueue({ redis: server.url, queue: name, result, partitions: 4 });
  const reader = createBatchReader(true);
  const read = reader.follow();
  const asked = { ...place(...queues), records };
  await queue.batch(
    Array.from({ length: 40 }, () => ({})),
    { id: 'b', then: {} },
  );
  const seen = await read(asked);
  expect(seen).toMatchObject({ open: 1, ended: 0, list: [{ id: 'b', queue: name, size: 40, left: 40 }] });
  expect(await reader.cancel(() => bounded, queues, seen.list[0]?.ref ?? '')).toBe(1);
  for (const keys of queues) expect(await redis.zcard(keys.cancelled)).toBe(1);
});

const cron = { name: 'nightly', schedule: '0 3 * * *', timeZone: 'Europe/Berlin', task: { secret: 'x' } };
const NOW = Date.parse('2026-11-29T12:00:00Z');

function poolWith(status: Partial<CronStatus>, more: object = {}): WorkerPool {
  const spec = withDefaults({ redis: { url: 'redis://redis' }, crons: [{ ...cron, ...more }] });
  return { spec, status: { crons: [{ name: 'nightly', ...status }] } } as unknown as WorkerPool;
}
const within = <T>(reading: Promise<T>): Promise<T | undefined> => reading.catch(() => undefined);

test('a cron task: times by its own clock, the last one, what became of it and what was left out', async () => {
  const keys = freshKeys();
  const there: CronPlace = { ...place(keys), within };
  const last = { lastTime: '2026-11-29T02:00:00Z', lastTask: 'nightly:2026-11-29T02:00:00Z' };
  const pool = poolWith({ ...last, missed: 2, skipped: 1 });
  const read = createCronReader(true);
  const rows = (): Promise<unknown> => read(pool, there, NOW);
  expect(await rows()).toEqual([
    {
      name: 'nightly',
      schedule: '0 3 * * *',
      timeZone: 'Europe/Berlin',
      suspended: false,
      lastAt: Date.parse(last.lastTime),
      lastTask: last.lastTask,
      outcome: 'open',
      missed: 2,
      skipped: 1,
      next: ['2026-11-30', '2026-12-01', '2026-12-02'].map((day) => Date.parse(`${day}T02:00:00Z`)),
    },
  ]);
  await redis.hset(keys.errors, last.lastTask, JSON.stringify({ error: 'cancelled', cancelled: true }));
  expect(await rows()).toMatchObject([{ outcome: 'cancelled' }]);
  await redis.hset(keys.errors, last.lastTask, JSON.stringify({ error: 'no "cancelled":true' }));
  expect(await rows()).toMatchObject([{ outcome: 'failed' }]);
  await redis.hset(keys.result, last.lastTask, 'x');
  expect(await rows()).toMatchObject([{ outcome: 'succeeded' }]);
  expect(await read(pool, undefined, NOW)).toMatchObject([{ outcome: null, lastTask: last.lastTask }]);
  expect(await createCronReader(false)(pool, there, NOW)).toMatchObject([
    { outcome: 'succeeded', lastTask: null },
  ]);
});

test('where the result is in another slot, only a failure is known', async () => {
  const apart = resultApart(queueKeys('q{a}', 'r{b}'));
  const there: CronPlace = { ...place(apart), within };
  const pool = poolWith({ lastTime: '2026-11-29T02:00:00Z', lastTask: 't' });
  expect(await createCronReader(true)(pool, there, NOW)).toMatchObject([{ outcome: null }]);
  await redis.hset(apart.errors, 't', '{}');
  expect(await createCronReader(true)(pool, there, NOW)).toMatchObject([{ outcome: 'failed' }]);
});

test.each([
  ['suspended', { suspend: true }],
  ['of a schedule that cannot be', { timeZone: 'Europe/Berln' }],
])('one that is %s has no next time', async (_, more) => {
  expect(await createCronReader(true)(poolWith({}, more), undefined, NOW)).toMatchObject([
    { next: [], lastAt: null, outcome: null },
  ]);
});
