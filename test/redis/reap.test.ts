/** register.lua and reap.lua against a real Redis: how a worker begins and how it ends, whether it says so or not. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { inspectQueue } from '../../queue/inspect.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { findOverdue, GRAVE_MS, reap, reapExpired } from '../../queue/workers/reap.ts';
import { register } from '../../queue/workers/register.ts';
import type { Delivery, Settled } from '../../queue/workers/turn.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

/** As if time had passed: the lease of the worker ended long ago. */
const expire = (keys: QueueKeys, worker: string): Promise<unknown> => redis.zadd(keys.workers, 1, worker);

test('a worker begins with a lease, a description and an epoch that was never used', async () => {
  const keys = freshKeys();
  const first = await register(redis, keys, 'w', 100_000, { concurrency: 4, version: '1.2.3', pool: 'ns/p' });
  expect(await redis.hgetall(keys.worker('w'))).toMatchObject({ state: 'starting', pool: 'ns/p' });
  const [view] = (await inspectQueue(redis, keys)).workerList;
  expect(view).toMatchObject({ id: 'w', epoch: first, concurrency: 4, version: '1.2.3', inFlight: 0 });
  expect(view?.leaseLeft).toBeGreaterThan(8_000);
  expect(view?.leaseLeft).toBeLessThanOrEqual(100_000);
  expect(await register(redis, keys, 'w', 10_000, {})).toBeUndefined();
  expect((await inspectQueue(redis, keys)).workerList[0]?.epoch).toBe(first);
  await reap(redis, keys, 'w', 'any', 'leave');
  const second = await register(redis, keys, 'w', 10_000, {});
  expect(second).toBeGreaterThan(first ?? 0);
  // whole in every form, and whatever becomes of the server
  expect(await redis.hget(keys.worker('w'), 'epoch')).toBe(String(second));
  await redis.flushall();
  expect([first, second]).not.toContain(await register(redis, keys, 'w', 10_000, {}));
});

test('a goodbye while a blocking move may be pending counts nothing either, and what the move takes comes back', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b');
  const worker = await startHandWorker(redis, keys);
  await worker.turn({ want: 1 });
  expect(await reap(redis, keys, worker.id, worker.epoch, 'leave', GRAVE_MS)).toBe(1);
  const { fenced, recovered } = await redis.hgetall(keys.stats);
  expect({ fenced, recovered }).toEqual({ fenced: undefined, recovered: undefined });
  await redis.lmove(keys.queue, keys.wake(worker.id), 'RIGHT', 'LEFT');
  await expire(keys, worker.id);
  await redis.hset(keys.worker(worker.id), 'till', 1);
  await reapExpired(redis, keys);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['b', 'a']);
  expect(await redis.exists(keys.worker(worker.id), keys.wake(worker.id))).toBe(0);
});

test('a clean goodbye leaves no key, and counts nothing against the tasks', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c');
  const worker = await startHandWorker(redis, keys);
  await worker.turn({ want: 2 });
  await redis.lmove(keys.queue, keys.wake(worker.id), 'RIGHT', 'LEFT');
  expect(await reap(redis, keys, worker.id, worker.epoch, 'leave')).toBe(3);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['c', 'b', 'a']);
  const left = (await redis.keys(`millrace:{${keys.queue}}*`)).toSorted();
  expect(left).toEqual([keys.stats]);
  const next = await startHandWorker(redis, keys);
  const { tasks } = await next.turn({ want: 3 });
  expect(tasks.map(({ past }) => past.deliveries)).toEqual([0, 0, 0]);
  expect((await sampleQueue(redis, keys)).counters).toMatchObject({ taken: 3, recovered: 0, fenced: 0 });
});

test('a lost worker: its tasks go to the front in their order and remember the delivery, itself is fenced', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c', 'd', 'e');
  const worker = await startHandWorker(redis, keys);
  await worker.turn({ want: 2 });
  await worker.turn({ want: 1 });
  await redis.lpush(keys.wake(worker.id), 'w1', 'w2');
  expect(await reap(redis, keys, worker.id, 'expired', 'lost')).toBeUndefined();
  await expire(keys, worker.id);
  expect(await reap(redis, keys, worker.id, 'expired', 'lost')).toBe(5);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['e', 'd', 'w2', 'w1', 'c', 'b', 'a']);
  expect(await worker.send(worker.next({ want: 1 }))).toEqual({ kind: 'fenced' });
  const next = await startHandWorker(redis, keys);
  const deliveries = [];
  let results: Settled['results'] = [];
  for (let i = 0; i < 4; i++) {
    const { tasks } = await next.turn({ want: 9, settled: { results } });
    deliveries.push(tasks.map(({ past }) => past.deliveries));
    results = tasks.map((task) => done(task));
  }
  // each suspect alone, then all the others
  expect(deliveries).toEqual([[1], [1], [1], [0, 0, 0, 0]]);
  expect(await sampleQueue(redis, keys)).toMatchObject({
    inFlight: 4,
    waiting: 0,
    counters: {
      taken: 7,
      recovered: 3,
      fenced: 1,
    },
  });
});

