/** Batches: counted in the step that settles a part, and followed by one task. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { nested } from '../../queue/queue.ts';
import { tendBatches } from '../../queue/workers/sweep.ts';
import { numbers, openAt, sums, waiting, type Followed } from '../support/batches.ts';
import { eventually } from '../support/eventually.ts';
import { startOldWorker, workAsOld } from '../support/old-worker.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, startHandWorker } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

test('when all parts have ended, the task that follows is pushed once and finds their results', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, { handler: sums(redis, keys), concurrency: 4 });
  await using _other = startWorker(server, keys, { handler: sums(redis, keys), concurrency: 4 });
  const batch = await queue.batch(numbers(2_500), { id: 'b', then: { kind: 'sum' } });
  expect(batch).toEqual({ id: 'b', size: 2_500, then: 'b:then' });
  const result = await queue.result('b:then', { as: 'json' });
  expect(result).toEqual({
    batch: 'b',
    size: 2_500,
    succeeded: 2_500,
    failed: 0,
    cancelled: 0,
    results: keys.result,
    ids: 2_500,
    sum: 2_499 * 2_500,
  });
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', left: 0, succeeded: 2_500 });
  const values: (string | undefined)[] = [];
  for await (const { id, value } of queue.batch.results('b')) {
    expect(id).toBe(`b:${values.length}`);
    values.push(value);
  }
  expect(values).toEqual(numbers(2_500).map(({ n }) => String(2 * n)));
  expect(await redis.keys(`${keys.batch('')}*`)).toEqual([keys.batch('b')]);
  expect(await redis.exists(keys.batchLeft('b'))).toBe(0);
});

test('a key of a batch that something else has written is named', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const results = async (id: string): Promise<void> => {
    for await (const _ of queue.batch.results(id)) break;
  };
  for (const [id, key, type] of [
    ['hash', keys.batch('hash'), 'a hash'],
    ['set', keys.batchFailed('set'), 'a set'],
    ['inner', keys.batchInner('inner'), 'a set'],
  ] as const) {
    await queue.batch([{ n: 1 }], { id });
    await redis.del(key);
    await redis.set(key, 'a string');
    await expect(queue.batch.show(id)).rejects.toMatchObject({
      name: 'WrongKeyType',
      note: `the key "${key}" is not ${type} (it is a string)`,
    });
  }
  await expect(queue.batch.cancel('hash')).rejects.toThrow(`the key "${keys.batch('hash')}" is not a hash`);
  await queue.batch([{ n: 1 }], { id: 'list' });
  await redis.del(keys.batchIds('list'));
  await redis.set(keys.batchIds('list'), 'a string');
  await expect(results('list')).rejects.toThrow(`the key "${keys.batchIds('list')}" is not a list`);
});

test('plain clients push parts that name the size of their batch, and one of them the task that follows', async () => {
  const keys = freshKeys();
  const part = (n: number, more = {}): string =>
    JSON.stringify({ id: `p${n}`, n, batch: { id: 'plain', size: 3, ...more } });
  await redis.lpush(keys.queue, part(1, { then: { id: 'after', kind: 'sum' } }), part(2), part(3));
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, { handler: sums(redis, keys) });
  expect(await queue.result('after', { as: 'json' })).toMatchObject({
    batch: 'plain',
    size: 3,
    ids: 3,
    sum: 12,
  });
});

test('a part counts once, however often it is run', async () => {
  const keys = freshKeys();
  const part = (id: string): string => JSON.stringify({ id, batch: { id: 'twice', size: 2, then: 'after' } });
  await redis.lpush(keys.queue, part('a'), part('a'), part('a'));
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 10 });
  const mark = { id: 'twice', size: 2, then: { raw: 'after', id: 'after' } };
  const settleAll = async (held: typeof tasks, id: string): Promise<void> => {
    const results = held.map(({ receipt }) => ({ receipt, id, value: '1' }));
    const parts = [{ mark, results: held.map((_, i) => i), dead: [], cancelled: [], spawned: [] }];
    await worker.turn({ settled: { results, parts } });
  };
  await settleAll(tasks.slice(0, 2), 'a');
  await settleAll(tasks.slice(2), 'a');
  expect(await redis.llen(keys.queue)).toBe(0);
  await redis.lpush(keys.queue, part('b'));
  await settleAll((await worker.turn({ want: 1 })).tasks, 'b');
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['after']);
});

test('a turn whose reply is lost counts its parts once', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await queue.batch(numbers(2), { id: 'lost', then: { kind: 'sum' } });
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 2 });
  const results = tasks.map(({ receipt }, i) => ({ receipt, id: `lost:${i}`, value: 'x' }));
  const parts = [{ mark: { id: 'lost' }, results: [0, 1], dead: [], cancelled: [], spawned: [] }];
  const request = worker.next({ settled: { results, parts } });
  await worker.send(request);
  await worker.send(request);
  expect(await waiting(redis, keys)).toMatchObject([{ id: 'lost:then', parts: { succeeded: 2 } }]);
});

test('batches inside of batches: the task that follows one is a part of the other', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, { handler: sums(redis, keys), concurrency: 4 });
  const inner = (from: number) => nested(numbers(from), { then: { kind: 'sum' } });
  const { size } = await queue.batch([{ n: 1 }, inner(3), inner(1_200)], {
    id: 'outer',
    then: { kind: 'sum' },
  });
  expect(size).toBe(3);
  expect(await queue.result('outer:then', { as: 'json' })).toMatchObject({
    batch: 'outer',
    succeeded: 3,
    ids: 3,
  });
  expect(await queue.result('outer:2:then', { as: 'json' })).toMatchObject({
    batch: 'outer:2',
    sum: 1_199 * 1_200,
  });
});

test('parts that a plain worker ran are found and counted', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await queue.batch(numbers(3), { id: 'old', then: { kind: 'sum' } });
  for (let raw = await redis.rpop(keys.queue); raw !== null; raw = await redis.rpop(keys.queue))
    await redis.hset(keys.result, (JSON.parse(raw) as { id: string }).id, 'done');
  await tendBatches(redis, keys, 3_600_000);
  expect(await redis.llen(keys.queue)).toBe(0);
  await tendBatches(redis, keys, 0);
  expect(await waiting(redis, keys)).toMatchObject([{ id: 'old:then', parts: { succeeded: 3 } }]);
});

test('parts that workers of an earlier version ran are counted', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await queue.batch(numbers(4), { id: 'v', then: { kind: 'sum' }, onFailure: 'continue' });
  const stop = new AbortController();
  const old = await startOldWorker(redis, keys, 'old');
  const work = workAsOld(
    old,
    ({ raw }) => ((JSON.parse(raw.toString()) as Followed).n === 3 ? { dead: 'no' } : { result: '1' }),
    stop.signal,
  );
  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(3));
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(1));
  await tendBatches(redis, keys, 0);
  stop.abort();
  await work;
  expect(await queue.batch.show('v')).toMatchObject({ state: 'ended', succeeded: 3, failed: 1 });
});

test('parts named by number are counted without their client, too', async () => {
  const keys = freshKeys();
  const part = (n: number): string =>
    JSON.stringify({ id: `g:${n}`, n, batch: { id: 'g', size: 3, then: 'after' } });
  await redis.hset(keys.result, 'g:0', '1', 'g:2', '1');
  await redis.lpush(keys.queue, part(1));
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, { handler: () => 'done' });
  await queue.result('g:1');
  await tendBatches(redis, keys, 0);
  expect(await queue.result('after')).toBe('done');
});

test('of several parts with one id, one is added; numbers of any length survive', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const lines = [
    '{"id":12345678901234567890}',
    '{"id": 12345678901234567890, "x": 1}',
    ' { } ',
    '{"id":"same"}',
    '{"id":"same"}',
  ];
  expect(await queue.batch(lines, { id: 'd', then: 'after' })).toMatchObject({ size: 3, then: 'after' });
  expect((await redis.lrange(keys.queue, 0, -1)).toReversed()).toEqual([
    '{"id":12345678901234567890,"batch":{"id":"d"}}',
    ' { "id":"d:2","batch":{"id":"d"}}',
    '{"id":"same","batch":{"id":"d"}}',
  ]);
  await using _worker = startWorker(server, keys, { handler: () => 'done' });
  expect(await queue.result('after')).toBe('done');
});
