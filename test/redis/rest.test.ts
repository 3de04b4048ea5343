/** Workers of a queue in partitions that rest: what they send then, what wakes them, and what becomes of their deaths. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createQueueChanges, type QueueChanges } from '../../queue/changes.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { openQueue } from '../../queue/queue.ts';
import { drainWorkers } from '../../queue/workers/drain.ts';
import { findOverdue, reap, reapExpired } from '../../queue/workers/reap.ts';
import { rest, type Rested } from '../../queue/workers/rest.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { atRest as resting, leaseOf } from '../support/resting.ts';
import { freshKeys, startHandWorker, type HandWorker } from '../support/turns.ts';
import { resultsOf, startWorker, type TestWorker } from '../support/workers.ts';

/** What happens within a test happens because a worker was woken, not because its lease was to be renewed. */
const LONG_MS = 600_000;

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

interface Scene {
  readonly plain: QueueKeys;
  readonly lists: readonly QueueKeys[];
  readonly start: (options?: Partial<Parameters<typeof startWorker>[2]>) => TestWorker;
}

function sceneOf(count: number): Scene {
  const plain = freshKeys();
  return {
    plain,
    lists: partitionKeys(plain.queue, plain.result, count),
    start: (options = {}) =>
      startWorker(server, plain, {
        handler: () => 'ok',
        partitions: count,
        leaseMs: LONG_MS,
        restAfterMs: 10,
        ...options,
      }),
  };
}

/** Resolves when the worker rests in all lists. */
const atRest = (lists: readonly QueueKeys[], worker: string, leaseMs = LONG_MS): Promise<void> =>
  resting(() => redis, lists, worker, leaseMs);

test('without work it renews its leases and does nothing else: on 16 partitions less than 2 commands a second', async () => {
  await using own = await startRedis();
  const client = own.client();
  const plain = freshKeys();
  const lists = partitionKeys(plain.queue, plain.result, 16);
  await using worker = startWorker(own, plain, {
    handler: () => 'ok',
    partitions: 16,
    leaseMs: 2_000,
    restAfterMs: 500,
  });
  await resting(() => client, lists, worker.id, 2_000);
  const deadlines = (): Promise<number[]> =>
    Promise.all(lists.map(async ({ workers }) => Number(await client.zscore(workers, worker.id))));
  const stats = async (): Promise<Map<string, number>> => {
    const found = (await client.info('commandstats')).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm);
    return new Map(Array.from(found, ([, name = '', count]) => [name, Number(count)]));
  };
  // a busy machine may make a lease of two seconds end in between
  await eventually(async () => {
    const before = await stats();
    const first = await deadlines();
    // each lease is renewed once
    await eventually(async () =>
      expect((await deadlines()).every((deadline, i) => deadline > (first[i] ?? 0))).toBe(true),
    );
    const after = await stats();
    const made = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
    // no move is blocked; a turn would look into the wake list, which takes an RPOP
    expect(['blmove', 'rpop'].map(made)).toEqual([0, 0]);
    expect(made('evalsha')).toBeGreaterThanOrEqual(16);
  });
  // a lease of 15 s, as workers have it, is renewed every 12 s, and two connections are pinged as often
  expect((16 + 2) / (0.8 * 15)).toBeLessThan(2);
  await client.lpush(lists[7]?.queue ?? '', 'task');
  await resultsOf(client, lists[7]?.result ?? '', 1);
});

test('a task that is pushed to a list at rest runs, and all rest again', async () => {
  const { lists, start } = sceneOf(4);
  await using worker = start();
  await atRest(lists, worker.id);
  const [, second] = lists as [QueueKeys, QueueKeys];
  await redis.lpush(second.queue, 'task');
  await resultsOf(redis, second.result, 1);
  await atRest(lists, worker.id);
});

test('a delayed task that is added while all rest begins when it is due', async () => {
  const { plain, lists, start } = sceneOf(2);
  await using worker = start();
  await atRest(lists, worker.id);
  const { queue, result } = plain;
  await using client = openQueue({ redis: server.address, queue, result, partitions: 2 });
  const id = await client.enqueue({ id: 'later' }, { delayMs: 300 });
  expect(await client.result(id, { timeoutMs: 60_000 })).toBe('ok');
});

