/** What a worker takes and does not begin has used nothing of a rate: cancelled and expired tasks, duplicates, what is handed back. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { removeLimits, setLimits } from '../../queue/limits/limits.ts';
import type { Settled } from '../../queue/workers/turn.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, openFreshQueue, startHandWorker, texts, type Held } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const header = '{"error":"x","attempts":0}';
const ways: Readonly<Record<string, (receipt: string) => Partial<Settled>>> = {
  expired: (receipt) => ({ dead: [{ receipt, header, expired: true }] }),
  'a duplicate': (receipt) => ({ cancelled: [{ receipt, id: receipt, header, duplicate: true }] }),
  'not asked for in time': (receipt) => ({
    retries: [{ receipt, delayMs: 1e6, past: { attempts: 0, deliveries: 0 } }],
  }),
};

test.each(Object.keys(ways))(
  '%s: the next one begins at once, and no more than the rate allows',
  async (way) => {
    const keys = freshKeys();
    await setLimits(redis, keys, { rate: '1/h', perKey: { field: 'k', rate: '1/d' } }, 'test');
    await redis.lpush(keys.queue, ...Array.from({ length: 9 }, (_, n) => `{"k":"a","n":${n}}`));
    const worker = await startHandWorker(redis, keys);
    const settle = async ({ tasks }: Held): Promise<Held> => {
      const unbegun = tasks.map(({ receipt }) => receipt);
      return worker.turn({ want: 9, settled: { ...ways[way]?.(unbegun[0] ?? ''), unbegun } });
    };
    let held = await worker.turn({ want: 9 });
    for (const n of [0, 1, 2]) {
      expect(texts(held.tasks)).toEqual([`{"k":"a","n":${n}}`]);
      held = await settle(held);
    }
    const [begun] = held.tasks;
    const released = await worker.turn({ want: 9, settled: { released: [begun?.receipt ?? ''] } });
    expect(released.tasks).toEqual([]);
    expect((await worker.turn({ want: 9 })).tasks).toEqual([]);
  },
);

test('a bucket that was full meanwhile is not fuller for it', async () => {
  const keys = freshKeys();
  await setLimits(redis, keys, { rate: '1000/s', burst: 2 }, 'test');
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.queue, '0', '1');
  const { tasks } = await worker.turn({ want: 2 });
  await eventually(async () => expect((await worker.turn()).limits).toBe('open'), { everyMs: 20 });
  const receipts = tasks.map(({ receipt }) => receipt);
  await setLimits(redis, keys, { rate: '1/h', burst: 2 }, 'test');
  await redis.lpush(keys.queue, '2', '3', '4');
  const next = await worker.turn({ want: 9, settled: { released: receipts, unbegun: receipts } });
  expect(texts(next.tasks)).toEqual(['0', '1']);
});

test('thousands of expired tasks and duplicates do not hold up what follows', async () => {
  await using queue = openFreshQueue(server.url);
  await setLimits(redis, queue.keys, { rate: '3/d', burst: 3, perKey: { field: 'k', rate: '1/d' } }, 'test');
  const late = Array.from(
    { length: 300 },
    (_, n) => `{"id":"${n}","k":"a","millrace":{"expiresAt":1000000000000}}`,
  );
  const twins = Array.from({ length: 5 }, (_, n) => `{"id":"u${n}","k":"b","millrace":{"unique":"u"}}`);
  const ran: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const handler = async ({ id }: { id: string }): Promise<void> => {
    ran.push(id);
    if (id === 'u0') await promise;
  };
  await redis.lpush(queue.keys.queue, ...late, ...twins, '{"id":"last","k":"a"}', '{"id":"b","k":"c"}');
  await using _worker = startWorker(server, queue.keys, {
    handler: (task) => handler(task as { id: string }),
    concurrency: 3,
  });
  await eventually(() => expect(ran.toSorted()).toEqual(['b', 'last', 'u0']));
  resolve();
  await removeLimits(redis, queue.keys, 'test');
});

test('a batch that is cancelled does not wait for the rate of its parts', async () => {
  await using queue = openFreshQueue(server.url);
  await setLimits(redis, queue.keys, { perKey: { field: 'host', rate: '1/5s' } }, 'test');
  await using _worker = startWorker(server, queue.keys, { handler: () => 'ok', concurrency: 4 });
  await queue.batch(
    Array.from({ length: 200 }, () => ({ host: 'a' })),
    { id: 'b', then: {} },
  );
  await eventually(async () => expect(Number(await redis.zscore(queue.keys.held, 'a'))).toBeGreaterThan(150));
  await queue.batch.cancel('b');
  await eventually(async () =>
    expect(await queue.batch.show('b')).toMatchObject({ state: 'cancelled', size: 200, left: 0 }),
  );
});
