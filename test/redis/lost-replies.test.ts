/** Requests of clients that were executed, and whose reply was lost: they are sent again, and end as if they had been sent once. */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { setLimits } from '../../queue/limits/limits.ts';
import { NotReplicated, openQueue, type Queue } from '../../queue/queue.ts';
import { defineScripts, script } from '../../queue/scripts/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { newerRedis } from '../support/newer-redis.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys, startHandWorker, texts } from '../support/turns.ts';

/** Sends a request, of which the first reply is lost. `made`: whether it was executed. */
async function losing<T>(
  { port }: RedisServer,
  send: (redis: Redis) => Promise<T>,
  made: () => Promise<boolean>,
): Promise<T> {
  await using proxy = await startTcpProxy(port);
  const redis = defineScripts(openRedis({ url: `redis://127.0.0.1:${proxy.port}` }));
  try {
    await redis.ping();
    proxy.stall('replies');
    const sent = send(redis);
    await eventually(async () => expect(await made()).toBe(true));
    proxy.cut();
    proxy.resume();
    return await sent;
  } finally {
    await closeRedis(redis);
  }
}

test('new limits: what was in flight before counts, and what was held for another field goes back', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const of = (customer: string, n: number): string => JSON.stringify({ customer, n });
  const isField = async (name: string): Promise<boolean> => (await redis.hget(keys.limits, 'field')) === name;
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.queue, of('a', 1), of('a', 2), of('b', 1));
  expect(texts((await worker.turn({ want: 1 })).tasks)).toEqual([of('a', 1)]);

  const byCustomer = { perKey: { field: 'customer', concurrency: 1 } };
  await losing(
    server,
    (lossy) => setLimits(lossy, keys, byCustomer, 'test'),
    () => isField('customer'),
  );
  expect(texts((await worker.turn({ want: 9 })).tasks)).toEqual([of('b', 1)]);

  const byNumber = { perKey: { field: 'n', concurrency: 5 } };
  await losing(
    server,
    (lossy) => setLimits(lossy, keys, byNumber, 'test'),
    () => isField('n'),
  );
  expect(await redis.exists(keys.held)).toBe(0);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual([of('a', 2)]);
  expect(await redis.hgetall(keys.limitRunning)).toEqual({ 1: '2' });
  expect(await setLimits(redis, keys, byNumber, 'test')).toBe(false);
});

test('new limits whose setter ended half-way: those that replace them finish what it left', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const of = (customer: string, n: number): string => JSON.stringify({ customer, n });
  const worker = await startHandWorker(redis, keys);
  await redis.lpush(keys.queue, of('a', 1), of('a', 2), of('a', 3));
  await worker.turn({ want: 1 });
  await setLimits(redis, keys, { perKey: { field: 'customer', concurrency: 1 } }, 'test');
  await worker.turn({ want: 9 });
  expect(await redis.zrange(keys.held, '0', '-1', 'WITHSCORES')).toEqual(['a', '2']);
  /** As `setLimits` does it, which ends when Redis has the limits. */
  const begin = (...fields: string[]): Promise<unknown> => {
    const { limits, limitState, held, heldDue, limitSlots, limitRunning } = keys;
    const set = script(redis, 'limit-set');
    const places = [limits, limitState, held, heldDue, limitSlots, limitRunning, keys.answers('test')];
    return set(...places, 'test', '0', ...fields, '1');
  };
  expect(await begin('field', 'n', 'keyConcurrency', '3')).toEqual([1, 1, 1]);
  expect(await redis.hgetall(keys.limitRunning)).toEqual({});
  expect(await setLimits(redis, keys, { perKey: { field: 'n', concurrency: 2 } }, 'test')).toBe(true);
  expect(await redis.hgetall(keys.limitRunning)).toEqual({ 1: '1' });
  expect(await redis.exists(keys.held)).toBe(0);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual([of('a', 3), of('a', 2)]);
});

// since Redis 7.2, WAIT has nothing to wait for where the connection has only read
test.each([
  ['a unique task', (queue: Queue) => queue.enqueue({ n: 1 }, { unique: 'k' })],
  ['a batch', (queue: Queue) => queue.batch([{ n: 1 }])],
])('%s that no replica has is not confirmed', async (_, push) => {
  const program = await newerRedis();
  await using primary = await startRedis({ program, args: ['--repl-diskless-sync-delay', '0'] });
  await using replica = await startRedis({
    program,
    args: ['--replicaof', primary.host, String(primary.port)],
  });
  const redis = primary.client();
  await eventually(async () => {
    await redis.set('written', 1);
    expect(await redis.wait(1, 100)).toBe(1);
  });
  await using proxy = await startTcpProxy(primary.port);
  const keys = freshKeys();
  await using queue = openQueue({
    redis: `redis://127.0.0.1:${proxy.port}`,
    ...keys,
    durability: { replicas: 1, timeoutMs: 300 },
  });
  await queue.enqueue('before');
  replica.stop();
  try {
    proxy.stall('replies');
    const pushing = push(queue);
    await eventually(async () => expect(await redis.llen(keys.queue)).toBe(2));
    proxy.cut();
    proxy.resume();
    await expect(pushing).rejects.toBeInstanceOf(NotReplicated);
  } finally {
    replica.cont();
  }
  expect(await redis.llen(keys.queue)).toBe(2);
});
