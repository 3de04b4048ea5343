/** What waits in a stream where `lag` is nil or wrong, what was delivered, and whose consumers are in which pod. */
import type { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { createAsk } from '../../queue/sources/ask.ts';
import { adviseOnWorkers } from '../../queue/sources/checks/checks.ts';
import { readSource } from '../../queue/sources/read.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { estimateWaiting, hostsIn } from '../../queue/sources/stream.ts';
import { startRedis } from '../support/redis.ts';

const [KEY, GROUP] = ['orders', 'workers'];
const source = sourceOf({ stream: { keys: [KEY], group: GROUP } });

/** Ten entries, 1-0 to 10-0, of which the consumer `a` has the first three. */
async function tenEntries(redis: Redis): Promise<void> {
  await redis.xgroup('CREATE', KEY, GROUP, '0', 'MKSTREAM');
  for (let i = 1; i <= 10; i++) await redis.xadd(KEY, `${i}-0`, 'n', i);
  await read(redis, 'a', 3);
}

const read = (redis: Redis, consumer: string, most: number): Promise<unknown> =>
  redis.xreadgroup('GROUP', GROUP, consumer, 'COUNT', most, 'STREAMS', KEY, '>');

/** As if these were delivered more than five minutes ago. */
const age = (redis: Redis, ...ids: string[]): Promise<unknown> =>
  redis.xclaim(KEY, GROUP, 'a', 0, ...ids, 'IDLE', 400_000, 'JUSTID');

interface Counted {
  readonly waiting: number;
  readonly inFlight: number;
  readonly completed: number;
  readonly lag: unknown;
}

async function counted(redis: Redis): Promise<Counted> {
  const { sample } = await readSource(redis, source, 0);
  const [group = []] = (await redis.xinfo('GROUPS', KEY)) as unknown[][];
  const { waiting, inFlight, counters } = sample;
  return { waiting, inFlight, completed: counters.completed, lag: group[group.indexOf('lag') + 1] };
}

describe('what waits, runs and has finished', () => {
  test.for<[string, (redis: Redis) => Promise<unknown>, Counted]>([
    ['as it comes', async () => {}, { waiting: 7, inFlight: 3, completed: 0, lag: 7 }],
    [
      'after acknowledgements',
      (redis) => redis.xack(KEY, GROUP, '1-0', '2-0'),
      { waiting: 7, inFlight: 1, completed: 2, lag: 7 },
    ],
    [
      'after deletions of what waits, where lag is nil',
      (redis) => redis.xdel(KEY, '6-0', '8-0'),
      { waiting: 5, inFlight: 3, completed: 2, lag: null },
    ],
    [
      'when it is read past these',
      async (redis) => {
        await redis.xdel(KEY, '6-0', '8-0');
        await read(redis, 'b', 4);
      },
      { waiting: 1, inFlight: 7, completed: 2, lag: null },
    ],
    [
      'when it is read to the end',
      async (redis) => {
        await redis.xdel(KEY, '6-0', '8-0');
        await read(redis, 'b', 10);
      },
      { waiting: 0, inFlight: 8, completed: 2, lag: 0 },
    ],
    [
      'after a trim of what waits, where lag is wrong',
      (redis) => redis.xtrim(KEY, 'MAXLEN', 5),
      { waiting: 5, inFlight: 3, completed: 2, lag: 7 },
    ],
    [
      'of a group that was set to an id in the middle',
      (redis) => redis.xgroup('SETID', KEY, GROUP, '7-0'),
      { waiting: 3, inFlight: 3, completed: 4, lag: null },
    ],
    [
      'after a deletion of the last one, which waits',
      (redis) => redis.xdel(KEY, '10-0'),
      { waiting: 6, inFlight: 3, completed: 1, lag: null },
    ],
    [
      'after everything was trimmed, where lag is wrong',
      (redis) => redis.xtrim(KEY, 'MAXLEN', 0),
      { waiting: 0, inFlight: 3, completed: 7, lag: 7 },
    ],
    [
      'after a trim of pending entries, which readers may be running',
      (redis) => redis.xtrim(KEY, 'MAXLEN', 8),
      { waiting: 7, inFlight: 3, completed: 0, lag: 7 },
    ],
    [
      'after a trim of entries that are pending for long, which nobody can run any more',
      async (redis) => {
        await age(redis, '1-0', '2-0', '3-0');
        await redis.xtrim(KEY, 'MAXLEN', 8);
      },
      { waiting: 7, inFlight: 1, completed: 2, lag: 7 },
    ],
    [
      'after a deletion among those',
      async (redis) => {
        await age(redis, '1-0', '2-0', '3-0');
        await redis.xdel(KEY, '2-0');
      },
      { waiting: 7, inFlight: 2, completed: 1, lag: 7 },
    ],
    [
      'after all were deleted instead of being acknowledged',
      async (redis) => {
        await read(redis, 'a', 7);
        const ids = Array.from({ length: 10 }, (_, i) => `${i + 1}-0`);
        await age(redis, ...ids);
        await redis.xdel(KEY, ...ids);
      },
      { waiting: 0, inFlight: 0, completed: 10, lag: 0 },
    ],
  ])('%s', async ([, change, result]) => {
    await using server = await startRedis();
    const redis = server.client();
    await tenEntries(redis);
    await change(redis);
    expect(await counted(redis)).toEqual(result);
  });

  test('of thousands that were trimmed, only as many are pending as can be run, and they are named', async () => {
    await using server = await startRedis();
    const redis = server.client();
    await tenEntries(redis);
    const pipeline = redis.pipeline();
    for (let i = 11; i <= 4_000; i++) pipeline.xadd(KEY, `${i}-0`, 'n', i);
    await pipeline.exec();
    await read(redis, 'a', 3_500);
    await age(redis, ...Array.from({ length: 3_503 }, (_, i) => `${i + 1}-0`));
    await redis.xtrim(KEY, 'MAXLEN', 500);
    expect(await counted(redis)).toMatchObject({ waiting: 497, inFlight: 3 });
    const settings = { stream: { keys: [KEY], group: GROUP } };
    const notes = (await adviseOnWorkers(settings, createAsk(redis), redis)).map(({ note }) => note);
    expect(notes).toContainEqual(
      expect.stringMatching(/^100 or more entries of "orders" are pending and no longer in the stream/),
    );
  });

  test('beyond 1,000 entries that must be counted, it is estimated by their density', async () => {
    await using server = await startRedis();
    const redis = server.client();
    await tenEntries(redis);
    const pipeline = redis.pipeline();
    for (let i = 11; i <= 4_000; i++) pipeline.xadd(KEY, `${i}-0`, 'n', i);
    await pipeline.exec();
    await redis.xdel(KEY, '8-0');
    const { waiting, lag } = await counted(redis);
    expect(lag).toBeNull();
    expect(waiting).toBeGreaterThan(3_980);
    expect(waiting).toBeLessThanOrEqual(3_999);
  });

  test('large entries are counted within the same bounds', async () => {
    await using server = await startRedis();
    const redis = server.client();
    await tenEntries(redis);
    const pipeline = redis.pipeline();
    for (let i = 11; i <= 60; i++) pipeline.xadd(KEY, `${i}-0`, 'n', 'x'.repeat(100_000));
    await pipeline.exec();
    await redis.xdel(KEY, '8-0');
    await redis.config('RESETSTAT');
    expect((await counted(redis)).waiting).toBeGreaterThanOrEqual(48);
    const [, ranges] = /cmdstat_xrange:calls=(\d+)/.exec(await redis.info('commandstats')) ?? [];
    expect(Number(ranges)).toBeLessThanOrEqual(4);
  });

  test('an estimate stays between what was counted and what the stream holds', () => {
    const ids = ['1000-0', '1001-0', '1002-0', '1003-0'];
    expect(estimateWaiting(ids, '1009-0', 100)).toBe(12);
    expect(estimateWaiting(ids, '1009-0', 9)).toBe(8);
    expect(estimateWaiting(ids, '1003-5', 100)).toBe(4);
    expect(estimateWaiting(['5-1', '5-2'], '5-9', 100)).toBe(99);
  });
});

test.each([
  ['mail-7d9f-abcde', 'mail-7d9f-abcde'],
  ['mail-7d9f-abcde-17', 'mail-7d9f-abcde'],
  ['mail-7d9f-abcde:17', 'mail-7d9f-abcde'],
  ['worker@mail-7d9f-abcde', 'mail-7d9f-abcde'],
  ['mail-0-4f6a1c1e-0d3b-4a6e-9f0e-2f1f3f0c8f11', 'mail-0'],
])('the consumer %s runs in %s', (name, host) => {
  expect(hostsIn(name)).toContain(host);
});

describe('who holds entries', () => {
  const workersOf = async (redis: Redis): Promise<unknown> => {
    if (source.holding.by !== 'worker') throw new Error('not by worker');
    const { workers, unnamed } = await source.holding.readWorkers(createAsk(redis), redis);
    return { workers: workers.map(({ id, tasks }) => ({ id, tasks })), unnamed };
  };

  test('each consumer with its pending entries', async () => {
    await using server = await startRedis();
    const redis = server.client();
    await tenEntries(redis);
    await read(redis, 'b', 1);
    await redis.xack(KEY, GROUP, '4-0');
    expect(await workersOf(redis)).toEqual({
      workers: [
        { id: 'a', tasks: 3 },
        { id: 'b', tasks: 0 },
      ],
      unnamed: 0,
    });
  });

  test('entries that another consumer claims are its own, and those of one that is deleted are nobody’s', async () => {
    await using server = await startRedis();
    const redis = server.client();
    await tenEntries(redis);
    await redis.xautoclaim(KEY, GROUP, 'b', 0, '2-0');
    const tasksOf = (a: number, b: number): unknown => ({
      workers: [
        { id: 'a', tasks: a },
        { id: 'b', tasks: b },
      ],
      unnamed: 0,
    });
    expect(await workersOf(redis)).toEqual(tasksOf(1, 2));
    await redis.xgroup('DELCONSUMER', KEY, GROUP, 'a');
    // its entry was given to it, and to nobody else: it is lost
    expect(await counted(redis)).toMatchObject({ waiting: 7, inFlight: 2, completed: 1 });
    await redis.xgroup('DESTROY', KEY, GROUP);
    await expect(readSource(redis, source, 0)).rejects.toThrow('has no consumer group "workers"');
  });

  test('of more consumers than are read, nobody, and everybody is held', async () => {
    await using server = await startRedis();
    const redis = server.client();
    await tenEntries(redis);
    const pipeline = redis.pipeline();
    for (let i = 0; i < 1_000; i++) pipeline.xgroup('CREATECONSUMER', KEY, GROUP, `old-${i}`);
    await pipeline.exec();
    expect(await workersOf(redis)).toEqual({ workers: [], unnamed: 3 });
    await redis.xgroup('DELCONSUMER', KEY, GROUP, 'old-0');
    expect(await workersOf(redis)).toMatchObject({ unnamed: 0 });
  });
});

test('no group, another type: said, with what to do', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.xadd(KEY, '*', 'n', 1);
  await redis.xgroup('CREATE', KEY, 'others', '0');
  await expect(readSource(redis, source, 0)).rejects.toThrow(
    'the stream "orders" has no consumer group "workers"; check source.stream.group, or create it',
  );
  await redis.del(KEY);
  await redis.lpush(KEY, 'a');
  await expect(readSource(redis, source, 0)).rejects.toThrow(
    'the key "orders" is not a stream (XINFO STREAM reads it): nothing was touched',
  );
});
