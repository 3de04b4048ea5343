/** Batches: counted in the step that settles a part, whatever becomes of it, and followed by one task. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { deadHeader } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { setLimits } from '../../queue/limits/limits.ts';
import { moveQueues } from '../../queue/move/move.ts';
import { nested, openQueue, TaskCancelled, TaskFailed, type Queue } from '../../queue/queue.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { tendBatches } from '../../queue/workers/sweep.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { eventually } from '../support/eventually.ts';
import { startOldWorker, workAsOld } from '../support/old-worker.ts';
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

function open(keys: QueueKeys): Queue {
  return openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
}

interface Followed {
  readonly n?: number;
  readonly parts?: {
    readonly batch: string;
    readonly size: number;
    readonly succeeded: number;
    readonly failed: number;
    readonly cancelled: number;
    readonly results: string;
    readonly ids: string;
  };
}

/** Doubles `n`; of a `then` task, adds up what its parts left. */
function sums(keys: QueueKeys): (task: unknown) => Promise<unknown> {
  return async (task) => {
    const { n, parts } = task as Followed;
    if (!parts) return 2 * (n ?? 0);
    const ids = await redis.lrange(parts.ids, 0, -1);
    const values = await redis.hmget(keys.result, ...ids);
    return { ...parts, ids: ids.length, sum: values.reduce((sum, value) => sum + Number(value), 0) };
  };
}

const numbers = (count: number): { n: number }[] => Array.from({ length: count }, (_, n) => ({ n }));
const waiting = async (keys: QueueKeys): Promise<Record<string, unknown>[]> =>
  (await redis.lrange(keys.queue, 0, -1)).map((raw) => JSON.parse(raw) as Record<string, unknown>);

test('when all parts have ended, the task that follows is pushed once and finds their results', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await using _worker = startWorker(server, keys, { handler: sums(keys), concurrency: 4 });
  await using _other = startWorker(server, keys, { handler: sums(keys), concurrency: 4 });
  const batch = await queue.batch(numbers(2_500), { id: 'b', then: { kind: 'sum' } });
  expect(batch).toEqual({ id: 'b', size: 2_500, then: 'b:then' });
  const result = await queue.result('b:then', { as: 'json' });
  expect(result).toEqual({
    batch: 'b',
    size: 2_500,
    succeeded: 2_500,
    failed: 0,
    cancelled: 0,
    results: keys.result,
    ids: 2_500,
    sum: 2_499 * 2_500,
  });
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', left: 0, succeeded: 2_500 });
  const values: (string | undefined)[] = [];
  for await (const { id, value } of queue.batch.results('b')) {
    expect(id).toBe(`b:${values.length}`);
    values.push(value);
  }
  expect(values).toEqual(numbers(2_500).map(({ n }) => String(2 * n)));
  expect(await redis.keys(`${keys.batch('')}*`)).toEqual([keys.batch('b')]);
  expect(await redis.exists(keys.batchLeft('b'))).toBe(0);
});

test('plain clients push parts that name the size of their batch, and one of them the task that follows', async () => {
  const keys = freshKeys();
  const part = (n: number, more = {}): string =>
    JSON.stringify({ id: `p${n}`, n, batch: { id: 'plain', size: 3, ...more } });
  await redis.lpush(keys.queue, part(1, { then: { id: 'after', kind: 'sum' } }), part(2), part(3));
  await using queue = open(keys);
  await using _worker = startWorker(server, keys, { handler: sums(keys) });
  expect(await queue.result('after', { as: 'json' })).toMatchObject({
    batch: 'plain',
    size: 3,
    ids: 3,
    sum: 12,
  });
});