test('attempts and deliveries of equal tasks are kept apart and survive the way back', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'same', 'same', 'same');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 2 });
  const retries = tasks.map(({ receipt }, i) => ({
    receipt,
    delayMs: 0,
    past: { attempts: i + 1, deliveries: 0 },
  }));
  await worker.turn({ want: 3, settled: { retries } });
  await reap(redis, keys, worker.id, worker.epoch, 'lost');
  // one of them is lost a second time, alone
  const second = await startHandWorker(redis, keys);
  const [{ past }] = (await second.turn({ want: 3 })).tasks as [Delivery];
  await reap(redis, keys, second.id, second.epoch, 'lost');
  const last = await startHandWorker(redis, keys);
  const pasts = [];
  for (let i = 0; i < 3; i++) {
    const [task] = (await last.turn({ want: 3 })).tasks as [Delivery];
    pasts.push(task.past);
    await last.turn({ settled: { results: [done(task)] } });
  }
  const seen = pasts.map(({ attempts, deliveries }) => `${attempts}:${deliveries}`);
  const twice = past.attempts;
  expect(seen.toSorted()).toEqual([0, 1, 2].map((n) => `${n}:${n === twice ? 2 : 1}`));
  expect(new Set(pasts.map(({ lastWorker }) => lastWorker))).toEqual(new Set([second.id, worker.id]));
  expect(await redis.exists(keys.history)).toBe(0);
});

test('one epoch only: a successor of that name is not touched', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  await reap(redis, keys, worker.id, worker.epoch, 'leave');
  const next = await startHandWorker(redis, keys, { id: worker.id });
  expect(await reap(redis, keys, worker.id, worker.epoch, 'lost')).toBeUndefined();
  await expect(next.turn()).resolves.toMatchObject({ kind: 'held' });
  expect(await reap(redis, keys, 'nobody', 'any', 'lost')).toBeUndefined();
});

test('a grave catches what a blocked move takes after the worker was given up, and is then swept', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  // the worker's blocking move outlives it: its process is gone, its connection is not
  const orphan = server.client();
  const move = orphan.blmove(keys.queue, keys.wake(worker.id), 'RIGHT', 'LEFT', 5);
  await eventually(async () => expect(String(await redis.client('LIST'))).toMatch(/cmd=blmove/));
  await expire(keys, worker.id);
  const before = Date.now();
  expect([...(await reapExpired(redis, keys))]).toEqual([[worker.id, 0]]);
  await redis.lpush(keys.queue, 'taken by a ghost');
  expect(await move).toBe('taken by a ghost');
  expect(await redis.llen(keys.queue)).toBe(0);
  const grave = Number(await redis.zscore(keys.workers, worker.id)) - before;
  expect(grave).toBeGreaterThan(8_000);
  expect(await sampleQueue(redis, keys)).toMatchObject({ workers: 1, expired: 0 });

  await expire(keys, worker.id);
  expect((await sampleQueue(redis, keys)).expired).toBe(1);
  expect([...(await reapExpired(redis, keys))]).toEqual([[worker.id, 1]]);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['taken by a ghost']);
  expect(await redis.exists(keys.worker(worker.id), keys.workers, keys.wake(worker.id))).toBe(0);
  expect((await sampleQueue(redis, keys)).counters.fenced).toBe(1);
});

test('at most 100 lost workers at a time', async () => {
  const keys = freshKeys();
  for (let i = 0; i < 130; i++) await register(redis, keys, `w${i}`, 10_000, {});
  const leases = Array.from({ length: 130 }, (_, i) => [1, `w${i}`]).flat();
  await redis.zadd(keys.workers, ...leases);
  expect((await reapExpired(redis, keys)).size).toBe(100);
  expect((await reapExpired(redis, keys)).size).toBe(30);
  expect((await reapExpired(redis, keys)).size).toBe(0);
});

test('a lease without a description, as after a partly lost write, is swept too', async () => {
  const keys = freshKeys();
  await redis.zadd(keys.workers, 1, 'ghost');
  await redis.hset(keys.inflight('ghost'), '7-1', 'a', '7-2', 'b');
  expect([...(await reapExpired(redis, keys))]).toEqual([['ghost', 2]]);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['b', 'a']);
  expect(await redis.exists(keys.workers)).toBe(0);
});

test('a check for overdue workers where there are none leaves no key behind', async () => {
  const keys = freshKeys();
  await redis.hset(keys.clock, 'at', '1', 'ms', '1');
  expect(await findOverdue(redis, keys)).toEqual([]);
  expect(await redis.keys(`millrace:{${keys.queue}}*`)).toEqual([]);
});
