/**
 * What something else wrote into the keys beside a queue, in place of what belongs there: a turn either does nothing and names
 * the key, or ignores the value. No task is lost by it, none stands still because of it, and a lost worker's tasks come back.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { cancelTask } from '../../queue/cancel.ts';
import { readProgress } from '../../queue/progress.ts';
import { noCounters, sampleQueue } from '../../queue/pool/sample.ts';
import { findOverdue, reap, rejoin } from '../../queue/workers/reap.ts';
import { sweep } from '../../queue/workers/sweep.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts, type HandWorker, type Held } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(async () => server[Symbol.asyncDispose]());

const FOREIGN = ['', 'x', ':', '1:x', '-1:-1', '1e999:1', 'nan:nan', '\0'];

/** Takes and settles until the queue is empty. Returns what was taken. */
async function takeAll(worker: HandWorker, held: Held): Promise<string[]> {
  const taken = texts(held.tasks);
  for (let { tasks } = held; tasks.length > 0;) {
    const settled = { results: tasks.map((task) => done(task)) };
    ({ tasks } = await worker.turn({ want: 10, settled }));
    taken.push(...texts(tasks));
  }
  return taken.toSorted();
}

/** All tasks end, and each is taken once. */
async function expectAllTaken(keys: QueueKeys, tasks: readonly string[]): Promise<void> {
  const worker = await startHandWorker(redis, keys);
  expect(await takeAll(worker, await worker.turn({ want: 10 }))).toEqual(tasks.toSorted());
  expect(Object.keys(await redis.hgetall(keys.result)).toSorted()).toEqual(tasks.toSorted());
  expect(await redis.hlen(keys.inflight(worker.id))).toBe(0);
}

test.each(FOREIGN)('a past %j counts as none', async (past) => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c', 'd');
  await redis.hset(keys.history, '=a', past, '=b', `1:0,${past}`);
  await redis.hset(keys.pasts, '=c', `0:1:${past}`, '=d', `1:1:${past}`);
  await expectAllTaken(keys, ['a', 'b', 'c', 'd']);
});

test('the name of a lost worker in a past may be no percent-encoded text', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  await redis.hset(keys.history, '=a', '2:1:%:7');
  const { tasks } = await (await startHandWorker(redis, keys)).turn({ want: 1 });
  expect(tasks[0]?.past).toEqual({ attempts: 2, deliveries: 1, lastWorker: '%', company: 7 });
});

test.each(FOREIGN)('%j among the suspects set aside is a task as it is', async (entry) => {
  const keys = freshKeys();
  await redis.lpush(keys.suspects, entry, `${entry}|b`);
  await redis.lpush(keys.queue, 'a');
  await expectAllTaken(keys, ['a', entry, `${entry}|b`]);
});

test('and goes back to the queue where no worker is left', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.suspects, ...FOREIGN, '0:1|a');
  expect(await rejoin(redis, keys)).toBe(FOREIGN.length + 1);
  expect((await redis.lrange(keys.queue, 0, -1)).toSorted()).toEqual([...FOREIGN, 'a'].toSorted());
  expect(await redis.hgetall(keys.history)).toEqual({ '=a': '0:1' });
});

const FOREIGN_COUNTERS = [
  '',
  'x',
  'nan',
  '-nan',
  'inf',
  '1e999',
  '1000000000000000000',
  '9223372036854775807',
];
test.each([...FOREIGN_COUNTERS, '-5'])('a counter %j begins anew', async (value) => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c');
  const counters = [
    'taken',
    'completed',
    'retried',
    'failed',
    'serviceUs',
    'recovered',
    'fenced',
    'asideAlone',
  ];
  await redis.hset(keys.stats, Object.fromEntries(counters.map((field) => [field, value])));
  const worker = await startHandWorker(redis, keys);
  const [a, b, c] = (await worker.turn({ want: 3 })).tasks;
  if (!a || !b || !c) throw new Error('three tasks were pushed');
  const retries = [{ receipt: b.receipt, delayMs: 0, past: { attempts: 1, deliveries: 0 } }];
  const dead = [{ receipt: c.receipt, id: 'c', header: '{}' }];
  const held = await worker.turn({ want: 1, settled: { results: [done(a)], retries, dead, serviceUs: 1 } });
  expect(texts(held.tasks)).toEqual(['b']);
  expect(await reap(redis, keys, worker.id, 'any', 'lost')).toBe(1);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['b']);
  const [completed, ...others] = await redis.hmget(keys.stats, 'completed', 'retried', 'failed', 'fenced');
  expect(Number(completed)).toBeGreaterThan(0);
  for (const other of others) expect(Number.isSafeInteger(Number(other))).toBe(true);
});

