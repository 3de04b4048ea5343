/** Batches with parts, ids and `then` tasks that nobody would write on purpose, or exactly on purpose. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { partMarkOf } from '../../queue/batch-mark.ts';
import { addBatch } from '../../queue/batches/add.ts';
import { BatchExists } from '../../queue/batches/batch-errors.ts';
import type { Part } from '../../queue/parts/part.ts';
import { nested, type NestedBatch, type Queue } from '../../queue/queue.ts';
import { defineScripts, script } from '../../queue/scripts/scripts.ts';
import { parseTask } from '../../queue/task.ts';
import { pack } from '../../queue/workers/pack.ts';
import { tendBatches } from '../../queue/workers/sweep.ts';
import { settledOf } from '../../queue/outcomes/settled.ts';
import { openAt, over, workNoting } from '../support/batches.ts';
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

describe('the task that follows', () => {
  const numbers = '"big":12345678901234567890,"one":1.0,"huge":1e400,"zero":-0,"small":1E-7';

  test.each([
    [`{${numbers}}`, `{"id":"b:then",${numbers},"parts":`],
    [`{"id":12345678901234567890}`, '{"id":12345678901234567890,"parts":'],
    ['{"id":null,"k":1}', '{"id":"b:then","k":1,"parts":'],
    [`{"id":1e400}`, '{"id":"b:then","parts":'],
    ['{ "deep" : [[{"n":1.50}]] }', '{"id":"b:then","deep":[[{"n":1.50}]],"parts":'],
    ['" {\\"n\\": 1.0} "', '{"id":"b:then","n":1.0,"parts":'],
  ])('of a plain client, %s', async (then, expected) => {
    const keys = freshKeys();
    const ran: string[] = [];
    await redis.lpush(keys.queue, `{"id":"a","batch":{"then":1,"id":"b","size":1,"then":${then}}}`);
    await using _worker = workNoting(server, keys, ran);
    await eventually(() => expect(ran.length).toBe(2));
    expect(ran[1]?.slice(0, expected.length)).toBe(expected);
  });

  test('given to the library as text or bytes', async () => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    const ran: string[] = [];
    await using _worker = workNoting(server, keys, ran);
    for (const [id, then] of Object.entries({ a: `{${numbers}}`, b: Buffer.from(`{${numbers}}`) }))
      await queue.batch([{}], { id, then });
    await eventually(() => {
      expect(ran.find((raw) => raw.startsWith(`{"id":"a:then",${numbers},"parts"`))).toBeDefined();
      expect(ran.find((raw) => raw.startsWith(`{"id":"b:then",${numbers},"parts"`))).toBeDefined();
    });
  });

  test.each([
    [
      'a task that is nested too deeply',
      `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`,
      /nested too deeply/,
    ],
    ['a part of the same batch', { batch: { id: 'b' } }, /is a part of that batch itself/],
    ['a Map', new Map([['kind', 'merge']]), /a task cannot be Map/],
    ['bytes that are no text', Buffer.of(0xff), /a task cannot be Buffer/],
  ])('%s is refused', async (_, then, why) => {
    await using queue = openAt(server, freshKeys());
    await expect(queue.batch([{}], { id: 'b', then })).rejects.toThrow(why);
  });

  test('a message shows a part of what it is about', async () => {
    const keys = freshKeys();
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
    await redis.lpush(
      keys.queue,
      ...[deep, `"${'y'.repeat(100_000)}"`].map((size) => `{"id":"a","batch":{"id":"b","size":${size}}}`),
    );
    await using _worker = workNoting(server, keys, []);
    await eventually(async () => {
      const letters = await redis.lrange(keys.dead, 0, -1);
      const headers = letters.map((letter) => letter.split('\n')[0] ?? '');
      expect(
        headers.filter((header) => /is the number of its parts/.test(header) && header.length < 500).length,
      ).toBe(2);
    });
  });
});

test.each(['', 'x', 'nan', 'inf', '1e300', '-1e300', '-5', '0.5'])(
  'counts of a batch that something else has set to %j: it is looked after, ends, and its `then` is JSON',
  async (value) => {
    const keys = freshKeys();
    const ran: string[] = [];
    const part = (id: string): string => JSON.stringify({ id, batch: { id: 'b', size: 2, then: { k: 1 } } });
    await using queue = openAt(server, keys);
    await using _worker = workNoting(server, keys, ran);
    await redis.lpush(keys.queue, part('a'));
    await queue.result('a');
    const [done, failed, cancelled, looked, waited] = Array<string>(5).fill(value);
    await redis.hset(keys.batch('b'), { done, failed, cancelled, looked, waited, at: 0 });
    await tendBatches(redis, keys, 0);
    await redis.lpush(keys.queue, part('b'));
    await queue.result('b:then');
    const { parts } = JSON.parse(ran.at(-1) ?? '') as { readonly parts: Record<string, unknown> };
    expect([parts['succeeded'], parts['failed'], parts['cancelled']].every(Number.isSafeInteger)).toBe(true);
  },
);

test('of parts with one id, one is added, however far apart they are', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const ran: string[] = [];
  await using _worker = workNoting(server, keys, ran);
  async function* parts() {
    yield { id: 'a' };
    for (let n = 0; n < 1_000; n++) yield {};
    await eventually(async () => expect(await redis.hexists(keys.result, 'a')).toBe(1));
    yield* [{ id: 'a' }, { id: 'd:7' }];
  }
  expect(await queue.batch(parts(), { id: 'd', then: {} })).toMatchObject({ size: 1_001 });
  await over(queue, 'd');
  expect(await queue.batch.show('d')).toMatchObject({ state: 'ended', succeeded: 1_001 });
});

test('no turn counts more parts than a batch has', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const part = (id: string, more: object = {}): string =>
    JSON.stringify({ id, batch: { id: 'b', size: 2, ...more } });
  await redis.lpush(keys.queue, part('x', { then: { kind: 'merge' } }), part('y'), part('z'));
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 5 });
  const finished = tasks.map((delivery) => {
    const { id, value } = parseTask(delivery.raw);
    const batch = partMarkOf(value, id, delivery);
    if (!batch) throw new Error(`${String(id)} is no part`);
    const outcome = { kind: 'result', value: 'done' } as const;
    return { delivery, id, attempt: 1, serviceMs: 1, outcome, batch };
  });
  await worker.turn({ settled: settledOf(finished, worker.id) });
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', size: 2, succeeded: 2 });
  expect(await redis.lrange(keys.dead, 0, -1)).toEqual([
    expect.stringContaining('all of its 2 parts have ended already'),
  ]);
});

test('a batch inside of another one that cannot begin leaves no part that would be waited for', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await using _worker = workNoting(server, keys, []);
  for (const [id, inner] of Object.entries({ empty: [], wrong: ['text'] })) {
    await expect(queue.batch([{}, nested(inner, { then: {} })], { id, then: {} })).rejects.toThrow();
    expect(await over(queue, id)).toMatchObject({ state: 'cancelled', left: 0 });
  }
});

describe('a batch inside of another one that ends while its parts are added', () => {
  /** More than a chunk, and the rest when that batch is over. */
  async function* parts(queue: Queue, id: string) {
    for (let n = 0; n < 1_000; n++) yield { fails: n === 0 };
    await over(queue, id);
    for (let n = 0; n < 2_000; n++) yield {};
  }
  const fail = (task: { readonly fails?: boolean }): string => {
    if (task.fails) throw Object.assign(new Error('no'), { retry: false });
    return 'ok';
  };

  test('is a failed part for the rule of the outer one', async () => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    await using _worker = startWorker(server, keys, {
      handler: (task) => fail(task as object),
      concurrency: 9,
    });
    const inner = (): NestedBatch =>
      nested(parts(queue, 'inner'), { id: 'inner', then: {}, onFailure: 'cancel' });
    const outer = { id: 'outer', then: {}, onFailure: 'continue' } as const;
    expect(await queue.batch([{}, inner(), {}], outer)).toMatchObject({ size: 3 });
    expect(await over(queue, 'outer')).toMatchObject({ state: 'ended', succeeded: 2, failed: 1 });
  });

  test('because the outer one is cancelled: no more is added to either', async () => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    await using _worker = startWorker(server, keys, { handler: () => 'ok', concurrency: 9 });
    async function* outer() {
      yield nested(parts(queue, 'inner'), { id: 'inner', then: {} });
      throw new Error('the outer one was cancelled');
    }
    const adding = queue.batch(outer(), { id: 'outer', then: {} });
    const ended = expect(adding).rejects.toMatchObject({ name: 'BatchCancelled', id: 'outer' });
    await eventually(async () => expect(await queue.batch.show('inner')).toBeDefined());
    await queue.batch.cancel('outer');
    await ended;
    expect(await over(queue, 'outer')).toMatchObject({ state: 'cancelled', left: 0 });
  });
});

