/** The internals of ioredis that the library uses exist, and do what is expected of them. */
import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { dropRedis, renewConnection } from '../../queue/connection/close.ts';
import { connectorTo } from '../../queue/connection/connector.ts';
import { definedCommand, definedHash, insideOf } from '../../queue/connection/ioredis-internals.ts';

const happens = (redis: Redis, event: 'end' | 'reconnecting'): Promise<void> =>
  new Promise((resolve) => void redis.once(event, () => resolve()));

/** Between its first attempt to connect, which failed, and a second one that is far away. */
async function away(): Promise<Redis> {
  const redis = new Redis({ host: '127.0.0.1', port: 1, retryStrategy: () => 3_600_000 });
  redis.on('error', () => undefined);
  await happens(redis, 'reconnecting');
  return redis;
}

test('connections are counted, and what waits for one is rejected', async () => {
  const redis = await away();
  const inside = insideOf(redis);
  expect(inside.connectionEpoch).toBe(1);
  const waiting = redis.ping();
  inside.flushQueue(new Error('given up'));
  await expect(waiting).rejects.toThrow('given up');
  redis.disconnect();
});

test('what waits for a connection can be taken from its queue, and ends by its own function', async () => {
  const redis = await away();
  const waiting = redis.ping();
  insideOf(redis).offlineQueue.shift()?.command.reject(new Error('sent elsewhere'));
  await expect(waiting).rejects.toThrow('sent elsewhere');
  expect(insideOf(redis).offlineQueue.shift()).toBeUndefined();
  redis.disconnect();
});

test('a client that is dropped between two attempts has ended, and rejects what waits', async () => {
  const redis = await away();
  const ended = happens(redis, 'end');
  const waiting = redis.ping();
  dropRedis(redis);
  await expect(waiting).rejects.toThrow('Connection is closed.');
  await ended;
  expect(redis.status).toBe('end');
});

test('a command that was defined has a form that returns bytes, and a hash', () => {
  const redis = new Redis({ lazyConnect: true });
  expect(definedCommand(redis, 'ours')).toBeUndefined();
  redis.defineCommand('ours', { numberOfKeys: 0, lua: 'return 1' });
  expect(definedCommand(redis, 'ours')).toBeTypeOf('function');
  expect(definedHash(redis, 'ours')).toBe(createHash('sha1').update('return 1').digest('hex'));
  redis.disconnect();
});

test('a connection attempt in progress is not restarted, which would end the client for good', async () => {
  const found = Promise.withResolvers<{ host: string; port: number }>();
  const locator = { locate: () => found.promise, wrong: () => undefined };
  const redis = new Redis({
    Connector: connectorTo(
      () => locator,
      () => undefined,
      false,
    ),
    retryStrategy: () => 3_600_000,
  });
  redis.on('error', () => undefined);
  expect(redis.status).toBe('connecting');
  renewConnection(redis);
  const next = Promise.race([happens(redis, 'end'), happens(redis, 'reconnecting')]);
  found.resolve({ host: '127.0.0.1', port: 1 });
  await next;
  expect(redis.status).toBe('reconnecting');
  dropRedis(redis);
});
