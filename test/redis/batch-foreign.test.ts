/**
 * What something else wrote into the keys that the end of a batch needs: the end waits until the key is right, what follows is pushed once,
 * and the key is named.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { nested } from '../../queue/queue.ts';
import { deliverReports } from '../../queue/workers/batch-reports.ts';
import { tendBatches } from '../../queue/workers/sweep.ts';
import {
  occurrences,
  openScene,
  PARTITIONS,
  places,
  workIn,
  type Place,
  type Scene,
} from '../support/batch-partitions.ts';
import { numbers, openAt } from '../support/batches.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { promptly, startWorker } from '../support/workers.ts';

/** One of the batch itself, or of its queue, is named. */
const WRONG_TYPE = /^the key ".*" is not |WRONGTYPE/;

/** Replaces a key by a text; returns what brings it back. */
async function spoil(redis: Redis, key: string): Promise<() => Promise<void>> {
  const kept = `kept:${key}`;
  const existed = (await redis.exists(key)) === 1;
  if (existed) await redis.rename(key, kept);
  await redis.set(key, 'x');
  return async () => {
    await redis.del(key);
    if (existed) await redis.rename(kept, key);
  };
}

/** Runs parts when the gate is open, and the task that follows them. */
function gated() {
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  let running = 0;
  let followed = 0;
  return {
    open,
    running: (count: number) => eventually(() => expect(running).toBe(count)),
    followed: () => followed,
    handler: async (task: unknown): Promise<string> => {
      if ((task as { readonly parts?: unknown }).parts) return `followed ${++followed}`;
      running++;
      await opened;
      return 'done';
    },
  };
}

