/**
 * What one script moves is bounded in bytes, because Redis does nothing else meanwhile: counted in the bytes and commands of
 * each turn, with tasks of ten bytes beside such of megabytes, and a crash between.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { deadHeader, moveDeadLetters } from '../../queue/dead-letter-format.ts';
import { setLimits } from '../../queue/limits/limits.ts';
import { defineScripts, script } from '../../queue/scripts/scripts.ts';
import { reap, rejoin } from '../../queue/workers/reap.ts';
import type { Delivery } from '../../queue/workers/turn.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts } from '../support/turns.ts';

/** What a turn takes at most, but for the task that reaches it. */
const ROOM = 4 << 20;
const PROMOTE_ROOM = 1 << 20;

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = defineScripts(server.client());
});
afterAll(() => server[Symbol.asyncDispose]());

const task = (name: string, bytes: number): string => `${name} ${'x'.repeat(bytes)}`;
const head = (tasks: readonly Delivery[]): string[] => texts(tasks).map((text) => text.split(' ')[0] ?? '');
const bytesOf = (tasks: readonly Delivery[]): number => tasks.reduce((sum, { raw }) => sum + raw.length, 0);
const results = (tasks: readonly Delivery[]) => ({
  results: tasks.map((delivery) => ({ ...done(delivery), id: head([delivery])[0] ?? '' })),
});

/** Calls of a command during some work, in scripts and outside. */
async function callsOf(command: string, work: () => Promise<unknown>): Promise<number> {
  const count = async (): Promise<number> =>
    Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(await redis.info('commandstats'))?.[1] ?? 0);
  const before = await count();
  await work();
  return (await count()) - before;
}

async function push(keys: QueueKeys, tasks: readonly string[]): Promise<void> {
  for (const one of tasks) await redis.lpush(keys.queue, one);
}

test.for<[string, number[]]>([
  ['of a megabyte', Array.from({ length: 20 }, () => 1e6)],
  ['of ten bytes beside 10 MB', Array.from({ length: 20 }, (_, i) => (i % 3 === 2 ? 10e6 : 10))],
  ['of ten bytes, and then large ones', [...Array.from({ length: 50 }, () => 10), 5e6, 5e6, 5e6]],
])('tasks %s: a turn ends with the one that fills it, and all come in their order', async ([, sizes]) => {
  const keys = freshKeys();
  const tasks = sizes.map((bytes, i) => task(`t${i}`, bytes));
  await push(keys, tasks);
  const worker = await startHandWorker(redis, keys);
  const order: string[] = [];
  const popped = await callsOf('rpop', async () => {
    while (order.length < tasks.length) {
      const { tasks: taken } = await worker.turn({ want: 1_000 });
      expect(taken.length).toBeGreaterThan(0);
      expect(bytesOf(taken.slice(0, -1))).toBeLessThan(ROOM);
      order.push(...head(taken));
    }
  });
  expect(order).toEqual(tasks.map((_, i) => `t${i}`));
  // each once, and for each turn a look at the wake list
  expect(popped).toBeLessThanOrEqual(2 * tasks.length + 2);
  expect(await redis.llen(keys.queue)).toBe(0);
});

test('small tasks are taken several at a time once nothing large was seen for a while', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys);
  for (let i = 0; i < 20; i++) await worker.turn();
  await push(
    keys,
    Array.from({ length: 400 }, (_, i) => `t${i}`),
  );
  let taken: readonly Delivery[] = [];
  const calls = await callsOf('rpop', async () => ({ tasks: taken } = await worker.turn({ want: 400 })));
  expect(texts(taken)).toEqual(Array.from({ length: 400 }, (_, i) => `t${i}`));
  expect(calls).toBeLessThan(50);
  // the first large one changes that, and what was popped with it beyond the bound is back in its place
  await push(
    keys,
    Array.from({ length: 8 }, (_, i) => task(`l${i}`, 3e6)),
  );
  const { tasks: first } = await worker.turn({ want: 400 });
  expect(head(first)).toEqual(['l0', 'l1']);
  const { tasks: second } = await worker.turn({ want: 400 });
  expect(head(second)).toEqual(['l2', 'l3']);
});

