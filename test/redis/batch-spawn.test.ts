/** Tasks that tasks add, to their batch if they are a part of one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { type Queue } from '../../queue/queue.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { openAt, over, workNoting } from '../support/batches.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

test('a task adds tasks to its batch with its result; an attempt that fails adds none', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const handler = (task: unknown, { spawn, attempt }: TaskContext): unknown => {
    const { depth = 0, parts } = task as { depth?: number; parts?: object };
    if (parts) return JSON.stringify(parts);
    if (depth < 3) spawn([{ depth: depth + 1 }, { depth: depth + 1 }]);
    if (attempt === 1) throw new Error('not yet');
    return depth;
  };
  const retry = { attempts: 2, backoff: { initialMs: 1, maxMs: 1, jitter: false } };
  await using _worker = startWorker(server, keys, { handler, retry });
  await queue.batch([{ id: 'root' }], { id: 'tree', then: { kind: 'sum' } });
  expect(await queue.result('tree:then', { as: 'json' })).toMatchObject({ size: 15, succeeded: 15 });
  const ids: string[] = [];
  for await (const { id } of queue.batch.results('tree')) ids.push(id);
  expect(ids.toSorted()).toContain('root/1/0/1');
});

describe('tasks that tasks add', () => {
  /** Parts that the library adds, and those that a plain client pushes. */
  async function begin(
    how: string,
    keys: QueueKeys,
    queue: Queue,
    parts: readonly { readonly id: string }[],
  ) {
    if (how === 'library') await queue.batch(parts, { id: 'b', then: { kind: 'merge' } });
    else {
      const mark = { id: 'b', size: parts.length, then: { kind: 'merge' } };
      await redis.lpush(keys.queue, ...parts.map((part) => JSON.stringify({ ...part, batch: mark })));
    }
  }
  const idsOf = (ran: readonly string[]): string[] =>
    ran.map((raw) => (JSON.parse(raw) as { id: string }).id);

  test.each(['library', 'plain'])('long ids of tasks do not make equal ids (%s)', async (how) => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    const ran: string[] = [];
    await using _worker = workNoting(server, keys, ran);
    const parts = ['1', '2'].map((end) => ({ id: `${'u'.repeat(120)}${end}`, spawns: [{}] }));
    await begin(how, keys, queue, parts);
    expect(await over(queue, 'b')).toMatchObject({ state: 'ended', size: 4, succeeded: 4 });
    await eventually(() => expect(new Set(idsOf(ran)).size).toBe(5));
  });

  test.each(['library', 'plain'])(
    'an id that several give is one part, also when it has ended (%s)',
    async (how) => {
      const keys = freshKeys();
      await using queue = openAt(server, keys);
      const ran: string[] = [];
      await using _worker = workNoting(server, keys, ran);
      // as a crawler would: each page names the others, and the first one
      const page = (id: string, ...others: unknown[]) => ({ id, spawns: others });
      const last = page('c', { id: 'a' }, { id: 'd' }, { id: 'd' });
      await begin(how, keys, queue, [page('a', page('b', last), { id: 'd' })]);
      expect(await over(queue, 'b')).toMatchObject({ state: 'ended', size: 4, succeeded: 4 });
      await eventually(() => expect(idsOf(ran).toSorted()).toEqual(['a', 'b', 'b:then', 'c', 'd']));
      await eventually(async () =>
        expect((await redis.hkeys(keys.result)).toSorted()).toEqual(['a', 'b', 'b:then', 'c', 'd']),
      );
    },
  );

  test('a part that runs twice adds its tasks once', async () => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    const mark = { id: 'b', size: 2, then: {} };
    const raws = ['p', 'q'].map((id) => JSON.stringify({ id, spawns: [{}, {}], batch: mark }));
    await redis.lpush(keys.queue, ...raws, ...raws);
    await using _worker = workNoting(server, keys, []);
    expect(await over(queue, 'b')).toMatchObject({ state: 'ended', size: 6, succeeded: 6 });
  });

  test('binary tasks add tasks with ids of their own', async () => {
    const keys = freshKeys();
    await using _worker = workNoting(server, keys, [], (task, { spawn }) => {
      if (Buffer.isBuffer(task)) spawn([{}]);
    });
    await redis.lpush(keys.queue, Buffer.of(0xff), Buffer.of(0xfe));
    await eventually(async () => expect(await redis.hlen(keys.result)).toBe(4));
  });
});

test('a part that a plain client pushes once more after its batch has ended does not run again what it had added', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const ran: string[] = [];
  await using _worker = workNoting(server, keys, ran);
  const part = '{"id":"a","spawns":[{"n":1},{"n":2}],"batch":{"id":"b","size":1,"then":{"k":1}}}';
  await redis.lpush(keys.queue, part);
  await queue.result('b:then');
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', size: 3, succeeded: 3 });
  await redis.lpush(keys.queue, part);
  await redis.lpush(keys.queue, '{"id":"last"}');
  await queue.result('last');
  await eventually(async () => expect(await redis.hvals(keys.load)).toEqual(['0']));
  expect(ran.filter((raw) => raw === part)).toHaveLength(2);
  expect(ran.filter((raw) => raw.includes('"id":"a/0"'))).toHaveLength(1);
  expect(await redis.llen(keys.queue)).toBe(0);
});