describe('one list', () => {
  let server: RedisServer;
  let redis: Redis;
  beforeAll(async () => {
    server = await startRedis();
    redis = server.client();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test.each(['batches', 'errors', 'dead', 'cancelled'] as const)('%s of another type', async (name) => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    const gate = gated();
    await using worker = startWorker(server, keys, { concurrency: 2, handler: gate.handler });
    await queue.batch(numbers(2), { id: 'b', then: { kind: 'merge' } });
    await gate.running(2);
    const mend = await spoil(redis, keys[name]);
    gate.open();
    await eventually(() => expect(JSON.stringify(worker.log)).toContain(`the key is \\"${keys[name]}\\"`));
    expect(gate.followed()).toBe(0);
    await mend();
    expect(await queue.result('b:then')).toBe('followed 1');
    expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: 2, failed: 0 });
    expect(await redis.llen(keys.dead)).toBe(0);
  });

  const OF_CANCEL = {
    batchLeft: (keys: QueueKeys) => keys.batchLeft('b'),
    batchFailed: (keys: QueueKeys) => keys.batchFailed('b'),
    batchInner: (keys: QueueKeys) => keys.batchInner('b'),
    cancelled: (keys: QueueKeys) => keys.cancelled,
    inner: (keys: QueueKeys) => keys.batchFailed('b:0'),
  };
  test.each(Object.entries(OF_CANCEL))(
    'nothing is cancelled while %s has another type',
    async (_, nameOf) => {
      const keys = freshKeys();
      await using queue = openAt(server, keys);
      const inner = nested(numbers(1), { then: { kind: 'join' } });
      await queue.batch([inner, ...numbers(1)], { id: 'b', then: { kind: 'merge' } });
      const mend = await spoil(redis, nameOf(keys));
      const before = await redis.hgetall(keys.batch('b'));
      await expect(queue.batch.cancel('b')).rejects.toThrow(WRONG_TYPE);
      expect(await redis.hgetall(keys.batch('b'))).toEqual(before);
      await mend();
      expect(await queue.batch.cancel('b')).toBe('cancelled');
      expect(await queue.batch.show('b')).toMatchObject({ state: 'cancelling' });
      expect(await queue.batch.show('b:0')).toMatchObject({ state: 'cancelling' });
    },
  );

  const OF_END = {
    queue: (keys: QueueKeys) => keys.queue,
    errors: (keys: QueueKeys) => keys.errors,
    dead: (keys: QueueKeys) => keys.dead,
    batches: (keys: QueueKeys) => keys.batches,
    batchNumbered: (keys: QueueKeys) => keys.batchNumbered('b:0'),
    'batch-left of the outer one': (keys: QueueKeys) => keys.batchLeft('b'),
    'batch-inner of the outer one': (keys: QueueKeys) => keys.batchInner('b'),
  };
  test.each(Object.entries(OF_END))(
    'a batch that ends with its cancellation, while %s has another type',
    async (_, nameOf) => {
      const keys = freshKeys();
      await using queue = openAt(server, keys);
      const inner = nested(numbers(1), { then: { kind: 'join' } });
      await queue.batch([inner], { id: 'b', then: { kind: 'merge' } });
      const handler = (): never => {
        throw new Error('no');
      };
      {
        await using _worker = startWorker(server, keys, { retry: { ...promptly, attempts: 1 }, handler });
        await eventually(async () => expect(await redis.llen(keys.dead)).toBe(1));
      }
      const mend = await spoil(redis, nameOf(keys));
      const before = [await redis.hgetall(keys.batch('b:0')), await redis.hgetall(keys.batch('b'))];
      await expect(queue.batch.cancel('b:0')).rejects.toThrow(WRONG_TYPE);
      expect([await redis.hgetall(keys.batch('b:0')), await redis.hgetall(keys.batch('b'))]).toEqual(before);
      await mend();
      expect(await queue.batch.cancel('b:0')).toBe('cancelled');
      expect(await queue.batch.show('b:0')).toMatchObject({ state: 'cancelled', failed: 1 });
      expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', cancelled: 1 });
    },
  );

  test('a part whose failure would cancel batches that cannot be read is settled when they can', async () => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    await queue.batch(numbers(1), { id: 'b', then: { kind: 'merge' }, onFailure: 'cancel' });
    const mend = await spoil(redis, keys.batchInner('b'));
    await using worker = startWorker(server, keys, {
      concurrency: 1,
      retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1, jitter: false } },
      handler: () => {
        throw new Error('no');
      },
    });
    const key = keys.batchInner('b');
    await eventually(() => expect(JSON.stringify(worker.log)).toContain(`the key is \\"${key}\\"`));
    expect(await redis.llen(keys.dead)).toBe(0);
    await mend();
    await eventually(async () =>
      expect(await queue.batch.show('b')).toMatchObject({ state: 'failed', failed: 1 }),
    );
  });

  test('a part whose failure would cancel a batch inside of which a key has another type is settled when it has its own', async () => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    const gate = gated();
    const inner = nested(numbers(1), { then: { kind: 'join' } });
    await queue.batch([inner, { fails: true }], { id: 'b', then: { kind: 'merge' }, onFailure: 'cancel' });
    const mend = await spoil(redis, keys.batchFailed('b:0'));
    await using worker = startWorker(server, keys, {
      concurrency: 2,
      retry: { ...promptly, attempts: 1 },
      handler: (task) => {
        if ((task as { readonly fails?: boolean }).fails) throw new Error('no');
        return gate.handler(task);
      },
    });
    await eventually(() => expect(JSON.stringify(worker.log)).toContain('WRONGTYPE'));
    expect(await redis.llen(keys.dead)).toBe(0);
    expect(await redis.hget(keys.batch('b'), 'state')).toBeNull();
    await mend();
    await eventually(async () => expect(await queue.batch.show('b')).toMatchObject({ failed: 1 }));
    gate.open();
    await eventually(async () => expect(await queue.batch.show('b')).toMatchObject({ state: 'failed' }));
    // the part, and what was to follow the batch
    expect(await redis.llen(keys.dead)).toBe(2);
    expect(await redis.hget(keys.stats, 'fenced')).toBeNull();
  });

  test('members that something else wrote among the parts do not keep a batch open', async () => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    const gate = gated();
    await using _worker = startWorker(server, keys, { concurrency: 3, handler: gate.handler });
    await queue.batch([...numbers(2), { id: 'mine' }], { id: 'b', then: { kind: 'merge' } });
    await gate.running(3);
    await redis.sadd(keys.batchLeft('b'), 'stray', 'b:7', '');
    await tendBatches(redis, keys, 0);
    expect(await queue.batch.show('b')).toMatchObject({ state: 'running', left: 3 });
    gate.open();
    await eventually(async () => expect(await queue.batch.show('b')).toMatchObject({ succeeded: 3 }));
    await tendBatches(redis, keys, 0);
    expect(await queue.result('b:then')).toBe('followed 1');
    expect(await queue.batch.show('b')).toMatchObject({
      state: 'ended',
      size: 3,
      succeeded: 3,
      cancelled: 0,
    });
  });

  test('a batch that was last active in the future, as the clock was set back, is looked after all the same', async () => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    await queue.batch(numbers(1), { id: 'b', then: { kind: 'merge' } });
    // a plain worker, which counts nothing
    await redis.del(keys.queue);
    await redis.hset(keys.result, 'b:0', 'ok');
    await redis.hset(keys.batch('b'), 'at', Date.now() + 3_600_000);
    await eventually(async () => {
      await tendBatches(redis, keys, 1);
      expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: 1 });
    });
  });

  test('an end that could not be written is made up for', async () => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    await queue.batch(numbers(1), { id: 'b', then: { kind: 'merge' } });
    await redis.del(keys.queue, keys.batchNumbered('b'), keys.batchLeft('b'));
    await redis.hset(keys.batch('b'), { done: 1, at: 0 });
    await redis.hdel(keys.batch('b'), 'numbered');
    await tendBatches(redis, keys, 0);
    expect(await redis.llen(keys.queue)).toBe(1);
    expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: 1 });
  });
});

