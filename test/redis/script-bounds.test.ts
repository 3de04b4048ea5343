/**
 * However much waits, one script moves a bounded part of it, because Redis does nothing else meanwhile; the calls that follow
 * do the rest, and nothing is lost or counted twice between two of them.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { deadHeader } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { script } from '../../queue/scripts/scripts.ts';
import { openRequests } from '../../queue/scripts/answers.ts';
import { reap, reapPiece, rejoin } from '../../queue/workers/reap.ts';
import { sweep } from '../../queue/workers/sweep.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, startHandWorker, texts } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const PIECE = 512;
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${i}`);

const piece = (keys: QueueKeys, worker: string, whose: number) =>
  reapPiece(redis, keys, worker, whose, 'lost', 1_000, openRequests(redis, keys));

test('a turn takes 1,000 tasks at most, whatever is wanted, and the next one continues', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, ...names(2_500));
  const worker = await startHandWorker(redis, keys);
  const taken: string[] = [];
  for (const count of [1_000, 1_000, 500]) {
    const { tasks } = await worker.turn({ want: 2_500 });
    expect(tasks).toHaveLength(count);
    taken.push(...texts(tasks));
  }
  expect(taken).toEqual(names(2_500));
});

test('a worker that held much is emptied in steps, which another one continues after a crash', async () => {
  const keys = freshKeys();
  const tasks = names(1_500);
  await redis.lpush(keys.queue, ...tasks);
  const worker = await startHandWorker(redis, keys);
  await worker.turn({ want: 1_000 });
  await worker.turn({ want: 500 });
  const [moved, rest] = await piece(keys, worker.id, worker.epoch);
  expect(moved).toBeGreaterThan(0);
  expect(moved).toBeLessThanOrEqual(PIECE);
  expect(rest).toBe(1_500 - moved);
  // its epoch is over already
  expect(await worker.send(worker.next({ want: 1 }))).toEqual({ kind: 'fenced' });
  expect(await piece(keys, worker.id, worker.epoch)).toEqual([-1, 0]);
  const [again] = await piece(keys, worker.id, 0);
  expect(again).toBeLessThanOrEqual(PIECE);
  expect(await reap(redis, keys, worker.id, 'any', 'displaced')).toBe(1_500 - moved - again);
  expect((await redis.lrange(keys.queue, 0, -1)).toReversed()).toEqual(tasks);
  const { counters } = await sampleQueue(redis, keys);
  expect(counters).toMatchObject({ recovered: 1_500, fenced: 1, taken: 0 });
});

test('suspects that wait aside come back in pieces, in their order', async () => {
  const keys = freshKeys();
  const tasks = names(1_200);
  await redis.lpush(keys.suspects, ...tasks.map((task) => `0:1:w|${task}`));
  const { queue, workers, suspects, history, pasts, stats } = keys;
  const first = Number(await script(redis, 'rejoin')(queue, workers, suspects, history, pasts, stats));
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThanOrEqual(PIECE);
  expect(await rejoin(redis, keys)).toBe(1_200 - first);
  expect((await redis.lrange(keys.queue, 0, -1)).toReversed()).toEqual(tasks);
});

test('where the limit of dead letters was lowered, a turn drops some of the old ones, and the next ones the rest', async () => {
  const keys = freshKeys();
  const header = deadHeader({ error: 'it failed', attempts: 5, worker: 'w' });
  await redis.lpush(keys.dead, ...names(300).map((task) => `${Date.now()} ${header}\n${task}`));
  await redis.lpush(keys.queue, ...names(8));
  const worker = await startHandWorker(redis, keys);
  await redis.hset(keys.worker(worker.id), 'deadMax', '10');
  const { tasks } = await worker.turn({ want: 8 });
  let before = 300;
  for (const { receipt, raw } of tasks) {
    await worker.turn({ settled: { dead: [{ receipt, id: raw, header }] } });
    const after = await redis.llen(keys.dead);
    expect(after).toBe(Math.max(10, before + 1 - 51));
    before = after;
  }
  expect(before).toBe(10);
});

test('expired cancellation marks are swept in steps', async () => {
  const keys = freshKeys();
  await redis.zadd(keys.cancelled, ...names(1_200).flatMap((task) => ['1', task]));
  await redis.zadd(keys.cancelled, Date.now() + 1e9, 'still valid');
  const { result, dead, errors, cancelled, expiry } = keys;
  expect(await script(redis, 'sweep')(result, dead, errors, cancelled, expiry, 500)).toBe(1);
  expect(await redis.zcard(keys.cancelled)).toBe(701);
  await sweep(redis, keys);
  expect(await redis.zrange(keys.cancelled, '0', '-1')).toEqual(['still valid']);
});
