/** Waiting for results on a real Redis: quick, cheap, and it ends in every way that it may. */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { deadHeader } from '../../queue/dead-letter-format.ts';
import { openQueue, ResultTimeout, TaskFailed } from '../../queue/queue.ts';
import { SAFETY_MS } from '../../queue/results/read-pace.ts';
import { WrongKeyType } from '../../queue/pool/sample.ts';
import { eventually, sooner } from '../support/eventually.ts';
import { calls, startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';

const waitingFor = (redis: Redis, lookups = 1): Promise<void> =>
  eventually(async () => expect(await calls(redis, 'hmget')).toBeGreaterThanOrEqual(2 * lookups));

test('a result that is there, and one that comes: as text, bytes and JSON', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  await redis.hset('result', 'a', '{"n":1}');
  expect(await queue.result('a')).toBe('{"n":1}');
  expect(await queue.result('a', { as: 'json' })).toEqual({ n: 1 });
  const id = Buffer.from([0xff, 0x00]);
  const coming = queue.result(id, { as: 'bytes' });
  await waitingFor(redis, 3);
  await redis.hset('result', id, Buffer.from([0xfe]));
  expect(await coming).toEqual(Buffer.from([0xfe]));
});

test('it comes within milliseconds of being written, without polling', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  const began = performance.now();
  const first = queue.result('first');
  await waitingFor(redis);
  await new Promise((resolve) => void setTimeout(resolve, 300));
  const lookups = await calls(redis, 'hmget');
  // two commands a look, and one look more for each SAFETY_MS
  expect(lookups).toBeLessThanOrEqual(2 * (1 + Math.floor((performance.now() - began) / SAFETY_MS)));
  await redis.hset('result', 'first', 'x');
  await first;
  await sooner(40, async (round) => {
    const before = await calls(redis, 'hmget');
    const coming = queue.result(`${round}`);
    await eventually(async () => expect(await calls(redis, 'hmget')).toBeGreaterThanOrEqual(before + 2));
    const written = performance.now();
    await redis.hset('result', `${round}`, 'x');
    await coming;
    return performance.now() - written;
  });
});

test('a task that failed for good is reported with its reason; a later result of that id counts', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  const failing = queue.result('a');
  failing.catch(() => undefined);
  await waitingFor(redis);
  await redis.hset(queue.keys.errors, 'a', deadHeader({ error: 'no route', attempts: 5, worker: 'w1' }));
  await expect(failing).rejects.toThrow('task a failed for good: no route');
  await expect(failing).rejects.toMatchObject({ name: 'TaskFailed', attempts: 5, worker: 'w1' });
  await redis.hset('result', 'a', 'after all');
  expect(await queue.result('a')).toBe('after all');
  await redis.hset(queue.keys.errors, 'b', 'not from us');
  await expect(queue.result('b')).rejects.toThrow(TaskFailed);
});

test('enqueueing a task again forgets its error', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  await redis.hset(queue.keys.errors, 'a', deadHeader({ error: 'no', attempts: 1, worker: 'w' }));
  await queue.enqueue('a');
  await expect(queue.result('a', { timeoutMs: 50 })).rejects.toThrow(ResultTimeout);
});

test('timeout and AbortSignal end a wait, and it leaves nothing that goes on reading', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  await expect(queue.result('a', { timeoutMs: 30 })).rejects.toThrow(
    'no result of task a within 30 ms: it may still come',
  );
  const abort = new AbortController();
  const aborted = queue.result('a', { signal: abort.signal });
  aborted.catch(() => undefined);
  abort.abort(new Error('the user went away'));
  await expect(aborted).rejects.toThrow('the user went away');
  await expect(queue.result('a', { signal: abort.signal })).rejects.toThrow('the user went away');
  const before = await calls(redis, 'hmget');
  await redis.hset('result', 'b', 'x');
  await new Promise((resolve) => void setTimeout(resolve, 100));
  // at most the one that was on its way
  expect(await calls(redis, 'hmget')).toBeLessThanOrEqual(before + 2);
});

test.each([Infinity, 2 ** 40])('a timeout of %d ms does not end immediately', async (timeoutMs) => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  const coming = queue.result('a', { timeoutMs });
  await waitingFor(redis);
  await redis.hset('result', 'a', 'x');
  expect(await coming).toBe('x');
});

test('closing ends all waits, and a closed queue reports it', async () => {
  await using server = await startRedis();
  const queue = openQueue({ redis: server.address });
  const waits = ['a', 'b'].map((id) => queue.result(id));
  const settled = Promise.allSettled(waits);
  await queue.close();
  expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  await expect(queue.result('a')).rejects.toThrow('the queue is closed');
});

