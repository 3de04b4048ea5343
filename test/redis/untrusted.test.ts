/**
 * A connection to an untrusted Redis, against a server that replies what a test tells it to. Whatever it sends, the process
 * continues (vitest fails a run in which a handler threw), little of it is read, and the same connection works again when the
 * server behaves.
 */
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { closeRedis, describeRedisError } from '../../queue/connection/connection.ts';
import { ReplyRefused } from '../../queue/connection/reply-scanner.ts';
import { openKeyWatch } from '../../queue/watch.ts';
import { eventually } from '../support/eventually.ts';
import { MESSAGES, REPLIES, startLyingRedis } from '../support/lying-redis.ts';
import { startRedis } from '../support/redis.ts';

/** Runs all rows of a table at a time, as most of what they do is to wait; says which one failed. */
async function forEach<T>(
  table: Readonly<Record<string, T>>,
  row: (value: T) => Promise<void>,
): Promise<void> {
  const rows = Object.entries(table).map(([name, value]) =>
    row(value).catch((error: unknown) => Promise.reject(new Error(name, { cause: error }))),
  );
  await Promise.all(rows);
}

test.concurrent('any reply is an answer or is refused, and the connection works again', async () => {
  await forEach(REPLIES, async (lie) => {
    await using server = await startLyingRedis();
    const redis = openBounded(server.address);
    await once(redis, 'ready');
    server.tell({ llen: lie });
    const answer = await redis.llen('queue').catch((error: Error) => error);
    if (lie.refused) {
      expect(answer).toBeInstanceOf(ReplyRefused);
      expect(answer).toMatchObject({ kind: lie.refused });
      expect(describeRedisError(answer, server.address)).toMatch(/ was cut off: /);
    } else expect(answer).not.toBeInstanceOf(ReplyRefused);
    // what is in the socket's buffers was sent, and no more
    expect(server.sent).toBeLessThan(16 * 1_048_576);
    server.tell({});
    await eventually(async () => expect(await redis.llen('queue')).toBe(0));
    await closeRedis(redis);
  });
});

test.concurrent('so with the first commands of a connection, before it is ready', async () => {
  await forEach(REPLIES, async (lie) => {
    await using server = await startLyingRedis();
    server.tell({ info: lie });
    const redis = openBounded(server.address);
    await eventually(() => expect(server.asked('info')).toBeGreaterThan(0));
    server.tell({});
    await eventually(async () => expect(await redis.llen('queue')).toBe(0));
    await closeRedis(redis);
  });
});

test.concurrent('an unknown notice counts for any key, and the next one is received', async () => {
  await forEach(MESSAGES, async (message) => {
    await using server = await startLyingRedis();
    const heard: unknown[] = [];
    await using watch = await openKeyWatch(
      server.address,
      (keys) => void heard.push(keys),
      60_000,
      undefined,
      openBounded,
    );
    server.publish(message);
    await eventually(() => expect(heard).toContain(undefined));
    await eventually(() => expect(watch.armed).toBe(true));
    heard.length = 0;
    server.publish('*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nq\r\n');
    await eventually(() => expect(heard).toEqual([['q']]));
  });
});

test('a client list may be longer than other replies, and a task that is peeked at may not', async () => {
  await using server = await startLyingRedis();
  const redis = openBounded(server.address);
  await once(redis, 'ready');
  const long = `id=1 name=x${'y'.repeat(2 * 1_048_576)}\n`;
  const bulk = { bytes: `$${long.length}\r\n${long}\r\n` };
  server.tell({ client: bulk, blmove: bulk });
  expect(await redis.client('LIST')).toBe(long);
  await expect(redis.blmove('q', 'q', 'RIGHT', 'RIGHT', 1)).rejects.toThrow(ReplyRefused);
  await closeRedis(redis);
});

test('a command whose reply a client makes as long as it likes is not sent', async () => {
  await using server = await startRedis();
  const redis = openBounded(server.address);
  await once(redis, 'ready');
  for (const command of ['get', 'hgetall', 'lrange', 'hvals', 'xrange', 'keys', 'smembers', 'hget', 'config'])
    await expect(redis.call(command, 'key')).rejects.toThrow(/may return anything of any size/);
  await eventually(async () => expect(await redis.llen('key')).toBe(0));
  await closeRedis(redis);
});

test('a server that keeps lying is contacted less and less often', async () => {
  await using server = await startLyingRedis();
  server.tell({ info: { bytes: '$2000000\r\n' } });
  const waits: number[] = [];
  const redis = openBounded(server.address);
  redis.on('reconnecting', (ms: number) => waits.push(ms));
  await eventually(() => expect(waits).toHaveLength(2));
  expect(waits).toEqual([1_000, 2_000]);
  await closeRedis(redis);
});

test('TLS is guarded too', async () => {
  await using server = await startRedis({ tls: 'server' });
  const redis = openBounded(server.address);
  const admin = server.client();
  await admin.lpush('long', 'x'.repeat(100_000));
  expect(await redis.llen('long')).toBe(1);
  await expect(redis.blmove('long', 'long', 'RIGHT', 'RIGHT', 1)).rejects.toThrow(ReplyRefused);
  expect(await redis.llen('long')).toBe(1);
  await closeRedis(redis);
});
