/** Parts that fail, and batches that are cancelled. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { deadHeader } from '../../queue/dead-letter-format.ts';
import { setLimits } from '../../queue/limits/limits.ts';
import { nested, TaskCancelled, TaskFailed } from '../../queue/queue.ts';
import { tendBatches } from '../../queue/workers/sweep.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { numbers, openAt, sums, waiting, type Followed } from '../support/batches.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, startHandWorker } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

test('with `wait`, a batch waits for a retry of its dead letter', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  let broken = true;
  const handler = (task: unknown, context: TaskContext): unknown => {
    if (broken && context.id === 'w:3') throw Object.assign(new Error('broken'), { retry: false });
    return sums(redis, keys)(task);
  };
  await using _worker = startWorker(server, keys, { handler });
  await queue.batch(numbers(5), { id: 'w', then: { kind: 'sum' } });
  await eventually(async () =>
    expect(await queue.batch.show('w')).toMatchObject({
      state: 'running',
      succeeded: 4,
      left: 1,
      waiting: 1,
    }),
  );
  broken = false;
  expect(await queue.dead.requeue('all')).toBe(1);
  expect(await queue.result('w:then', { as: 'json' })).toMatchObject({ succeeded: 5, failed: 0, sum: 20 });
  expect(await queue.batch.show('w')).toMatchObject({ state: 'ended', waiting: 0 });
});

test.for(['letter', 'limit'] as const)(
  'with `wait`, a dead letter that is dropped has failed (%s)',
  async (how) => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    await queue.batch(numbers(1), { id: how, then: { kind: 'sum' } });
    const worker = await startHandWorker(redis, keys);
    const die = async (id: string, batch?: string): Promise<void> => {
      const [task] = (await worker.turn({ want: 1 })).tasks;
      const header = deadHeader({ error: 'no', attempts: 1, worker: 'w', id, ...(batch && { batch }) });
      const dead = [{ receipt: task?.receipt ?? '', id, header }];
      const parts = batch
        ? [{ mark: { id: batch }, results: [], dead: [0], cancelled: [], spawned: [] }]
        : undefined;
      await worker.turn({ settled: { dead, ...(parts && { parts }) } });
    };
    await die(`${how}:0`, how);
    expect(await queue.batch.show(how)).toMatchObject({ state: 'running', waiting: 1 });
    if (how === 'letter') await queue.dead.drop('all');
    else {
      await redis.hset(keys.worker(worker.id), 'deadMax', 1);
      await redis.lpush(keys.queue, '{"id":"other"}');
      await die('other');
    }
    expect(await queue.batch.show(how)).toMatchObject({ state: 'ended', failed: 1, left: 0 });
    expect(await waiting(redis, keys)).toMatchObject([
      { id: `${how}:then`, parts: { failed: 1, succeeded: 0 } },
    ]);
  },
);

test('with `continue`, failed parts count as ended', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const handler = (task: unknown): unknown => {
    if ((task as Followed).n === 2) throw Object.assign(new Error('broken'), { retry: false });
    return sums(redis, keys)(task);
  };
  await using _worker = startWorker(server, keys, { handler, concurrency: 3 });
  const { then } = await queue.batch(numbers(4), { id: 'c', then: { kind: 'sum' }, onFailure: 'continue' });
  expect(await queue.result(then ?? '', { as: 'json' })).toMatchObject({ succeeded: 3, failed: 1, sum: 8 });
  const failed: unknown[] = [];
  for await (const part of queue.batch.results('c')) if (part.error !== undefined) failed.push(part);
  expect(failed).toEqual([{ id: 'c:2', value: undefined, error: 'not to be retried: broken' }]);
});

test('with `cancel`, the rest is cancelled, and the task that follows is a dead letter that can be requeued', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const aborted: unknown[] = [];
  const handler = async (task: unknown, { signal }: TaskContext): Promise<unknown> => {
    const { n, parts } = task as Followed;
    if (parts) return 'followed';
    if (n === 0) throw Object.assign(new Error('broken'), { retry: false });
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    aborted.push(signal.reason);
    return 'late';
  };
  const { then } = await queue.batch(numbers(50), { id: 'x', then: { kind: 'sum' }, onFailure: 'cancel' });
  await using _worker = startWorker(server, keys, { handler, concurrency: 2 });
  await expect(queue.result(then ?? '')).rejects.toThrow(
    /batch "x" failed.*part x:0: not to be retried: broken/,
  );
  expect(await queue.batch.show('x')).toMatchObject({ state: 'failed', failed: 1, cancelled: 49, left: 0 });
  await expect(queue.result('x:40')).rejects.toThrow(TaskCancelled);
  expect(aborted.every((reason) => reason instanceof TaskCancelled)).toBe(true);
  expect(await redis.zcard(keys.cancelled)).toBe(0);
  expect(await queue.dead.requeue({ ids: ['x:then'] })).toBe(1);
  expect(await queue.result('x:then')).toBe('followed');
});

test('a part that fails when all have been sent is no error of who adds them', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, {
    handler: (task) => {
      if ((task as { fails?: true }).fails) throw Object.assign(new Error('no luck'), { retry: false });
    },
  });
  // as many as are sent at a time
  async function* parts() {
    yield* [{ fails: true }, ...numbers(999)];
    await eventually(async () => expect(await queue.batch.show('b')).toMatchObject({ failed: 1 }));
  }
  const batch = await queue.batch(parts(), { id: 'b', then: { k: 1 }, onFailure: 'cancel' });
  expect(batch).toEqual({ id: 'b', size: 1_000, then: 'b:then' });
  await expect(queue.result('b:then')).rejects.toThrow(/batch "b" failed.*b:0.*no luck/);
});

test('a batch is cancelled: what waits is not run, and who waits for the task that follows is told', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await queue.batch(numbers(3_000), { id: 'gone', then: { kind: 'sum' } });
  expect(await queue.batch.cancel('gone')).toBe('cancelled');
  let runs = 0;
  await using _worker = startWorker(server, keys, { handler: () => void runs++ });
  await expect(queue.result('gone:then')).rejects.toThrow(TaskCancelled);
  expect(runs).toBe(0);
  expect(await queue.batch.show('gone')).toMatchObject({ state: 'cancelled', cancelled: 3_000, left: 0 });
  expect([await queue.batch.cancel('gone'), await queue.batch.cancel('nobody')]).toEqual(['over', 'unknown']);
});

test('a cancelled batch does not end while parts of it are held by limits', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await setLimits(redis, keys, { perKey: { field: 'customer', concurrency: 1 } }, 'test');
  await queue.batch(
    [1, 2, 3].map((n) => ({ customer: 'a', n })),
    { id: 'h', then: 'then' },
  );
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 5 });
  expect(tasks).toHaveLength(1);
  expect(await queue.batch.cancel('h')).toBe('cancelled');
  await worker.turn({ settled: { released: tasks.map(({ receipt }) => receipt) } });
  await tendBatches(redis, keys, 0);
  expect(await queue.batch.show('h')).toMatchObject({ state: 'cancelling', left: 3 });
});

test('a batch that is cancelled cancels those inside of it; one that fails fails the part that it is', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const parts = [
    nested(numbers(3), { then: { kind: 'sum' } }),
    nested(numbers(2), { then: { kind: 'sum' }, onFailure: 'cancel' }),
  ];
  await queue.batch(parts, { id: 'o', then: { kind: 'sum' }, onFailure: 'cancel' });
  let runs = 0;
  const handler = async (_: unknown, { signal }: TaskContext): Promise<void> => {
    if (runs++ === 0) throw Object.assign(new Error('broken'), { retry: false });
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  };
  // the last one first: one of the second inner batch fails
  const tasks = await redis.lrange(keys.queue, 0, -1);
  await redis.del(keys.queue);
  await redis.lpush(keys.queue, ...tasks);
  await using _worker = startWorker(server, keys, { handler });
  await expect(queue.result('o:then')).rejects.toThrow(TaskFailed);
  expect(await queue.batch.show('o:0')).toMatchObject({ state: 'cancelled', cancelled: 3 });
  expect(await queue.batch.show('o:1')).toMatchObject({ state: 'failed', failed: 1, cancelled: 1 });
  expect(await queue.batch.show('o')).toMatchObject({ state: 'failed', failed: 1, cancelled: 1 });
});

test('tasks that throw halfway cancel what was added', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  function* tasks(): Generator<object> {
    yield* numbers(2_500);
    throw new Error('the disk is gone');
  }
  await expect(queue.batch(tasks(), { id: 'half', then: { kind: 'sum' } })).rejects.toThrow(
    'the disk is gone',
  );
  let runs = 0;
  await using _worker = startWorker(server, keys, { handler: () => void runs++ });
  await eventually(async () =>
    expect(await queue.batch.show('half')).toMatchObject({ state: 'cancelled', size: 2_000, left: 0 }),
  );
  expect(runs).toBe(0);
});

test('of dead letters that a batch waits for, those that were dropped do not count', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, {
    deadLetters: { max: 1, maxAgeMs: undefined },
    retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1, jitter: false } },
    handler: () => {
      throw new Error('no');
    },
  });
  await queue.batch([{}, {}, {}], { id: 'b', then: {} });
  await eventually(async () =>
    expect(await queue.batch.show('b')).toMatchObject({ failed: 2, waiting: 1, left: 1 }),
  );
});