describe('partitions', () => {
  let place: Place;
  beforeAll(async () => {
    const [[, start] = []] = places;
    if (!start) throw new Error('there is a place');
    place = await start();
  });
  afterAll(() => place[Symbol.asyncDispose]());

  /** Tells what is noted in all lists. */
  async function tellAll({ lists, redisOf }: Scene): Promise<void> {
    for (const keys of lists) await deliverReports(redisOf, keys).catch(() => undefined);
  }

  async function expectFollowedOnce(scene: Scene, followed: () => number): Promise<void> {
    await eventually(async () => {
      await tellAll(scene);
      expect(followed()).toBe(1);
    });
    expect(await scene.queue.result('b:then')).toBe('followed 1');
    expect(await scene.queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: 20, failed: 0 });
    expect(await occurrences(scene, 'b:then')).toEqual([]);
  }

  const NAMES = {
    batches: (keys: QueueKeys) => keys.batches,
    shares: (keys: QueueKeys) => keys.shares,
    errors: (keys: QueueKeys) => keys.errors,
    batchReports: (keys: QueueKeys) => keys.batchReports,
    batchShares: (keys: QueueKeys) => keys.batchShares('b'),
  };
  test.each(Object.entries(NAMES))('%s of another type', async (_, nameOf) => {
    await using scene = await openScene(place);
    const { queue, lists, redisOf } = scene;
    const gate = gated();
    await using worker = workIn(place, scene, gate.handler);
    await queue.batch(numbers(20), { id: 'b', then: { kind: 'merge' } });
    await gate.running(20);
    const mends = await Promise.all(lists.map((keys) => spoil(redisOf(keys), nameOf(keys))));
    gate.open();
    const key = /the key is \\"(millrace:\{\d\}[^"]*)\\"/;
    await eventually(() => expect(lists.map(nameOf)).toContain(key.exec(JSON.stringify(worker.log))?.[1]));
    await tellAll(scene);
    expect(gate.followed()).toBe(0);
    for (const mend of mends) await mend();
    await expectFollowedOnce(scene, gate.followed);
  });

  test.each(['', 'x', 'nan', '1.5', '9223372036854775807', 'y'.repeat(3_000)].map((number) => ({ number })))(
    'a report whose number is $number',
    async ({ number }) => {
      await using scene = await openScene(place);
      const { queue, lists, redisOf } = scene;
      const gate = gated();
      await using worker = workIn(place, scene, gate.handler);
      await queue.batch(numbers(20), { id: 'b', then: { kind: 'merge' } });
      await gate.running(20);
      for (const keys of lists) await redisOf(keys).hset(keys.batchReports, 'b', number);
      gate.open();
      await expectFollowedOnce(scene, gate.followed);
      expect(worker.log.filter(({ level }) => level !== 'info')).toEqual([]);
      for (const keys of lists) expect(await redisOf(keys).exists(keys.batchReports)).toBe(0);
    },
  );

  test('a share that cannot be cancelled yet is cancelled as a whole when it can', async () => {
    await using scene = await openScene(place);
    const { queue, lists, redisOf } = scene;
    const letters = async (): Promise<number> =>
      (await Promise.all(lists.map((keys) => redisOf(keys).llen(keys.dead)))).reduce((sum, n) => sum + n, 0);
    await queue.batch(numbers(20), { id: 'b', then: { kind: 'merge' } });
    {
      const handler = (): never => {
        throw new Error('no');
      };
      await using _worker = workIn(place, scene, handler);
      await eventually(async () => expect(await letters()).toBe(20));
    }
    const found = await Promise.all(lists.map((keys) => redisOf(keys).exists(keys.batchShares('b'))));
    const shares = lists.filter((_, i) => found[i] === 0);
    const mends = await Promise.all(shares.map((keys) => spoil(redisOf(keys), keys.batchFailed('b'))));
    await queue.batch.cancel('b').catch(() => undefined);
    await tellAll(scene);
    for (const keys of shares) expect(await redisOf(keys).hget(keys.batch('b'), 'state')).toBeNull();
    for (const mend of mends) await mend();
    await eventually(async () => {
      await tellAll(scene);
      expect(await queue.batch.show('b')).toMatchObject({ state: 'cancelled', failed: 20, cancelled: 0 });
    });
  });

  test('names that something else wrote among the shares do not keep a batch open', async () => {
    await using scene = await openScene(place);
    const { plain, queue, lists, redisOf } = scene;
    const gate = gated();
    await using _worker = workIn(place, scene, gate.handler);
    await queue.batch(numbers(20), { id: 'b', then: { kind: 'merge' } });
    await gate.running(20);
    const strays = ['', 'x', plain.queue, `${plain.queue}:{x}`, `x:{1}`, `${plain.queue}:{${PARTITIONS}}`];
    const found = await Promise.all(lists.map((keys) => redisOf(keys).exists(keys.batchShares('b'))));
    const whole = lists[found.indexOf(1)] as QueueKeys;
    await redisOf(whole).sadd(whole.batchShares('b'), whole.queue, ...strays);
    gate.open();
    await eventually(async () => {
      await tellAll(scene);
      expect(await redisOf(whole).hmget(whole.batch('b'), 'size', 'done')).toEqual(['20', '20']);
    });
    expect(gate.followed()).toBe(0);
    await tendBatches(redisOf(whole), whole, 0);
    await expectFollowedOnce(scene, gate.followed);
  });

  test('reports of what is no batch are forgotten', async () => {
    await using scene = await openScene(place);
    const { lists, redisOf } = scene;
    const [keys] = lists as [QueueKeys];
    const redis = redisOf(keys);
    await redis.hset(keys.batchReports, Buffer.of(0xff, 0xfe), Buffer.of(0xff), 'x', 'y', '', '1');
    await deliverReports(redisOf, keys);
    expect(await redis.exists(keys.batchReports)).toBe(0);
  });
});
