/** What cannot be a batch or a part of one is refused where it is written, in words. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { moveQueues } from '../../queue/move/move.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { nested, openQueue } from '../../queue/queue.ts';
import { openAt } from '../support/batches.ts';
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
  [
    plain({ id: 'b', size: 1, onfailure: 'continue' }),
    /a part of batch "b" has "onfailure" in its field "batch", which means nothing: it may have id, size, then, onFailure/,
  ],
  [plain({ id: 'b', sise: 1, then: 'after' }), /has "sise" in its field "batch", which means nothing/],
] as const)('a part that cannot be is a dead letter that says why: %s', async ([raw, why]) => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, raw);
  await using queue = openAt(server, keys);
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
  await using queue = openAt(server, keys);
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
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, { handler: () => 'done' });
  const fields = [5, 'x', null, [], { id: 7, size: 3 }, { size: 3 }, { id: 'unknown', kind: 'x' }];
  const ids = await queue.enqueueMany(fields.map((batch) => ({ batch })));
  expect(await Promise.all(ids.map((id) => queue.result(id)))).toEqual(fields.map(() => 'done'));
  expect(await redis.exists(keys.batches)).toBe(0);
});

test('a batch is refused where it begins', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
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

test('a batch is not moved, and none begins in a queue that is', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
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