test('an order to drain reaches a worker at rest, and so does its end', async () => {
  const { lists, start } = sceneOf(2);
  await using worker = start();
  await atRest(lists, worker.id);
  const state = async (order: 'leave' | 'stay' | 'read'): Promise<string | undefined> =>
    (await drainWorkers(() => redis, lists, new Map([[worker.id, order]]))).get(worker.id)?.state;
  await state('leave');
  await eventually(async () => expect(await state('read')).toBe('drained'));
  await state('stay');
  await eventually(async () => expect(await state('read')).toBe('idle'));
  await atRest(lists, worker.id);
});

test('one that was removed, or whose server has lost all, registers again when something comes', async () => {
  const { lists, start } = sceneOf(2);
  await using worker = start();
  await atRest(lists, worker.id);
  const [first, second] = lists as [QueueKeys, QueueKeys];
  await reap(redis, first, worker.id, 'any', 'displaced');
  await redis.lpush(first.queue, 'one');
  await resultsOf(redis, first.result, 1);
  await atRest(lists, worker.id);
  await redis.del(second.workers, second.worker(worker.id), second.clock, second.load);
  await redis.lpush(second.queue, 'two');
  await resultsOf(redis, second.result, 1);
});

test('a dead worker at rest strands nothing: the next one runs what comes, and its epoch ends with its lease', async () => {
  const { lists, start } = sceneOf(2);
  for (const keys of lists) {
    const dead = await startHandWorker(redis, keys, { id: 'dead', leaseMs: 50 });
    await dead.turn({ leaseMs: 50 });
    expect(await restOf(keys, dead, { leaseMs: 200 })).toBeDefined();
  }
  await using worker = start({ leaseMs: 3_000 });
  await worker.ready();
  for (const [i, keys] of lists.entries()) {
    await redis.lpush(keys.queue, `task ${i}`);
    await resultsOf(redis, keys.result, 1);
  }
  // then a grave
  await eventually(async () => {
    for (const keys of lists) expect(await redis.hget(keys.worker('dead'), 'state')).toBe('lost');
  });
  await atRest(lists, worker.id, 3_000);
});

test('what was moved to a worker that died is run by one that rested', async () => {
  const { lists, start } = sceneOf(2);
  const [keys] = lists as [QueueKeys];
  await using worker = start({ leaseMs: 3_000 });
  await atRest(lists, worker.id, 3_000);
  // blocked, it dies as soon as the task was moved to it
  const dead = await startHandWorker(redis, keys, { id: 'dead', leaseMs: 500 });
  await dead.turn({ leaseMs: 500 });
  await redis.multi().lpush(keys.queue, 'task').lmove(keys.queue, keys.wake('dead'), 'RIGHT', 'LEFT').exec();
  expect(Object.keys(await resultsOf(redis, keys.result, 1))).toEqual(['task']);
});

/** Asks as a worker that rests would. */
function restOf(
  keys: QueueKeys,
  { id, epoch }: Pick<HandWorker, 'id' | 'epoch'>,
  { turn = 1, leaseMs = 60_000 } = {},
): Promise<Rested | undefined> {
  return rest(redis, keys, { worker: id, epoch, turn, leaseMs, pauseMs: leaseMs / 3 });
}

const refusals: readonly {
  readonly name: string;
  readonly begin: (keys: QueueKeys, worker: HandWorker) => Promise<unknown>;
}[] = [
  { name: 'a task waits', begin: ({ queue }) => redis.lpush(queue, 'task') },
  { name: 'suspects wait', begin: ({ suspects }) => redis.lpush(suspects, '0:1:x|task') },
  { name: 'another worker holds a task', begin: ({ load }) => redis.hset(load, 'other', 1) },
  { name: 'a task was moved to it', begin: (keys, { id }) => redis.lpush(keys.wake(id), 'task') },
  {
    name: 'a task was moved to another worker, which may be dead',
    begin: async (keys) => {
      await startHandWorker(redis, keys, { id: 'other', leaseMs: 30_000 });
      await redis.lpush(keys.wake('other'), 'task');
    },
  },
  {
    name: 'a lease has ended by the server’s clock',
    begin: async (keys) => {
      await startHandWorker(redis, keys, { id: 'other' });
      await redis.zadd(keys.workers, 2, 'other');
    },
  },
  {
    name: 'the server’s clock was set back',
    begin: (keys) => startHandWorker(redis, keys, { id: 'other', leaseMs: 3_600_000 }),
  },
  { name: 'a delayed task is due', begin: ({ delayed }) => redis.zadd(delayed, 1, 'x|0|0|task') },
  { name: 'the queue is paused', begin: ({ paused }) => redis.set(paused, 'for a test') },
  {
    name: 'it is to drain',
    begin: (keys, { id }) => drainWorkers(() => redis, [keys], new Map([[id, 'leave']])),
  },
  { name: 'it was removed', begin: (keys, { id }) => reap(redis, keys, id, 'any', 'displaced') },
  { name: 'it made another turn', begin: (_, worker) => worker.turn() },
  { name: 'a key has another type', begin: ({ load }) => redis.multi().del(load).set(load, 'x').exec() },
];

