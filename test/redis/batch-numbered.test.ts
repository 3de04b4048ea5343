/** Parts that are called by their numbers, `BATCH:0`, `BATCH:1`, …: whatever the order in which they end, each counts once. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { partMarkOf } from '../../queue/batch-mark.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { settledOf } from '../../queue/outcomes/settled.ts';
import type { Finished } from '../../queue/outcomes/outcome.ts';
import { parseTask } from '../../queue/task.ts';
import { tendBatches } from '../../queue/workers/sweep.ts';
import type { Delivery } from '../../queue/workers/turn.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, startHandWorker, type HandWorker } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const open = (keys: QueueKeys): Queue =>
  openQueue({ redis: server.url, queue: keys.queue, result: keys.result });

function ended(delivery: Delivery, outcome: Finished['outcome']): Finished {
  const { id, value } = parseTask(delivery.raw);
  const batch = partMarkOf(value, id, delivery);
  return { delivery, id, attempt: 1, serviceMs: 1, outcome, ...(batch && { batch }) };
}

const done = (delivery: Delivery): Finished => ended(delivery, { kind: 'result', value: 'done' });

async function settle(worker: HandWorker, entries: readonly Finished[]): Promise<void> {
  await worker.turn({ settled: settledOf(entries, worker.id) });
}

async function takeAll(worker: HandWorker): Promise<Delivery[]> {
  const all: Delivery[] = [];
  for (;;) {
    const reply = await worker.turn({ want: 1_000 });
    if (reply.kind !== 'held' || reply.tasks.length === 0) return all;
    all.push(...reply.tasks);
  }
}

/** Parts of three blocks, some of which are called otherwise, and some in a chunk with such ones. */
const mixed = Array.from({ length: 2_300 }, (_, n) => ({
  n,
  ...(n >= 1_500 && n % 97 === 0 && { id: n === 1_552 ? 'b:99999999' : `own-${n}` }),
}));

test('parts end in any order, and what is left is what has not ended', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.infiniteStream(fc.nat()),
      fc.integer({ min: 100, max: 700 }),
      async (random, most) => {
        const keys = freshKeys();
        await using queue = open(keys);
        await queue.batch(mixed, { id: 'b', then: { follows: true } });
        const worker = await startHandWorker(redis, keys);
        const order = new Map((await takeAll(worker)).map((delivery) => [delivery, random.next().value]));
        const held = [...order.keys()].toSorted(
          (one, other) => (order.get(one) ?? 0) - (order.get(other) ?? 0),
        );
        expect(held).toHaveLength(mixed.length);
        for (let from = 0; from < held.length; from += most) {
          // an earlier version counts the ids in this set alone: it must not find that nothing is left
          expect(await redis.scard(keys.batchLeft('b'))).toBeGreaterThan(0);
          expect(await queue.batch.show('b')).toMatchObject({ left: held.length - from, state: 'running' });
          await settle(worker, held.slice(from, from + most).map(done));
        }
        expect(await queue.batch.show('b')).toMatchObject({
          state: 'ended',
          succeeded: held.length,
          left: 0,
        });
        const [then, ...more] = await redis.lrange(keys.queue, 0, -1);
        expect(more).toEqual([]);
        expect(JSON.parse(then ?? '')).toMatchObject({ id: 'b:then', parts: { size: held.length } });
        expect(await redis.exists(keys.batchLeft('b'), keys.batchNumbered('b'))).toBe(0);
      },
    ),
    { numRuns: 5 },
  );
});

test('a part that is run twice counts once, in one turn or in two', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch([{}, {}, {}, {}], { id: 'b', onFailure: 'continue' });
  await redis.rpush(keys.queue, ...(await redis.lrange(keys.queue, 1, 2)));
  const worker = await startHandWorker(redis, keys);
  const all = await takeAll(worker);
  const of = (id: string): Delivery[] => all.filter(({ raw }) => parseTask(raw).id === id);
  const [first, again, other, otherAgain] = [...of('b:1'), ...of('b:2')] as [
    Delivery,
    Delivery,
    Delivery,
    Delivery,
  ];
  await settle(worker, [other, first, again].map(done));
  expect(await queue.batch.show('b')).toMatchObject({ succeeded: 2, left: 2 });
  await settle(worker, [done(otherAgain), ended(of('b:3')[0] as Delivery, { kind: 'dead', error: 'no' })]);
  expect(await queue.batch.show('b')).toMatchObject({ succeeded: 2, failed: 1, left: 1 });
  await settle(worker, of('b:0').map(done));
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: 3, failed: 1, left: 0 });
});

test('a dead letter that a batch waits for does not count once its part has succeeded', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch([{}, {}], { id: 'b' });
  const worker = await startHandWorker(redis, keys);
  const [one, other] = (await takeAll(worker)) as [Delivery, Delivery];
  await settle(worker, [ended(one, { kind: 'dead', error: 'no' })]);
  expect(await queue.batch.show('b')).toMatchObject({ waiting: 1, left: 2 });
  await redis.lpush(keys.queue, one.raw);
  await settle(worker, [...(await takeAll(worker)), other].map(done));
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: 2, failed: 0 });
});

test('parts of thousands that a plain worker ran are found and counted', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch(mixed, { id: 'b', then: { follows: true } });
  for (;;) {
    const raw = await redis.rpopBuffer(keys.queue);
    if (raw === null) break;
    await redis.hset(keys.result, parseTask(raw).id, 'plain');
  }
  for (let i = 0; i < 40 && (await queue.batch.show('b'))?.endedAt === undefined; i++)
    await tendBatches(redis, keys, 0);
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: mixed.length, left: 0 });
  expect(await redis.llen(keys.queue)).toBe(1);
});

test('a key of another type in the place of the numbers is named, and what was done is kept until it is gone', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch([{}, {}], { id: 'b' });
  const worker = await startHandWorker(redis, keys);
  const held = await takeAll(worker);
  await redis.rename(keys.batchNumbered('b'), 'aside');
  await redis.set(keys.batchNumbered('b'), 'mine');
  const request = worker.next({ settled: settledOf(held.map(done), worker.id) });
  await expect(worker.send(request)).rejects.toThrow(keys.batchNumbered('b'));
  expect(await redis.hlen(keys.result)).toBe(0);
  await redis.rename('aside', keys.batchNumbered('b'));
  await worker.send(request);
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: 2 });
});