test.each(['library', 'plain'])(
  'a cancelled batch whose parts are nowhere is over when the queue has been empty for long (%s)',
  async (how) => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    if (how === 'library') {
      await queue.batch([{}, {}], { id: 'b', then: {} });
      await redis.del(keys.queue);
    } else {
      await redis.lpush(keys.queue, JSON.stringify({ id: 'a', batch: { id: 'b', size: 2, then: {} } }));
      const worker = await startHandWorker(redis, keys);
      const { tasks } = await worker.turn({ want: 1 });
      const [task] = tasks;
      if (!task) throw new Error('it was not taken');
      const mark = { id: 'b', size: 2, then: { id: 'b:then', raw: '{"id":"b:then"}' } };
      const parts = [{ mark, results: [0], dead: [], cancelled: [], spawned: [] }];
      await worker.turn({ settled: { results: [{ receipt: task.receipt, id: 'a', value: '' }], parts } });
    }
    await queue.batch.cancel('b');
    await redis.lpush(keys.queue, 'another');
    await tendBatches(redis, keys, 0);
    expect(await queue.batch.show('b')).toMatchObject({ state: 'cancelling' });
    await redis.del(keys.queue);
    await tendBatches(redis, keys, 0);
    expect(await queue.batch.show('b')).toMatchObject({ state: 'cancelled', left: 0 });
  },
);

