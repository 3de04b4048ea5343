/** The queue library over partitions: real Redis, real workers. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRedis } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { partitionKeys, partitionOf } from '../../queue/partitions.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { createElsewhere, type OtherHashes } from '../../queue/results/elsewhere.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker, type TestWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const COUNT = 4;

interface Scene {
  readonly plain: QueueKeys;
  readonly lists: readonly QueueKeys[];
  readonly queue: Queue;
}

function scene(): Scene & AsyncDisposable {
  const plain = freshKeys();
  const { queue: name, result } = plain;
  const queue = openQueue({ redis: server.address, queue: name, result, partitions: COUNT });
  const lists = partitionKeys(name, result, COUNT);
  return { plain, lists, queue, [Symbol.asyncDispose]: () => queue[Symbol.asyncDispose]() };
}

const workerOf = ({ plain }: Scene, handler: (task: unknown) => unknown): TestWorker =>
  startWorker(server, plain, { handler: async (task) => String(await handler(task)), partitions: COUNT });

const homeOf = ({ lists }: Scene, id: string): QueueKeys => lists[partitionOf(id, COUNT)] as QueueKeys;
const awayFrom = ({ lists }: Scene, id: string): QueueKeys =>
  lists[(partitionOf(id, COUNT) + 1) % COUNT] as QueueKeys;

test('one partition is a queue of plain names', async () => {
  const { queue: name, result } = freshKeys();
  await using queue = openQueue({ redis: server.address, queue: name, result, partitions: 1 });
  await queue.enqueueMany(['a', 'b']);
  expect(await redis.lrange(name, 0, -1)).toEqual(['b', 'a']);
  expect(queue.partitions.map((keys) => keys.queue)).toEqual([name]);
});

test('tasks go where their ids say, in order within a partition, and each result comes back', async () => {
  await using own = scene();
  const ids = Array.from({ length: 3_000 }, (_, n) => `task-${n}`);
  expect(await own.queue.enqueueMany(ids)).toEqual(ids);
  for (const [i, { queue }] of own.lists.entries())
    expect(await redis.lrange(queue, 0, -1)).toEqual(
      ids.filter((id) => partitionOf(id, COUNT) === i).toReversed(),
    );
  const results = Promise.all(ids.map((id) => own.queue.result(id)));
  await using worker = workerOf(own, (task) => `done ${String(task)}`);
  await worker.ready();
  expect(await results).toEqual(ids.map((id) => `done ${id}`));
  expect(await own.queue.inspect()).toMatchObject({
    waiting: 0,
    inFlight: 0,
    busy: 0,
    counters: { completed: ids.length },
    workerList: [{ id: worker.id, inFlight: 0 }],
  });
});

test('a task that a plain client has pushed elsewhere: result, failure, progress, cancellation', async () => {
  await using own = scene();
  const begun = Promise.withResolvers<undefined>();
  const ended = Promise.withResolvers<undefined>();
  await using worker = startWorker(server, own.plain, {
    partitions: COUNT,
    concurrency: 4,
    handler: async (task, { progress, signal }) => {
      if (task === 'bad') throw new Error('no');
      if (task !== 'long') return 'ok';
      progress('half');
      begun.resolve(undefined);
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      ended.resolve(undefined);
      return 'cut';
    },
  });
  await worker.ready();
  for (const id of ['good', 'bad', 'long']) await redis.lpush(awayFrom(own, id).queue, id);
  expect(await own.queue.result('good')).toBe('ok');
  await expect(own.queue.result('bad')).rejects.toThrow('no');
  await begun.promise;
  await eventually(async () => expect(await own.queue.progress('long')).toBe('half'));
  expect(await own.queue.cancel('long')).toBe('marked');
  await ended.promise;
  await expect(own.queue.result('long')).rejects.toThrow('was cancelled');
  expect(await own.queue.cancel('good')).toBe('finished');
});

test('a partition whose server does not answer does not keep results of others from being found', async () => {
  await using proxy = await startTcpProxy(Number(new URL(server.url).port));
  const away = openRedis({ url: `redis://127.0.0.1:${proxy.port}` }, { onError: () => undefined });
  using elsewhere = createElsewhere();
  const keys = freshKeys();
  const place = (client: Redis): OtherHashes => ({
    values: { redis: client, key: keys.result },
    errors: { redis: client, key: keys.errors },
  });
  await away.ping();
  proxy.stall();
  const hashes = [place(away), place(redis)];
  for (const id of ['first', 'second']) {
    await redis.hset(keys.result, id, `result of ${id}`);
    const found = await new Promise((settle) => void elsewhere.add({ id, hashes, settle }));
    expect(String(found)).toBe(`result of ${id}`);
  }
  away.disconnect();
});

test('a mark is where the task is: none waits elsewhere for a later one of the same id', async () => {
  await using own = scene();
  const away = awayFrom(own, 'x');
  const marks = (): Promise<number[]> =>
    Promise.all(own.lists.map(({ cancelled }) => redis.zcard(cancelled)));
  const expected = (at: QueueKeys): number[] => own.lists.map(({ queue }) => (queue === at.queue ? 1 : 0));
  await redis.lpush(away.queue, 'other', JSON.stringify({ id: 'x' }), 'x-1');
  expect(await own.queue.cancel('x')).toBe('marked');
  expect(await marks()).toEqual(expected(away));
  await redis.del(away.queue, away.cancelled);
  // of our own tasks, nothing else is looked at
  await redis.lpush(away.queue, 'y');
  await own.queue.enqueue('y');
  expect(await own.queue.cancel('y')).toBe('marked');
  expect(await marks()).toEqual(expected(homeOf(own, 'y')));
});

test.each<[what: string, id: string, task: string, other: (n: number) => string]>([
  ['a number that is part of all others', '1', '{"id": 1}', (n) => `{"at":1,"id":1${n}}`],
  ['characters that another language escapes', 'caf\u00e9 a/b', String.raw`{"id":"caf\u00e9 a\/b"}`, String],
  ['quotes', 'say "x"', String.raw`{"x":{"id":2},"id":"say \"x\""}`, String],
  ['a name of the field that is escaped', 'x1', String.raw`{"\u0069d":"x1"}`, String],
])('a task to be cancelled is found elsewhere by its id: %s', async (_what, id, task, other) => {
  await using own = scene();
  const away = awayFrom(own, id);
  await redis.lpush(away.queue, ...Array.from({ length: 50 }, (_, n) => other(n)), task);
  expect(await own.queue.cancel(id)).toBe('marked');
  expect(await redis.zrange(away.cancelled, '0', '-1')).toEqual([id]);
});

test('pause, resume and dead letters are those of all partitions', async () => {
  await using own = scene();
  await own.queue.pause('for a while');
  const view = await own.queue.inspect();
  expect([view.paused, view.pause?.reason]).toEqual([true, 'for a while']);
  expect([await own.queue.resume(), await own.queue.resume()]).toEqual([true, false]);
  let works = false;
  await using worker = workerOf(own, () => {
    if (!works) throw new Error('not yet');
    return 'ok';
  });
  await worker.ready();
  const ids = Array.from({ length: 12 }, (_, n) => `task-${n}`);
  await own.queue.enqueueMany(ids);
  await Promise.allSettled(ids.map((id) => own.queue.result(id)));
  const newest = await own.queue.dead(5);
  expect(newest).toHaveLength(5);
  expect(newest.map(({ at }) => at)).toEqual(newest.map(({ at }) => at).toSorted((a, b) => b - a));
  expect((await own.queue.dead.find('all')).map(({ raw }) => raw.toString()).toSorted()).toEqual(
    ids.toSorted(),
  );
  expect(await own.queue.dead.drop({ ids: ['task-3'] })).toBe(1);
  works = true;
  expect(await own.queue.dead.requeue('all')).toBe(11);
  expect(await own.queue.result('task-4')).toBe('ok');
});

test('what cannot be', () => {
  expect(() => openQueue({ partitions: 0 })).toThrow('a queue has 1 to 256 partitions: got 0');
  expect(() => openQueue({ queue: '{eu}tiles', partitions: 2 })).toThrow('has a hash tag');
});