test('suspects before large tasks: each turn reads what it takes, and at most one more', async () => {
  const keys = freshKeys();
  const small = Array.from({ length: 10 }, (_, i) => task(`s${i}`, 10));
  await push(keys, small);
  const lost = await startHandWorker(redis, keys);
  await lost.turn({ want: 10 });
  await push(
    keys,
    Array.from({ length: 20 }, (_, i) => task(`l${i}`, 1e6)),
  );
  await reap(redis, keys, lost.id, lost.epoch, 'lost', 0);
  const worker = await startHandWorker(redis, keys);
  let held: readonly Delivery[] = [];
  let turns = 0;
  const moves = async (): Promise<void> => {
    for (let ended = 0; ended < 10; ended += held.length) {
      ({ tasks: held } = await worker.turn({ want: 1_000, settled: results(held) }));
      expect(head(held)).toEqual([`s${turns++}`]);
    }
  };
  let popped = 0;
  const pushed = await callsOf('rpush', async () => void (popped = await callsOf('rpop', moves)));
  expect([turns, pushed]).toEqual([10, 0]);
  // the wake list, the suspects aside, the queue
  expect(popped).toBeLessThanOrEqual(3 * turns);
  const { tasks: next } = await worker.turn({ want: 1_000, settled: results(held) });
  expect(bytesOf(next.slice(0, -1))).toBeLessThan(ROOM);
});

test('large delayed tasks that fall due together go back to the queue over several turns', async () => {
  const keys = freshKeys();
  for (let i = 0; i < 20; i++) await redis.zadd(keys.delayed, i + 1, `${i}|1|0|${task(`t${i}`, 3e5)}`);
  const worker = await startHandWorker(redis, keys);
  let before = 0;
  for (let turns = 1; (await redis.zcard(keys.delayed)) > 0; turns++) {
    expect(await worker.turn()).toMatchObject({ dueInMs: before + 4 < 20 ? 0 : undefined });
    const back = await redis.llen(keys.queue);
    expect(back - before).toBeGreaterThan(0);
    expect((back - before - 1) * 3e5).toBeLessThan(PROMOTE_ROOM);
    before = back;
  }
  const order = (await redis.lrange(keys.queue, 0, -1)).map((text) => text.split(' ')[0]);
  expect(order.toReversed()).toEqual(Array.from({ length: 20 }, (_, i) => `t${i}`));
});

test('a lost worker that held much is emptied in pieces, and fenced with the first', async () => {
  const keys = freshKeys();
  const tasks = Array.from({ length: 12 }, (_, i) => task(`t${i}`, 1e6));
  await push(keys, tasks);
  const worker = await startHandWorker(redis, keys);
  for (let held = 0; held < 12;) held += (await worker.turn({ want: 12 })).tasks.length;
  await redis.lpush(keys.wake(worker.id), 'woken');
  let back: number | undefined;
  const calls = await callsOf(
    'evalsha',
    async () => (back = await reap(redis, keys, worker.id, worker.epoch, 'lost')),
  );
  expect(back).toBe(13);
  expect(calls).toBeGreaterThanOrEqual(3);
  expect(await worker.send(worker.next())).toEqual({ kind: 'fenced' });
  const order = (await redis.lrange(keys.queue, 0, -1)).map((text) => text.split(' ')[0]);
  expect(order).toEqual(['woken', ...Array.from({ length: 12 }, (_, i) => `t${11 - i}`)]);
  // its grave waits for what may still be on its way, as any other
  expect(await redis.hgetall(keys.worker(worker.id))).toMatchObject({ epoch: '0', ended: 'lost' });
  expect(await redis.exists(keys.inflight(worker.id), keys.carried(worker.id))).toBe(0);
  expect(await reap(redis, keys, worker.id, 0, 'leave')).toBe(0);
  expect(await redis.exists(keys.worker(worker.id))).toBe(0);
  const next = await startHandWorker(redis, keys);
  const { tasks: again } = await next.turn({ want: 1 });
  expect(again[0]?.past).toMatchObject({ deliveries: 1, company: 12, lastWorker: worker.id });
});

test('suspects without a worker left to take them come back in steps', async () => {
  const keys = freshKeys();
  for (let i = 0; i < 12; i++) await redis.lpush(keys.suspects, `0:1:gone|${task(`t${i}`, 1e6)}`);
  let back = 0;
  const calls = await callsOf('evalsha', async () => (back = await rejoin(redis, keys)));
  expect(back).toBe(12);
  expect(calls).toBeGreaterThanOrEqual(3);
  const order = (await redis.lrange(keys.queue, 0, -1)).map((text) => text.split(' ')[0]);
  expect(order).toEqual(Array.from({ length: 12 }, (_, i) => `t${11 - i}`));
});