test('a part counts once, however often it is run', async () => {
  const keys = freshKeys();
  const part = (id: string): string => JSON.stringify({ id, batch: { id: 'twice', size: 2, then: 'after' } });
  await redis.lpush(keys.queue, part('a'), part('a'), part('a'));
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 10 });
  const mark = { id: 'twice', size: 2, then: { raw: 'after', id: 'after' } };
  const settleAll = async (held: typeof tasks, id: string): Promise<void> => {
    const results = held.map(({ receipt }) => ({ receipt, id, value: '1' }));
    const parts = [{ mark, results: held.map((_, i) => i), dead: [], cancelled: [], spawned: [] }];
    await worker.turn({ settled: { results, parts } });
  };
  await settleAll(tasks.slice(0, 2), 'a');
  await settleAll(tasks.slice(2), 'a');
  expect(await redis.llen(keys.queue)).toBe(0);
  await redis.lpush(keys.queue, part('b'));
  await settleAll((await worker.turn({ want: 1 })).tasks, 'b');
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['after']);
});

test('a turn whose reply is lost counts its parts once', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch(numbers(2), { id: 'lost', then: { kind: 'sum' } });
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 2 });
  const results = tasks.map(({ receipt }, i) => ({ receipt, id: `lost:${i}`, value: 'x' }));
  const parts = [{ mark: { id: 'lost' }, results: [0, 1], dead: [], cancelled: [], spawned: [] }];
  const request = worker.next({ settled: { results, parts } });
  await worker.send(request);
  await worker.send(request);
  expect(await waiting(keys)).toMatchObject([{ id: 'lost:then', parts: { succeeded: 2 } }]);
});

test('with `wait`, a batch waits for a retry of its dead letter', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  let broken = true;
  const handler = (task: unknown, context: TaskContext): unknown => {
    if (broken && context.id === 'w:3') throw Object.assign(new Error('broken'), { retry: false });
    return sums(keys)(task);
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
    await using queue = open(keys);
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
    expect(await waiting(keys)).toMatchObject([{ id: `${how}:then`, parts: { failed: 1, succeeded: 0 } }]);
  },
);

test('with `continue`, failed parts count as ended', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  const handler = (task: unknown): unknown => {
    if ((task as Followed).n === 2) throw Object.assign(new Error('broken'), { retry: false });
    return sums(keys)(task);
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
  await using queue = open(keys);
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

test('a batch is cancelled: what waits is not run, and who waits for the task that follows is told', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch(numbers(3_000), { id: 'gone', then: { kind: 'sum' } });
  expect(await queue.batch.cancel('gone')).toBe('cancelled');
  let runs = 0;
  await using _worker = startWorker(server, keys, { handler: () => void runs++ });
  await expect(queue.result('gone:then')).rejects.toThrow(TaskCancelled);
  expect(runs).toBe(0);
  expect(await queue.batch.show('gone')).toMatchObject({ state: 'cancelled', cancelled: 3_000, left: 0 });
  expect([await queue.batch.cancel('gone'), await queue.batch.cancel('nobody')]).toEqual(['over', 'unknown']);
});

test('batches inside of batches: the task that follows one is a part of the other', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await using _worker = startWorker(server, keys, { handler: sums(keys), concurrency: 4 });
  const inner = (from: number) => nested(numbers(from), { then: { kind: 'sum' } });
  const { size } = await queue.batch([{ n: 1 }, inner(3), inner(1_200)], {
    id: 'outer',
    then: { kind: 'sum' },
  });
  expect(size).toBe(3);
  expect(await queue.result('outer:then', { as: 'json' })).toMatchObject({
    batch: 'outer',
    succeeded: 3,
    ids: 3,
  });
  expect(await queue.result('outer:2:then', { as: 'json' })).toMatchObject({
    batch: 'outer:2',
    sum: 1_199 * 1_200,
  });
});