test('500 waits on a hash that others write to without pause cost the server little', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  const ids = Array.from({ length: 500 }, (_, i) => `task ${i}`);
  const waits = ids.map((id) => queue.result(id));
  await waitingFor(redis);
  const before = await calls(redis, 'hmget');
  const began = performance.now();
  let written = 0;
  let spent = 0;
  while (performance.now() - began < 1_000 || written <= 500 || spent <= 10) {
    await redis.hset('result', `other ${written % 100}`, String(written));
    written++;
    if (written % 100 === 0) spent = (await calls(redis, 'hmget')) - before;
  }
  // two commands a look, and looks keep a distance of 50 ms while they find nothing: 40 in a second
  expect(spent).toBeLessThan((100 * (performance.now() - began)) / 1_000);
  await redis.hset('result', ...ids.flatMap((id) => [id, `result of ${id}`]));
  expect(await Promise.all(waits)).toEqual(ids.map((id) => `result of ${id}`));
});

test('2,000 results that trickle in are not asked for once each', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  const ids = Array.from({ length: 2_000 }, (_, i) => `task ${i}`);
  const waits = Promise.all(ids.map((id) => queue.result(id)));
  await waitingFor(redis);
  const before = await calls(redis, 'hmget');
  const began = performance.now();
  for (const id of ids) await redis.hset('result', id, id);
  expect(await waits).toEqual(ids);
  // some when they come at once; however slowly they come, no more than the distance of looks allows
  const most = Math.max(400, (100 * (performance.now() - began)) / 1_000);
  expect((await calls(redis, 'hmget')) - before).toBeLessThan(most);
});

test.each([
  ['tracking', '-client|tracking'],
  ['all that is not needed', '-@dangerous -client +info'],
])('a user who may not use %s waits all the same', async (_what, rule) => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', ...rule.split(' '));
  await using queue = openQueue({ redis: { url: server.url, username: 'app', password: 'secret' } });
  const coming = queue.result('a');
  await waitingFor(redis);
  await redis.hset('result', 'a', 'x');
  expect(await coming).toBe('x');
});

test('as many waits as a large job has tasks: all get their results, and Redis has little to do', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  const began = performance.now();
  const ids = Array.from({ length: 80_000 }, (_, i) => `id ${i}`);
  const there = async (some: readonly string[]): Promise<void> => {
    for (let i = 0; i < some.length; i += 5_000)
      await redis.hset('result', Object.fromEntries(some.slice(i, i + 5_000).map((id) => [id, `of ${id}`])));
  };
  await there(ids.slice(0, 40_000));
  const all = Promise.all(ids.map((id) => queue.result(id)));
  await there(ids.slice(40_000));
  expect(await all).toEqual(ids.map((id) => `of ${id}`));
  // two for each portion of a thousand, and some in vain; however slowly they come, no more than the distance of looks allows
  const most = Math.max(2_000, (100 * (performance.now() - began)) / 1_000);
  expect(await calls(redis, 'hmget')).toBeLessThan(most);
});

test('a change without a notification is found, even among many ids without results', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const elsewhere = server.client({ db: 1 });
  await elsewhere.hset('result', 'last', 'x');
  await using queue = openQueue({ redis: server.address });
  // one read asks about all of these, and about most of them no other one does as long as nothing comes
  const others = Array.from({ length: 40 }, (_, i) => queue.result(`other ${i}`));
  void Promise.allSettled(others);
  const last = queue.result('last');
  await waitingFor(redis);
  await redis.swapdb(0, 1);
  expect(await last).toBe('x');
});

test('long results are not fetched all together', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  const ids = Array.from({ length: 100 }, (_, i) => `id ${i}`);
  for (const id of ids) await redis.hset('result', id, 'x'.repeat(1 << 20));
  const before = await calls(redis, 'hmget');
  const lengths = await Promise.all(ids.map(async (id) => (await queue.result(id)).length));
  expect(new Set(lengths)).toEqual(new Set([1 << 20]));
  // the first portion is as large as it is; those after it hold 8 MiB each
  expect(await calls(redis, 'hmget')).toBeGreaterThan(before + 8);
});

test('a user name that Redis refuses ends the wait', async () => {
  await using server = await startRedis({ password: 'secret' });
  await using queue = openQueue({ redis: server.url });
  await expect(queue.result('a', { timeoutMs: 60_000 })).rejects.toThrow('NOAUTH');
});

test('a wait outlives lost connections and a server that is away at first', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  await using queue = openQueue({ redis: `redis://127.0.0.1:${proxy.port}` });
  const first = queue.result('a');
  await waitingFor(redis);
  proxy.cut();
  await redis.hset('result', 'a', 'x');
  expect(await first).toBe('x');

  const second = queue.result('b');
  await server.kill();
  await server.start();
  await redis.hset('result', 'b', 'y');
  expect(await second).toBe('y');
});

test('a result key of another type ends the wait with an error that names it', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.address });
  await redis.set('result', 'not a hash');
  await expect(queue.result('a')).rejects.toThrow(WrongKeyType);
  await expect(queue.result('a')).rejects.toThrow(/the key "result" is not a hash/);
  expect(await redis.get('result')).toBe('not a hash');
});