test.for(refusals)('no rest: $name', async ({ begin }) => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys, { leaseMs: 30_000 });
  await worker.turn({ leaseMs: 30_000 });
  await begin(keys, worker);
  const before = await redis.hgetall(keys.worker(worker.id));
  expect(await restOf(keys, worker)).toBeUndefined();
  expect(await redis.hgetall(keys.worker(worker.id))).toEqual(before);
  expect(await redis.hget(keys.clock, 'rest')).toBeNull();
});

test('the lease is long only while it rests: the next turn shortens it, however soon it is', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys, { leaseMs: 30_000 });
  await worker.turn({ leaseMs: 30_000 });
  await redis.zadd(keys.delayed, Date.now() + 3_600_000, 'x|0|0|later');
  const rested = await restOf(keys, worker);
  expect(rested?.expired).toBe(false);
  expect(rested?.dueInMs).toBeGreaterThan(3_000_000);
  expect(await leaseOf(redis, keys, worker.id)).toBe(60_000);
  await worker.turn({ leaseMs: 30_000 });
  expect(await leaseOf(redis, keys, worker.id)).toBeLessThanOrEqual(30_000);
});

test('the silence of those who rest is expected: not beyond its end, nor after anybody else was heard', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys, { leaseMs: 30_000 });
  await worker.turn({ leaseMs: 30_000 });
  await restOf(keys, worker);
  const silent = async (): Promise<boolean> => (await sampleQueue(redis, keys)).silent;
  const now = Date.now();
  const heard = now - 10_000;
  await redis.hset(keys.clock, 'at', heard, 'rest', `${heard}:${now + 60_000}`);
  expect(await silent()).toBe(false);
  await redis.hset(keys.clock, 'rest', `${heard}:${now - 1}`);
  expect(await silent()).toBe(true);
  await redis.hset(keys.clock, 'rest', `${heard - 1}:${now + 60_000}`);
  expect(await silent()).toBe(true);
  // as versions before would do
  await redis.hset(keys.clock, 'rest', `${heard}:${now + 60_000}`);
  await findOverdue(redis, keys);
  expect(await redis.hget(keys.clock, 'at')).not.toBe(String(heard));
  expect(await silent()).toBe(false);
});

test('what is reported of a queue: its tasks, delayed ones, what workers hold, drains; not that others rest', async () => {
  await using changes: QueueChanges = createQueueChanges({ address: server.address, pingEveryMs: 60_000 });
  const keys = freshKeys();
  const worker = await startHandWorker(redis, keys, { leaseMs: 30_000 });
  await worker.turn({ leaseMs: 30_000 });
  let reported = 0;
  const listen = async (): Promise<() => boolean> => {
    const listening = await changes.listen(keys, worker.id, () => reported++);
    return () => listening?.sound ?? false;
  };
  let sound = await listen();
  await restOf(keys, worker);
  await findOverdue(redis, keys);
  await reapExpired(redis, keys);
  expect([sound(), reported]).toEqual([true, 0]);
  const each = [
    () => redis.lpush(keys.queue, 'task'),
    () => redis.zadd(keys.delayed, 1, 'x|0|0|task'),
    () => redis.hset(keys.load, 'other', 0),
    () => drainWorkers(() => redis, [keys], new Map([[worker.id, 'leave' as const]])),
  ];
  for (const [i, change] of each.entries()) {
    await change();
    await eventually(() => expect([sound(), reported]).toEqual([false, i + 1]));
    sound = await listen();
  }
  await redis.flushall();
  await eventually(() => expect(reported).toBe(each.length + 1));
});
