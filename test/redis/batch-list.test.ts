/** Batches of a queue read a page at a time, however many there are, and whatever else is in their keys. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { listBatches, readBatchPage } from '../../queue/batches/record.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { defineScripts, script } from '../../queue/scripts/scripts.ts';
import { nested, openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
/** As the controller's, which reads through scripts only. */
let bounded: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
  bounded = defineScripts(openBounded(server.address));
});
afterAll(async () => {
  bounded?.disconnect();
  await server[Symbol.asyncDispose]();
});

test('open ones and ended ones, with what they wait for', async () => {
  const keys = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  expect(await readBatchPage(() => bounded, keys, 'open', 10)).toMatchObject({ all: 0, list: [] });
  await queue.batch([{ n: 0 }], { id: 'first' });
  await queue.batch([{ n: 0 }], { id: 'second' });
  {
    await using _worker = startWorker(server, keys, { handler: () => 'x' });
    await eventually(async () =>
      expect(await readBatchPage(() => bounded, keys, 'ended', 10)).toMatchObject({
        all: 2,
        list: [
          { id: 'second', state: 'ended', succeeded: 1, left: 0 },
          { id: 'first', state: 'ended' },
        ],
      }),
    );
  }
  await queue.batch([{ n: 0 }, nested([{ n: 1 }, { n: 2 }], { then: { kind: 'x' } })], { id: 'outer' });
  await queue.batch([{ n: 0 }], { id: 'gone', then: 'next' });
  await queue.batch.cancel('gone');
  await redis.sadd(keys.batchFailed('outer'), 'outer:0');
  const inner = { id: 'outer:1', state: 'running', size: 2, left: 2, inner: 0, then: 'outer:1:then' };
  const outer = { id: 'outer', state: 'running', size: 2, left: 2, inner: 1, waiting: 1, then: undefined };
  const gone = { id: 'gone', state: 'cancelling', why: 'it was cancelled', waiting: 0, endedAt: undefined };
  expect(await readBatchPage(() => bounded, keys, 'open', 10)).toMatchObject({
    all: 3,
    list: [inner, outer, gone],
  });
  expect(await readBatchPage(() => bounded, keys, 'open', 1, 1)).toMatchObject({ all: 3, list: [outer] });
  expect((await queue.batch.list()).map(({ id }) => id)).toEqual(
    expect.arrayContaining(['outer', 'outer:1', 'gone', 'second', 'first']),
  );
  expect(await queue.batch.show('outer')).toMatchObject(outer);
});

test('one that ends between the two reads is listed once', async () => {
  const keys = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  await queue.batch([{ n: 0 }], { id: 'quick' });
  await readBatchPage(() => bounded, keys, 'open', 1);
  let reads = 0;
  const between: Redis = Object.create(bounded, {
    'millrace:batch-listBuffer': {
      value: async (...args: Parameters<ReturnType<typeof script>>) => {
        const reply: unknown = await script(bounded, 'batch-list')(...args);
        if (reads++ > 0) return reply;
        await using _worker = startWorker(server, keys, { handler: () => 'x' });
        await eventually(async () =>
          expect(await readBatchPage(() => bounded, keys, 'ended', 1)).toMatchObject({ all: 1 }),
        );
        return reply;
      },
    },
  });
  expect(await listBatches(() => between, [keys])).toMatchObject([{ id: 'quick', state: 'ended' }]);
  expect(reads).toBe(2);
});

test('of thousands, a page; the library lists as many as are asked for, the newest of the open ones first', async () => {
  const keys = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  for (const kind of ['open', 'ended'] as const) {
    const write = redis.pipeline();
    for (let i = 0; i < 3_000; i++) {
      write.zadd(keys.batches, kind === 'open' ? '+inf' : i, `${kind}-${i}`);
      write.hset(keys.batch(`${kind}-${i}`), 'size', 10, 'done', 4, 'created', 1_000 + i, 'at', 2_000);
    }
    await write.exec();
  }
  expect((await readBatchPage(() => bounded, keys, 'open', 100)).list).toHaveLength(100);
  const ended = await readBatchPage(() => bounded, keys, 'ended', 2);
  expect(ended).toMatchObject({ all: 3_000, list: [{ id: 'ended-2999' }, { id: 'ended-2998' }] });
  const all = (await queue.batch.list(4_000)).map(({ id }) => id);
  expect(all).toHaveLength(4_000);
  expect(all.slice(0, 2)).toEqual(['open-2999', 'open-2998']);
  expect(all.slice(2_999, 3_002)).toEqual(['open-0', 'ended-2999', 'ended-2998']);
});

test('what is none of ours is left out, and a long text is cut', async () => {
  const keys = freshKeys();
  for (const id of ['text', 'nothing', 'words', 'long', 'sets']) await redis.zadd(keys.batches, '+inf', id);
  await redis.set(keys.batch('text'), 'x');
  await redis.hset(keys.batch('words'), 'size', 'many', 'done', '-3', 'created', '1e400', 'state', 'x');
  await redis.hset(keys.batch('long'), 'size', 2, 'why', 'x'.repeat(1 << 20));
  await redis.hset(keys.batch('sets'), 'size', 2);
  await redis.set(keys.batchFailed('sets'), 'x');
  const { all, list } = await readBatchPage(() => bounded, keys, 'open', 10);
  expect(all).toBe(5);
  expect(list.map(({ id }) => id).toSorted()).toEqual(['long', 'sets', 'words']);
  expect(list.find(({ id }) => id === 'long')?.why).toHaveLength(1_024);
  expect(list.find(({ id }) => id === 'words')).toMatchObject({
    size: 0,
    succeeded: 0,
    createdAt: 0,
    left: 0,
  });
  await redis.del(keys.batches);
  await redis.set(keys.batches, 'x');
  await expect(readBatchPage(() => bounded, keys, 'open', 10)).rejects.toThrow('WRONGTYPE');
});