test('a cancelled batch does not end while parts of it are held by limits', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
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
  await using queue = open(keys);
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

test('a task adds tasks to its batch with its result; an attempt that fails adds none', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
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

test('parts that a plain worker ran are found and counted', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch(numbers(3), { id: 'old', then: { kind: 'sum' } });
  for (let raw = await redis.rpop(keys.queue); raw !== null; raw = await redis.rpop(keys.queue))
    await redis.hset(keys.result, (JSON.parse(raw) as { id: string }).id, 'done');
  await tendBatches(redis, keys, 3_600_000);
  expect(await redis.llen(keys.queue)).toBe(0);
  await tendBatches(redis, keys, 0);
  expect(await waiting(keys)).toMatchObject([{ id: 'old:then', parts: { succeeded: 3 } }]);
});

test('parts that workers of an earlier version ran are counted', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch(numbers(4), { id: 'v', then: { kind: 'sum' }, onFailure: 'continue' });
  const stop = new AbortController();
  const old = await startOldWorker(redis, keys, 'old');
  const work = workAsOld(
    old,
    ({ raw }) => ((JSON.parse(raw.toString()) as Followed).n === 3 ? { dead: 'no' } : { result: '1' }),
    stop.signal,
  );
  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(3));
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(1));
  await tendBatches(redis, keys, 0);
  stop.abort();
  await work;
  expect(await queue.batch.show('v')).toMatchObject({ state: 'ended', succeeded: 3, failed: 1 });
});

test('parts named by number are counted without their client, too', async () => {
  const keys = freshKeys();
  const part = (n: number): string =>
    JSON.stringify({ id: `g:${n}`, n, batch: { id: 'g', size: 3, then: 'after' } });
  await redis.hset(keys.result, 'g:0', '1', 'g:2', '1');
  await redis.lpush(keys.queue, part(1));
  await using queue = open(keys);
  await using _worker = startWorker(server, keys, { handler: () => 'done' });
  await queue.result('g:1');
  await tendBatches(redis, keys, 0);
  expect(await queue.result('after')).toBe('done');
});

const plain = (batch: object, more: object = {}): string => JSON.stringify({ id: 'p', ...more, batch });
test.for([
  [
    plain({ id: 'b', size: 0 }),
    /the size of batch "b" is the number of its parts, from 1 to 100000000: got 0/,
  ],
  [plain({ id: 'b', size: -3 }), /got -3/],
  [plain({ id: 'b', size: 1e12 }), /got 1000000000000/],
  [plain({ id: 'b', size: '3' }), /got "3"/],
  [plain({ id: 'b', size: 1.5 }), /got 1.5/],
  [plain({ id: '', size: 1 }), /the id of a batch is empty/],
  [plain({ id: 'é'.repeat(101), size: 1 }), /the id of a batch is too long: 202 bytes/],
  [
    plain({ id: 'b', size: 1 }, { id: 'x'.repeat(2_000) }),
    /the id of a part of batch "b" is too long: 2000 bytes/,
  ],
  [
    plain({ id: 'b', size: 1, then: '{"a":' }),
    /"then" of batch "b" begins like a JSON object and does not parse/,
  ],
  [plain({ id: 'b', size: 1, then: '' }), /"then" of batch "b" is an empty text/],
  [
    plain({ id: 'b', size: 1, then: [1] }),
    /"then" of batch "b" is a task, a JSON object or a text: got \[1\]/,
  ],
  [plain({ id: 'b', size: 1, then: { parts: 1 } }), /has a field "parts"/],
  [
    plain({ id: 'b', size: 1, onFailure: 'retry' }),
    /onFailure of batch "b" is one of wait, cancel, continue: got "retry"/,
  ],
] as const)('a part that cannot be is a dead letter that says why: %s', async ([raw, why]) => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, raw);
  await using queue = open(keys);
  let runs = 0;
  await using _worker = startWorker(server, keys, { handler: () => void runs++ });
  await eventually(async () => expect((await queue.dead())[0]?.error).toMatch(why));
  expect(runs).toBe(0);
  expect(await redis.exists(keys.batches)).toBe(0);
});

test('a part that contradicts the others is a dead letter, and so is one beyond the size', async () => {
  const keys = freshKeys();
  const part = (id: string, batch: object): string =>
    JSON.stringify({ id, batch: { id: 'b', size: 2, ...batch } });
  await using queue = open(keys);
  await using _worker = startWorker(server, keys, { handler: () => 'done' });
  const push = async (...raws: string[]): Promise<void> => void (await redis.lpush(keys.queue, ...raws));
  await push(part('a', { then: 'after' }));
  await queue.result('a');
  await push(part('size', { size: 3 }), part('then', { then: 'other' }));
  await expect(queue.result('size')).rejects.toThrow(
    /other parts say that it has 2 parts, and this one says 3/,
  );
  await expect(queue.result('then')).rejects.toThrow(/other parts name another "then" task/);
  await push(part('b', {}));
  expect(await queue.result('after')).toBe('done');
  await push(part('c', {}), part('a', {}));
  await expect(queue.result('c')).rejects.toThrow(/all of its 2 parts have ended already/);
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', size: 2, succeeded: 2 });
});