test.each(FOREIGN_COUNTERS)('a sample counts %j as none, so that a pool at zero can start', async (value) => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  const names = ['taken', 'completed', 'serviceUs', 'squaredTasks', 'squaresS2', 'expired', 'slow1'];
  await redis.hset(keys.stats, { ...Object.fromEntries(names.map((name) => [name, value])), failed: 3 });
  const { waiting, counters, slow } = await sampleQueue(redis, keys);
  expect({ waiting, counters }).toEqual({ waiting: 1, counters: { ...noCounters, failed: 3 } });
  expect(slow[0]).toBe(0);
});

const WRITERS = {
  text: async (key: string) => redis.set(key, 'x'),
  list: async (key: string) => redis.lpush(key, 'x'),
  hash: async (key: string) => redis.hset(key, 'x', 'y'),
} as const;

test.each(
  (
    [
      ['history', 'list'],
      ['pasts', 'text'],
      ['suspects', 'hash'],
      ['isolator', 'hash'],
      ['emptying', 'text'],
      ['apart', 'list'],
      ['carried', 'list'],
      ['cancelled', 'hash'],
      ['delayed', 'text'],
      ['wake', 'text'],
      ['clock', 'text'],
      ['workers', 'text'],
    ] as const
  ).map((one) => ({ name: one[0], type: one[1] })),
)(
  '$name as a $type: nothing is taken, the key is named, and all goes on when it is right',
  async ({ name, type }) => {
    const keys = freshKeys();
    const worker = await startHandWorker(redis, keys);
    const [first] = (await redis.lpush(keys.queue, 'a'), await worker.turn({ want: 1 })).tasks;
    if (!first) throw new Error('a task was pushed');
    await redis.lpush(keys.queue, 'b');
    await redis.hset(keys.history, '=b', '0:1');
    const named = keys[name];
    const key = typeof named === 'function' ? named(worker.id) : named;
    await redis.rename(key, 'kept').catch(() => undefined);
    await WRITERS[type](key);
    // it is time to renew the lease
    await redis.hset(keys.worker(worker.id), 'renewed', 1);

    const request = worker.next({ want: 5, settled: { results: [done(first)] } });
    const why = await worker.send(request).then(
      (reply) => (reply.kind === 'held' ? String(reply.length) : reply.kind),
      (error: unknown) => String(error),
    );
    expect(why).toContain(`WRONGTYPE`);
    expect(why).toContain(`(the key is "${key}")`);
    expect(await redis.llen(keys.queue)).toBe(1);

    await redis.del(key);
    await redis.rename('kept', key).catch(() => undefined);
    // the refused turn again, or the next one
    const held = await worker.send(
      (await redis.hexists(keys.result, 'a')) ? worker.next({ want: 5 }) : request,
    );
    if (held.kind === 'fenced') throw new Error('it is fenced');
    expect(await redis.hget(keys.result, 'a')).toBe('done');
    expect(await takeAll(worker, held)).toEqual(['b']);
  },
);

test('a lost worker is reaped whatever stands in its keys and beside them', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 3 });
  const pasts = ['x', '1:%', '-1:-1'];
  await redis.hset(keys.carried(worker.id), ...tasks.flatMap(({ receipt }, i) => [receipt, pasts[i] ?? '']));
  await redis.del(keys.load);
  for (const key of [keys.load, keys.emptying, keys.apart, keys.wake(worker.id)]) await redis.set(key, 'x');
  await redis.hset(keys.isolator, 'x', 'y');
  expect(await reap(redis, keys, worker.id, 'any', 'lost', 0)).toBe(3);
  expect((await redis.lrange(keys.queue, 0, -1)).toReversed()).toEqual(['a', 'b', 'c']);
  expect(await redis.exists(keys.worker(worker.id), keys.workers)).toBe(0);
});

