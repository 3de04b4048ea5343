/** A key that something else has written with another type: whoever asks is told which one, and no task is lost. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { openQueue, queueKeys, type Queue, type QueueKeys } from '../../queue/queue.ts';
import { openLevels } from '../../queue/served-levels.ts';
import { levelKeys } from '../../queue/priorities.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startHandWorker } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

interface Row {
  readonly key: keyof QueueKeys;
  readonly ask: (queue: Queue) => Promise<unknown>;
  readonly says?: string;
}

const UNTOUCHED = 'nothing was touched';
const NOT_LOST = 'no task was lost';
const rows: Record<string, Row> = {
  enqueue: { key: 'queue', ask: (queue) => queue.enqueue('a') },
  'enqueue, unique': { key: 'queue', ask: (queue) => queue.enqueueUnique({ n: 1 }, { unique: 'k' }) },
  'enqueue, delayed': { key: 'delayed', ask: (queue) => queue.enqueue('a', { delayMs: 1e6 }) },
  'enqueue many': {
    key: 'queue',
    ask: (queue) => queue.enqueueMany(['a', 'b']),
    says: 'tasks before these may have been pushed',
  },
  'enqueue with a priority that cannot be read': {
    key: 'priorities',
    ask: (queue) => queue.enqueue('a', { priority: 'high' }),
  },
  'cancel, for the marks': { key: 'cancelled', ask: (queue) => queue.cancel('a') },
  'cancel, for their number': { key: 'stats', ask: (queue) => queue.cancel('a') },
  pause: { key: 'priorities', ask: (queue) => queue.pause() },
  resume: { key: 'priorities', ask: (queue) => queue.resume() },
  inspect: { key: 'worker', ask: (queue) => queue.inspect() },
  progress: { key: 'progress', ask: (queue) => queue.progress('held') },
  dead: { key: 'dead', ask: (queue) => queue.dead() },
  'dead.find': { key: 'dead', ask: (queue) => queue.dead.find('all') },
  'dead.requeue': { key: 'dead', ask: (queue) => queue.dead.requeue('all'), says: NOT_LOST },
  'dead.drop': { key: 'dead', ask: (queue) => queue.dead.drop('all'), says: NOT_LOST },
  'limits.set': {
    key: 'limitState',
    ask: (queue) => queue.limits.set({ concurrency: 1 }),
    says: NOT_LOST,
  },
  'limits.remove': { key: 'limits', ask: (queue) => queue.limits.remove(), says: NOT_LOST },
  'limits.show': { key: 'held', ask: (queue) => queue.limits.show() },
  batch: {
    key: 'batches',
    ask: (queue) => queue.batch([{ n: 1 }]),
    says: 'what had been added of the batch was cancelled',
  },
};

test.each(Object.entries(rows))('%s', async (_, { key, ask, says = UNTOUCHED }) => {
  await redis.flushall();
  const keys = queueKeys('q', 'r');
  await using queue = openQueue({ redis: server.url, queue: 'q', result: 'r' });
  await redis.lpush(keys.queue, '{"id":"held"}');
  const worker = await startHandWorker(redis, keys, { id: 'w' });
  await worker.turn({ want: 1 });
  if (key.startsWith('held')) await queue.limits.set({ concurrency: 1 });
  const of = keys[key];
  const name = typeof of === 'string' ? of : of('w');
  await redis.del(name);
  await redis.set(name, 'of something else');
  await expect(ask(queue)).rejects.toMatchObject({
    name: 'WrongKeyType',
    message: expect.stringMatching(
      /^the key ".*" is not (a|an) .* \(it is a string\): .*; use another key, or /,
    ),
  });
  await expect(ask(queue)).rejects.toThrow(`"${name}"`);
  await expect(ask(queue)).rejects.toThrow(says);
  if (key !== 'cancelled') expect(await redis.exists(keys.cancelled)).toBe(0);
  expect(await redis.get(name)).toBe('of something else');
});

test('the list of a priority', async () => {
  await redis.flushall();
  const keys = queueKeys('q', 'r');
  await openLevels(redis, keys, ['high']);
  await using queue = openQueue({ redis: server.url, queue: 'q', result: 'r' });
  const { queue: list } = levelKeys(keys, 'high');
  await redis.set(list, 'of something else');
  await expect(queue.enqueue('a', { priority: 'high' })).rejects.toThrow(`the key "${list}" is not a list`);
});