test('a field `batch` that names no batch is the business of the task', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await using _worker = startWorker(server, keys, { handler: () => 'done' });
  const fields = [5, 'x', null, [], { id: 7, size: 3 }, { size: 3 }, { id: 'unknown' }];
  const ids = await queue.enqueueMany(fields.map((batch) => ({ batch })));
  expect(await Promise.all(ids.map((id) => queue.result(id)))).toEqual(fields.map(() => 'done'));
  expect(await redis.exists(keys.batches)).toBe(0);
});

test('a batch is refused where it begins', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch([{}], { id: 'taken' });
  await expect(queue.batch([{}], { id: 'taken' })).rejects.toThrow(/a batch "taken" exists already/);
  await expect(queue.batch([], { id: 'empty' })).rejects.toThrow(/batch "empty" has no parts/);
  await expect(queue.batch([{ batch: 1 }], { id: 'field' })).rejects.toThrow(
    /has a field "batch" already \(1\)/,
  );
  await expect(queue.batch(['text'], { id: 'text' })).rejects.toThrow(/is a JSON object, .* got "text"/);
  const inner = [nested([{}], { id: 'taken', then: {} })];
  await expect(queue.batch(inner, { id: 'outer' })).rejects.toThrow(/a batch "taken" exists already/);
  expect(await queue.batch.show('outer')).toMatchObject({
    state: 'cancelled',
    why: expect.stringContaining('failed to add') as unknown,
  });
});

test('tasks that throw halfway cancel what was added', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
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

test('of several parts with one id, one is added; numbers of any length survive', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  const lines = [
    '{"id":12345678901234567890}',
    '{"id": 12345678901234567890, "x": 1}',
    ' { } ',
    '{"id":"same"}',
    '{"id":"same"}',
  ];
  expect(await queue.batch(lines, { id: 'd', then: 'after' })).toMatchObject({ size: 3, then: 'after' });
  expect((await redis.lrange(keys.queue, 0, -1)).toReversed()).toEqual([
    '{"id":12345678901234567890,"batch":{"id":"d"}}',
    ' { "id":"d:2","batch":{"id":"d"}}',
    '{"id":"same","batch":{"id":"d"}}',
  ]);
  await using _worker = startWorker(server, keys, { handler: () => 'done' });
  expect(await queue.result('after')).toBe('done');
});

test('a batch is not moved, and none begins in a queue that is', async () => {
  const keys = freshKeys();
  await using queue = open(keys);
  await queue.batch([{}], { id: 'open' });
  const elsewhere = freshKeys();
  const plans = [{ from: keys, to: [elsewhere] as const }];
  const move = moveQueues({ from: server.address, to: server.address, plans });
  await expect(move).rejects.toThrow(/has open batches \(open\), whose parts are counted there/);
  expect(await redis.exists(keys.move)).toBe(0);
  await redis.hset(keys.move, 'id', 'm');
  await expect(queue.batch([{}], { id: 'late' })).rejects.toThrow(
    /cannot begin in a queue that is being moved/,
  );
});

test('a part in a partition of a queue that names the size is a dead letter that says why', async () => {
  const keys = freshKeys();
  const [, second] = partitionKeys(keys.queue, keys.result, 2);
  await redis.lpush(second?.queue ?? '', plain({ id: 'b', size: 1 }));
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result, partitions: 2 });
  await using _worker = startWorker(server, keys, { partitions: 2, handler: () => 'done' });
  await eventually(async () =>
    expect((await queue.dead())[0]?.error).toMatch(
      /names the size of batch "b", and ".*" is a partition of a queue, which has some of its parts only/,
    ),
  );
});