test('tasks in flight that something else overwrote do not keep a worker’s name taken', async () => {
  const keys = freshKeys();
  const { id } = await startHandWorker(redis, keys);
  await redis.set(keys.inflight(id), 'x');
  expect(await reap(redis, keys, id, 'any', 'lost', 0)).toBe(0);
  expect((await startHandWorker(redis, keys, { id })).id).toBe(id);
});

test.each([['turn'], ['seq']])('a worker whose %s is no number is fenced, and begins anew', async (field) => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  const worker = await startHandWorker(redis, keys);
  await worker.turn({ want: 1 });
  await redis.hset(keys.worker(worker.id), field, 'x');
  expect(await worker.send(worker.next())).toEqual({ kind: 'fenced' });
  await reap(redis, keys, worker.id, worker.epoch, 'displaced', 0);
  expect(
    texts((await (await startHandWorker(redis, keys, { id: worker.id })).turn({ want: 1 })).tasks),
  ).toEqual(['a']);
});

test.each([
  ['lost', undefined],
  ['no number', { at: 'nan', ms: 'nan', lease: '-1' }],
  ['beyond all numbers', { at: 'inf', ms: '1e308', lease: '0' }],
])('a clock that is %s: the leases of before end all the same', async (_what, clock) => {
  const keys = freshKeys();
  const dead = await startHandWorker(redis, keys, { id: 'dead', leaseMs: 1 });
  await redis.del(keys.clock);
  if (clock) await redis.hset(keys.clock, clock);
  const alive = await startHandWorker(redis, keys, { id: 'alive' });
  await alive.turn();
  await eventually(async () => expect(await findOverdue(redis, keys)).toEqual([dead.id]));
});

test('a result that no entry of the expiry set means, and an entry that means none', async () => {
  const keys = freshKeys();
  await redis.zadd(keys.expiry, 1, 'x', 1, '', 1, 'r', 1, 'd', 1, '|');
  await sweep(redis, keys);
  expect(await redis.exists(keys.expiry)).toBe(0);
});

test.each([
  'workers',
  'load',
  'delayed',
  'dead',
  'stats',
  'expiry',
  'suspects',
  'leaving',
  'apart',
  'clock',
] as const)('a sample names the key of another type: %s', async (name) => {
  const keys = freshKeys();
  await redis.zadd(keys.workers, 1, 'w');
  await redis.hset(keys.apart, 'w', 1);
  await redis.set(keys[name], 'x');
  await expect(sampleQueue(redis, keys)).rejects.toThrow(
    `the key "${keys[name]}" is not of the type that Millrace gives it (it is a string): nothing was touched`,
  );
});

test.each(['x', 'nan', '9223372036854775807'])(
  'a task is cancelled where the number of marks is %j',
  async (marks) => {
    const keys = freshKeys();
    await redis.hset(keys.stats, 'marks', marks);
    const worker = await startHandWorker(redis, keys);
    await redis.zadd(keys.cancelled, '+inf', 'of before');
    const before = await worker.turn();
    expect(await cancelTask(redis, keys, 'a')).toBe('marked');
    const { marks: after } = await worker.turn();
    expect(Number.isSafeInteger(after)).toBe(true);
    expect(after).not.toBe(before.marks);
  },
);

test('a report of progress that is no JSON is none', async () => {
  const keys = freshKeys();
  const { id } = await startHandWorker(redis, keys);
  await redis.hset(keys.progress(id), 'a', '{"half":', 'b', '{"whole":1}');
  expect(await readProgress(redis, keys, 'a')).toBeUndefined();
  expect(await readProgress(redis, keys, 'b')).toEqual({ whole: 1 });
});
