/** What a caller without types may give a queue: each error says what is wrong and what to give instead, and nothing has changed. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EnqueueOptions, Queue } from '../../queue/queue.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { openFreshQueue } from '../support/turns.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server[Symbol.asyncDispose]());

const id = (value: unknown): string => value as string;
const options = (value: unknown): EnqueueOptions => value as EnqueueOptions;

test.each<[string, (queue: Queue) => Promise<unknown>, string]>([
  [
    'cancel(12.5)',
    (queue) => queue.cancel(id(12.5)),
    'a text or a Buffer, not 12.5: the one of a number is "12.5"',
  ],
  [
    'cancel()',
    (queue) => queue.cancel(id(undefined)),
    'the id of a task is a text or a Buffer, not undefined',
  ],
  ['result(7)', (queue) => queue.result(id(7)), 'a text or a Buffer, not 7: the one of a number is "7"'],
  [
    'result()',
    (queue) => queue.result(id(undefined)),
    'the id of a task is a text or a Buffer, not undefined',
  ],
  ['progress({})', (queue) => queue.progress(id({})), 'the id of a task is a text or a Buffer, not Object'],
  ['at: "noon"', (queue) => queue.enqueue('a', options({ at: 'noon' })), 'at is a Date: got "noon"'],
  [
    'expiresAt: 1e12',
    (queue) => queue.enqueue({ id: 'a' }, options({ expiresAt: 1e12 })),
    'expiresAt is a Date: got 1000000000000',
  ],
  ['dead(1.5)', (queue) => queue.dead(1.5), 'a number of dead letters is whole: got 1.5'],
])('%s', async (_, ask, message) => {
  await using queue = openFreshQueue(server.url);
  await expect(ask(queue)).rejects.toThrow(message);
  const redis = server.client();
  expect(await redis.keys(`*${queue.keys.queue}*`)).toEqual([]);
});

test('a result that is no JSON, asked for as JSON', async () => {
  await using queue = openFreshQueue(server.url);
  await server.client().hset(queue.keys.result, 'a', 'plain text');
  await expect(queue.result('a', { as: 'json' })).rejects.toThrow(
    'the result of task a is not JSON: ask for it as text or as bytes',
  );
  expect(await queue.result('a')).toBe('plain text');
});

test('a queue that was closed says so', async () => {
  const queue = openFreshQueue(server.url);
  await queue.enqueue('a');
  await queue.close();
  const message = `queue "${queue.keys.queue}" was closed: open it again`;
  await expect(queue.enqueue('b')).rejects.toThrow(message);
  await expect(queue.enqueueMany(['b'])).rejects.toThrow(message);
  await expect(queue.inspect()).rejects.toThrow(message);
  expect(await server.client().lrange(queue.keys.queue, 0, -1)).toEqual(['a']);
});