test('limits that are removed: what they held goes back some megabytes at a time, in its order', async () => {
  const keys = freshKeys();
  await setLimits(redis, keys, { perKey: { field: 'c', concurrency: 1 } }, 'test');
  const tasks = Array.from({ length: 20 }, (_, n) => JSON.stringify({ c: 'a', n, x: 'x'.repeat(9e5) }));
  await push(keys, tasks);
  const worker = await startHandWorker(redis, keys);
  for (let held = 0; held < 19; held = Number(await redis.zscore(keys.held, 'a')))
    await worker.turn({ want: 20 });
  await redis.hset(keys.limits, 'removed', '1');
  const { queue, limits, history, pasts } = keys;
  const base = limits.slice(0, -'limits'.length);
  const back: number[] = [];
  while (back.at(-1) !== 0)
    back.push(Number(await script(redis, 'limit-return')(queue, limits, history, pasts, base, '1000')));
  expect(Math.max(...back)).toBeLessThanOrEqual(8);
  expect((await redis.lrange(queue, 0, -1)).toReversed()).toEqual(tasks.slice(1));
});

test.each(['delayed', 'held by a worker'])(
  'a task is looked for among large ones that are %s',
  async (where) => {
    const keys = freshKeys();
    const worker = await startHandWorker(redis, keys);
    const large = Array.from({ length: 60 }, (_, n) => task(`t${n}`, 2e6));
    if (where === 'delayed') for (const one of large) await redis.zadd(keys.delayed, 1e15, `a|0|0|${one}`);
    else {
      for (const one of large)
        await redis.hset(keys.inflight(worker.id), `1-${one.length}${one.slice(0, 4)}`, one);
      await redis.hset(keys.load, worker.id, large.length);
    }
    await redis.script('FLUSH');
    const heap = async (): Promise<number> =>
      Number(/used_memory_lua:(\d+)/.exec(await redis.info('memory'))?.[1] ?? 0);
    const before = await heap();
    await script(redis, 'find')(keys.queue, keys.delayed, keys.load, 'x', keys.inflight(''), 2_000, 4 << 20);
    // what was read is still there: sixteen of them, of which the first three were more than was to be looked at
    expect(await heap()).toBeLessThan(before + 17 * 2e6);
    await redis.del(keys.delayed, keys.inflight(worker.id));
  },
);

const letter = (n: number): string =>
  `1 ${deadHeader({ error: 'no', attempts: 1, worker: 'w', id: `t${n}` })}\n${task(`t${n}`, 1e6)}`;

test('dead letters that expire together are swept some megabytes at a time', async () => {
  const keys = freshKeys();
  for (let n = 0; n < 20; n++) await redis.lpush(keys.dead, letter(n));
  await redis.zadd(keys.expiry, 1, 'd5');
  const { result, dead, errors, cancelled, expiry, queue } = keys;
  const left: number[] = [];
  for (let more: unknown = 1; more === 1; left.push(await redis.llen(dead)))
    more = await script(redis, 'sweep')(result, dead, errors, cancelled, expiry, 1_000, queue);
  expect(left.slice(0, 2)).toEqual([15, 10]);
  expect(left.at(-1)).toBe(0);
  expect(await redis.exists(expiry)).toBe(0);
});

test('dead letters are requeued together some megabytes at a time', async () => {
  const keys = freshKeys();
  for (let n = 0; n < 20; n++) await redis.lpush(keys.dead, letter(n));
  const { queue, dead, errors, cancelled } = keys;
  const move = script(redis, 'move');
  const [moved] = (await move(
    queue,
    dead,
    errors,
    cancelled,
    keys.answers('c'),
    'requeue',
    100,
    0,
    '1',
  )) as number[];
  expect(moved).toBe(5);
  expect(await moveDeadLetters(redis, keys, 'requeue', 'all')).toBe(15);
  expect(await redis.llen(queue)).toBe(20);
});

test('a lowered limit of dead letters: a turn drops some megabytes of them, and one for each that it adds', async () => {
  const keys = freshKeys();
  for (let n = 0; n < 20; n++) await redis.lpush(keys.dead, letter(n));
  const worker = await startHandWorker(redis, keys);
  await redis.hset(keys.worker(worker.id), 'deadMax', 3);
  await push(keys, ['a', 'b', 'c', 'd']);
  const { tasks } = await worker.turn({ want: 4 });
  const dead = tasks.map(({ receipt }) => ({ receipt, id: receipt, header: '{}' }));
  await worker.turn({ settled: { dead: dead.slice(0, 2) } });
  // five that fill the room, and one for the second
  expect(await redis.llen(keys.dead)).toBe(22 - 6);
  await worker.turn({ settled: { dead: dead.slice(2) } });
  expect(await redis.llen(keys.dead)).toBe(18 - 6);
});