test('with results on another server, a batch whose id is taken deletes none', async () => {
  const keys = freshKeys();
  const own = defineScripts(server.client());
  const resultHash = { redis: server.client(), key: keys.result };
  const part = {
    own: keys,
    redis: own,
    resultHash,
    confirmed: async () => Promise.resolve(),
  } as unknown as Part;
  const add = async (): Promise<unknown> =>
    addBatch(
      { parts: { all: [part], current: [part] }, resultName: keys.result, stamp: (task) => task },
      [{ n: 1 }],
      { id: 'b' },
    );
  await add();
  await redis.hset(keys.result, 'b:0', 'done');
  await expect(add()).rejects.toBeInstanceOf(BatchExists);
  expect(await redis.hget(keys.result, 'b:0')).toBe('done');
});

test('a client that gives an id in two chunks pushes it once, also where tasks have added parts', async () => {
  const keys = freshKeys();
  const { queue, result, errors, cancelled, stats } = keys;
  const own = defineScripts(server.client());
  const about = pack({ policy: 'wait' });
  const send = async (chunk: number): Promise<unknown> =>
    script(own, 'batch-add')(
      queue,
      result,
      errors,
      cancelled,
      stats,
      'b',
      'me',
      chunk,
      0,
      about,
      1,
      1,
      '',
      'a',
      'a',
    );
  expect(await send(1)).toEqual([1, 1, 0]);
  await own.sadd(keys.batchKnown('b'), 'another');
  expect(await send(2)).toEqual([1, 0, 0]);
});

test('a part whose id is no Unicode is dropped and requeued like any other', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  const failing = (): never => {
    throw Object.assign(new Error('no'), { retry: false });
  };
  await using _worker = startWorker(server, keys, { handler: failing });
  // as of a file name that is no UTF-8
  await queue.batch([{ id: 'caf\udce9' }, { id: '\ud83d' }], { id: 'b', then: {} });
  const waits = async (count: number): Promise<void> =>
    eventually(async () =>
      expect(await queue.batch.show('b')).toMatchObject({ state: 'running', waiting: count }),
    );
  await waits(2);
  expect(await queue.dead.requeue({ ids: ['\ud83d'] })).toBe(1);
  await eventually(async () => expect(Number(await redis.hget(keys.stats, 'failed'))).toBe(3));
  await waits(2);
  expect(await queue.dead.drop('all')).toBe(2);
  expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', failed: 2 });
});
