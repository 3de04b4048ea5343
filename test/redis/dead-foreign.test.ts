/** Dead letters where something else has written a key that moving them needs, or a letter itself: none is lost. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { deadHeader, moveDeadLetters } from '../../queue/dead-letter-format.ts';
import type { Queue, QueueKeys } from '../../queue/queue.ts';
import { sweep } from '../../queue/workers/sweep.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { openFreshQueue, startHandWorker } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const RAW = '{"id":"a"}';
/** A letter of a task that had expired, and that a batch waits for. */
async function bury({ keys, batch }: Pick<Queue, 'keys' | 'batch'>): Promise<string> {
  await batch([{ id: 'a' }, { id: 'b' }], { id: 'b1', then: { id: 'after' } });
  await redis.del(keys.queue);
  const about = { error: 'late', attempts: 0, worker: 'w', id: 'a', expired: 1_796_040_000_000, batch: 'b1' };
  const header = deadHeader(about);
  expect(JSON.parse(header)).toMatchObject({ expired: 1_796_040_000_000, batch: 'b1' });
  const entry = `${Date.now()} ${header}\n${RAW}`;
  await redis.lpush(keys.dead, entry);
  await redis.sadd(keys.batchFailed('b1'), 'a');
  return entry;
}

type Way = (queue: Queue, how: 'requeue' | 'drop') => Promise<number>;
const WAYS: Record<string, Way> = {
  'one by one': ({ dead }, how) => dead[how]('all'),
  'many together': ({ keys }, how) => moveDeadLetters(redis, keys, how, 'all'),
};
const NEEDED: Record<'requeue' | 'drop', Record<string, (keys: QueueKeys) => string>> = {
  requeue: {
    queue: ({ queue }) => queue,
    errors: ({ errors }) => errors,
    cancelled: ({ cancelled }) => cancelled,
    history: ({ history }) => history,
    pasts: ({ pasts }) => pasts,
    batch: (keys) => keys.batch('b1'),
    'failed parts': (keys) => keys.batchFailed('b1'),
  },
  drop: {
    errors: ({ errors }) => errors,
    batch: (keys) => keys.batch('b1'),
    'failed parts': (keys) => keys.batchFailed('b1'),
    parts: (keys) => keys.batchLeft('b1'),
    batches: ({ batches }) => batches,
  },
};
const rows = Object.entries(WAYS).flatMap(([way, move]) =>
  (['requeue', 'drop'] as const).flatMap((how) =>
    Object.entries(NEEDED[how]).map(([name, keyOf]) => ({ how, way, name, move, keyOf })),
  ),
);

test.each(rows)('$how, $way, where the key of the $name has another type', async ({ how, move, keyOf }) => {
  await using queue = openFreshQueue(server.url);
  const { keys } = queue;
  const entry = await bury(queue);
  const key = keyOf(keys);
  const kept = `kept:${key}`;
  if ((await redis.exists(key)) === 1) await redis.rename(key, kept);
  await redis.set(key, 'of something else');
  await expect(move(queue, how)).rejects.toThrow(/WRONGTYPE|the key ".*" is not a/);
  expect(await redis.lrange(keys.dead, 0, -1)).toEqual([entry]);
  if (key !== keys.queue) expect(await redis.lrange(keys.queue, 0, -1)).toEqual([]);
  await redis.del(key);
  if ((await redis.exists(kept)) === 1) await redis.rename(kept, key);
  expect(await move(queue, how)).toBe(1);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(how === 'requeue' ? [RAW] : []);
  expect(await redis.exists(keys.dead)).toBe(0);
  expect(await queue.batch.show('b1')).toMatchObject({ waiting: 0, failed: how === 'drop' ? 1 : 0 });
});

test.each(['true', '{}', '["a"]', '7', 'null'])(
  'a letter whose id is %s is swept like any other',
  async (id) => {
    await using queue = openFreshQueue(server.url);
    const { keys } = queue;
    const header = `{"error":"of something else","id":${id},"batch":"b1"}`;
    await redis.lpush(keys.dead, `1 ${header}\n${RAW}`, `2 ${header}\n${RAW}`);
    await redis.hset(keys.errors, RAW, header);
    await redis.zadd(keys.expiry, 1, 'd5');
    await sweep(redis, keys);
    expect(await redis.exists(keys.dead, keys.errors, keys.expiry)).toBe(0);
  },
);

test('a letter of a batch whose key has another type is swept, and the others with it', async () => {
  await using queue = openFreshQueue(server.url);
  const { keys } = queue;
  const entry = await bury(queue);
  await redis.rpush(keys.dead, entry.replace(/^\d+/, '1'));
  await redis.lset(keys.dead, 0, entry.replace(/^\d+/, '2'));
  await redis.del(keys.batch('b1'));
  await redis.set(keys.batch('b1'), 'of something else');
  await redis.zadd(keys.expiry, 1, 'd5');
  await sweep(redis, keys);
  expect(await redis.exists(keys.dead, keys.expiry)).toBe(0);
});

test.each([
  '{"id":true}',
  '{"id":{"a":1}}',
  '{"id":null}',
  '{"id":["x"],"batch":"b"}',
  '{"id":"x","batch":{"a":1}}',
  '7',
])('a letter with the header %s is dropped where another takes its place, in one turn', async (header) => {
  await using queue = openFreshQueue(server.url);
  const { keys } = queue;
  await redis.lpush(keys.dead, `1 ${header}\nraw`);
  const worker = await startHandWorker(redis, keys);
  await redis.hset(keys.worker(worker.id), 'deadMax', 1);
  await redis.lpush(keys.queue, 'bad', 'good');
  const { tasks } = await worker.turn({ want: 2 });
  const [bad, good] = tasks.map(({ receipt }) => receipt);
  if (bad === undefined || good === undefined) throw new Error('no tasks were taken');
  const letter = { receipt: bad, id: 'bad', header: '{"error":"no"}' };
  await worker.turn({ settled: { dead: [letter], results: [{ receipt: good, id: 'good', value: '1' }] } });
  expect(await redis.lrange(keys.dead, 0, -1)).toEqual([expect.stringMatching(/ \{"error":"no"\}\nbad$/)]);
  expect(await redis.hgetall(keys.stats)).toMatchObject({ failed: '1', completed: '1' });
  expect(await redis.exists(keys.inflight(worker.id))).toBe(0);
});
