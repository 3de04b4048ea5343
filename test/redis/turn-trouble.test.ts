/** Keys of another type, and no memory: refused cleanly, nothing lost, resumed when it is right again. */
import { expect, test } from 'vitest';
import { sampleQueue, WrongKeyType } from '../../queue/pool/sample.ts';
import { reap } from '../../queue/workers/reap.ts';
import { register } from '../../queue/workers/register.ts';
import type { Delivery } from '../../queue/workers/turn.ts';
import { delayedMember } from '../../queue/task.ts';
import { startRedis } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts } from '../support/turns.ts';

const LEASE_MS = 60_000;

test('a queue key of another type is not touched; results still go out, tasks that go back wait', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 2 });
  await redis.rename(keys.queue, 'aside');
  await redis.set(keys.queue, 'not a list');
  await redis.zadd(keys.delayed, 1, delayedMember('n', 'due'));

  const [a, b] = tasks;
  if (!a || !b) throw new Error('two tasks were pushed');
  const reply = await worker.turn({ want: 5, settled: { results: [done(a)] } });
  expect(reply).toMatchObject({ tasks: [], length: expect.stringMatching(`WRONGTYPE.*"${keys.queue}"`) });
  expect(reply.dueInMs).toBeUndefined();
  expect(await redis.hget(keys.result, 'a')).toBe('done');

  await redis.zadd(keys.workers, 1, worker.id);
  const giveBack = worker.next({ want: 1, settled: { released: [b.receipt] } });
  await expect(worker.send(giveBack)).rejects.toThrow('WRONGTYPE');
  expect(await redis.get(keys.queue)).toBe('not a list');
  expect(await redis.hvals(keys.inflight(worker.id))).toEqual(['b']);
  // the lease holds, so that nobody else runs what this worker holds
  expect(Number(await redis.zscore(keys.workers, worker.id))).toBeGreaterThan(Date.now() + LEASE_MS - 10_000);
  await expect(reap(redis, keys, worker.id, 'any', 'lost')).rejects.toThrow('WRONGTYPE');
  expect(await redis.hvals(keys.inflight(worker.id))).toEqual(['b']);
  await expect(sampleQueue(redis, keys)).rejects.toThrow(WrongKeyType);

  await redis.rename('aside', keys.queue);
  const right = await worker.send(giveBack);
  expect(right.kind === 'held' && texts(right.tasks)).toEqual(['b']);
  expect(texts((await worker.turn({ want: 5 })).tasks)).toEqual(['c', 'due']);
});

test('a result key of another type is not touched: held tasks stay, and no more are taken', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 1 });
  await redis.set(keys.result, 'not a hash');
  await redis.lpush(keys.wake(worker.id), 'c');

  const reply = await worker.turn({ want: 5 });
  expect(reply).toMatchObject({ tasks: [], length: expect.stringMatching(`WRONGTYPE.*"${keys.result}"`) });
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['b', 'c']);

  await redis.zadd(keys.workers, 1, worker.id);
  const settle = worker.next({ want: 5, settled: { results: tasks.map((task) => done(task)) } });
  await expect(worker.send(settle)).rejects.toThrow(`WRONGTYPE`);
  expect(await redis.get(keys.result)).toBe('not a hash');
  expect(await redis.hvals(keys.inflight(worker.id))).toEqual(['a']);
  expect(Number(await redis.zscore(keys.workers, worker.id))).toBeGreaterThan(Date.now() + LEASE_MS - 10_000);
  await expect(sampleQueue(redis, keys)).rejects.toThrow(WrongKeyType);

  await redis.del(keys.result);
  const right = await worker.send(settle);
  expect(right.kind === 'held' && texts(right.tasks)).toEqual(['c', 'b']);
  expect(await redis.hgetall(keys.result)).toEqual({ a: 'done' });
});

test('without memory a turn with results is refused as a whole, others recover its tasks, and work continues afterwards', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 2 });
  const before = await redis.hgetall(keys.inflight(worker.id));
  await redis.config('SET', 'maxmemory', '1mb');

  const settle = worker.next({ settled: { results: tasks.map((task) => done(task)) } });
  await expect(worker.send(settle)).rejects.toThrow('OOM');
  await expect(register(redis, keys, 'another', 1_000, {})).rejects.toThrow('OOM');
  expect(await redis.hgetall(keys.inflight(worker.id))).toEqual(before);
  expect(await redis.exists(keys.result)).toBe(0);
  expect(await redis.exists(keys.worker('another'))).toBe(0);
  // what a worker holds that died meanwhile goes back: it needs no memory to speak of
  expect(await reap(redis, keys, worker.id, worker.epoch, 'lost')).toBe(2);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['b', 'a']);

  await redis.config('SET', 'maxmemory', '0');
  expect(await worker.send(settle)).toEqual({ kind: 'fenced' });
  const another = await startHandWorker(redis, keys, { id: 'another' });
  for (const suspect of ['a', 'b']) {
    const [again] = (await another.turn({ want: 2 })).tasks as [Delivery];
    expect(again.raw.toString()).toBe(suspect);
    expect(again.past).toEqual({ attempts: 0, deliveries: 1, lastWorker: worker.id, company: 2 });
    await another.turn({ settled: { results: [done(again)] } });
  }
  expect(await redis.hgetall(keys.result)).toEqual({ a: 'done', b: 'done' });
});

test('without memory, taking and handing back continue, because they need none', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b');
  const worker = await startHandWorker(redis, keys);
  await redis.config('SET', 'maxmemory', '1mb');
  expect(texts((await worker.turn({ want: 1 })).tasks)).toEqual(['a']);
  expect(await redis.hvals(keys.inflight(worker.id))).toEqual(['a']);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['b']);
});
