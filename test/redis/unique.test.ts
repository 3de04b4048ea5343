/** Unique tasks: of those with one key, one is there. Decided at the push, and where a plain client pushed, when a worker begins it. */
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { createPusher } from '../../queue/push.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import type { EncodedTask } from '../../queue/task.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import {
  BadTaskOptions,
  openQueue,
  TaskCancelled,
  TaskDuplicate,
  TaskExpired,
  type Queue,
} from '../../queue/queue.ts';
import { claimKey } from '../../queue/workers/claim.ts';
import { reap } from '../../queue/workers/reap.ts';
import type { Finished } from '../../queue/outcomes/outcome.ts';
import { TaskAbort } from '../../worker/task/abort.ts';
import { TaskRun } from '../../worker/task/run.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, openFreshQueue, startHandWorker } from '../support/turns.ts';
import { promptly, startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const openFresh = (): Queue => openFreshQueue(server.url);
const plain = (id: string, key: string, more = {}): string =>
  JSON.stringify({ id, millrace: { unique: key, ...more } });

/** A handler that runs until the test lets it end. */
function gate(): {
  readonly handler: (task: unknown) => Promise<string>;
  readonly ran: string[];
  readonly open: () => void;
} {
  const { promise, resolve } = Promise.withResolvers<void>();
  const ran: string[] = [];
  return {
    ran,
    open: resolve,
    handler: async (task) => {
      ran.push((task as { id: string }).id);
      await promise;
      return 'ok';
    },
  };
}

test.concurrent('a second push of a key returns the one that waits, runs, or is delayed; after its end, the next one is pushed', async () => {
  await using queue = openFresh();
  const first = await queue.enqueueUnique({ n: 1 }, { unique: 'k' });
  expect(first.duplicate).toBe(false);
  expect(await queue.enqueueUnique({ id: 'b' }, { unique: 'k' })).toEqual({ id: first.id, duplicate: true });
  expect(await queue.enqueue({ id: 'c' }, { unique: 'other' })).toBe('c');
  const { handler, ran, open } = gate();
  await using _worker = startWorker(server, queue.keys, { handler, concurrency: 2 });
  await eventually(() => expect(ran).toHaveLength(2));
  expect(await queue.enqueue('{"id":"d"}', { unique: 'k', delayMs: 5 })).toBe(first.id);
  open();
  expect(await queue.result(await queue.enqueue({ id: 'e' }, { unique: 'k' }))).toBe('ok');
  await eventually(async () => expect(await redis.exists(queue.keys.unique('k'))).toBe(0));
  expect(await queue.enqueue({ id: 'f' }, { unique: 'k', delayMs: 50 })).toBe('f');
  expect(await queue.enqueue({ id: 'g' }, { unique: 'k' })).toBe('f');
  expect(await queue.result('f')).toBe('ok');
  expect(ran.toSorted()).toEqual([first.id, 'c', 'f'].toSorted());
});

test.concurrent('concurrent pushes of a key: one is pushed, and all get its id', async () => {
  await using queue = openFresh();
  await using other = openQueue({ redis: server.url, queue: queue.keys.queue, result: queue.keys.result });
  const pushes = Array.from({ length: 40 }, (_, i) =>
    (i % 2 ? queue : other).enqueueUnique({ id: `${i}` }, { unique: 'k' }),
  );
  const pushed = await Promise.all(pushes);
  expect(pushed.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
  expect(new Set(pushed.map(({ id }) => id)).size).toBe(1);
  const many = await queue.enqueueMany(
    Array.from({ length: 9 }, (_, i) => JSON.parse(plain(`m${i}`, `${i % 3}`)) as unknown),
  );
  expect(many).toEqual(['m0', 'm1', 'm2', 'm0', 'm1', 'm2', 'm0', 'm1', 'm2']);
  expect(await redis.llen(queue.keys.queue)).toBe(4);
});

test.concurrent('of those that a plain client pushed, the later ones are told which task has the key', async () => {
  await using queue = openFresh();
  const { handler, ran, open } = gate();
  await using _worker = startWorker(server, queue.keys, { handler, concurrency: 3 });
  await redis.lpush(queue.keys.queue, plain('a', 'k'));
  await eventually(() => expect(ran).toEqual(['a']));
  await redis.lpush(queue.keys.queue, plain('b', 'k'), plain('a', 'k'), plain('c', 'free'));
  const error = await queue.result('b').catch((failed: unknown) => failed);
  expect(error).toBeInstanceOf(TaskDuplicate);
  expect(error).toMatchObject({
    of: 'a',
    message: expect.stringContaining('a duplicate of task a, which has the key "k"') as string,
  });
  await eventually(async () => expect(await queue.inspect()).toMatchObject({ waiting: 0, inFlight: 2 }));
  open();
  // the second one of that id has left no error
  expect(await queue.result('a')).toBe('ok');
  expect(await queue.result('c')).toBe('ok');
  expect(await queue.inspect()).toMatchObject({
    dead: 0,
    counters: { duplicates: 2, cancelled: 0, completed: 2, failed: 0 },
  });
  expect(ran).toEqual(['a', 'c']);
  await redis.lpush(queue.keys.queue, plain('d', 'k'));
  expect(await queue.result('d')).toBe('ok');
  await eventually(async () => expect(await redis.keys(queue.keys.unique('*'))).toEqual([]));
});

test.concurrent('however a task ends, its key is free: failed, cancelled before and while it runs, expired', async () => {
  await using queue = openFresh();
  const { keys } = queue;
  const push = async (id: string, more = {}): Promise<string> =>
    queue.enqueue({ id }, { unique: 'k', ...more });
  const waits = async (id: string): Promise<unknown> => queue.result(id).catch((error: unknown) => error);
  const handler = async (task: unknown, { signal }: TaskContext): Promise<string> => {
    const { id } = task as { id: string };
    if (id === 'fails') throw new Error('no');
    if (id === 'aborted') await once(signal, 'abort');
    return 'ok';
  };
  await push('cancelled');
  await queue.cancel('cancelled');
  await using _worker = startWorker(server, keys, { handler, retry: promptly, bytesOnly: false });
  expect(await waits('cancelled')).toBeInstanceOf(TaskCancelled);
  expect(await push('fails')).toBe('fails');
  expect(await waits('fails')).toMatchObject({ attempts: 3 });
  expect(await push('late', { expiresAt: new Date(1.6e12) })).toBe('late');
  expect(await waits('late')).toBeInstanceOf(TaskExpired);
  expect(await push('aborted')).toBe('aborted');
  await eventually(async () => expect(await queue.inspect()).toMatchObject({ inFlight: 1 }));
  await queue.cancel('aborted');
  expect(await waits('aborted')).toBeInstanceOf(TaskCancelled);
  expect(await push('last')).toBe('last');
  expect(await waits('last')).toBe('ok');
  expect(await redis.exists(keys.unique('k'))).toBe(0);

  // a requeued dead letter takes it again, unless another one has it meanwhile
  expect(await queue.dead.requeue({ ids: ['late'] })).toBe(1);
  expect(await waits('late')).toBe('ok');
  await queue.pause();
  await push('holds');
  expect(await queue.dead.requeue({ ids: ['fails'] })).toBe(1);
  await queue.resume();
  expect(await waits('holds')).toBe('ok');
  await eventually(async () => expect(await redis.exists(keys.unique('k'))).toBe(0));
});

test.concurrent('a task that goes back keeps its key, and the worker that has it next may run it', async () => {
  await using queue = openFresh();
  const { keys } = queue;
  await queue.enqueue({ id: 'a' }, { unique: 'k' });
  const hand = await startHandWorker(redis, keys);
  const [a] = (await hand.turn({ want: 1 })).tasks;
  const claim = { key: 'k', forMs: 0, id: 'a', receipt: a?.receipt ?? '' };
  expect(await claimKey(redis, keys, hand.id, claim)).toBeUndefined();
  expect(await claimKey(redis, keys, hand.id, claim)).toBeUndefined();
  // equal bytes, while the first one is held
  await redis.lpush(keys.queue, a?.raw ?? '');
  const [again] = (await hand.turn({ want: 1 })).tasks;
  expect(await claimKey(redis, keys, hand.id, { ...claim, receipt: again?.receipt ?? '' })).toEqual({
    holder: 'a',
  });
  await hand.turn({
    settled: { cancelled: [{ receipt: again?.receipt ?? '', id: 'a', header: '', duplicate: true }] },
  });
  await reap(redis, keys, hand.id, hand.epoch, 'lost');
  expect(await claimKey(redis, keys, hand.id, claim)).toBe('fenced');
  expect(await queue.enqueue({ id: 'b' }, { unique: 'k' })).toBe('a');
  await using _worker = startWorker(server, keys, { handler: () => 'ok' });
  expect(await queue.result('a')).toBe('ok');
  expect(await redis.exists(keys.unique('k'))).toBe(0);
});

test.concurrent('for a time: after its end, too; a failed one is requeued all the same', async () => {
  await using queue = openFresh();
  const { keys } = queue;
  let failing = true;
  const handler = (): string => {
    if (failing) throw Object.assign(new Error('no'), { retry: false });
    return 'ok';
  };
  await using _worker = startWorker(server, keys, { handler });
  const options = { unique: 'k', uniqueForMs: 3_600_000 };
  await queue.enqueue({ id: 'a' }, options);
  await expect(queue.result('a')).rejects.toThrow('no');
  expect(await queue.enqueueUnique({ id: 'b' }, options)).toEqual({ id: 'a', duplicate: true });
  await redis.lpush(keys.queue, plain('c', 'k'));
  await expect(queue.result('c')).rejects.toThrow(TaskDuplicate);
  failing = false;
  await queue.dead.requeue({ ids: ['a'] });
  expect(await queue.result('a')).toBe('ok');
  expect(await queue.enqueue({ id: 'b' }, options)).toBe('a');
  const left = await redis.pttl(keys.unique('k'));
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThanOrEqual(3_600_000);
  await redis.pexpire(keys.unique('k'), 1);
  await eventually(async () => expect(await redis.exists(keys.unique('k'))).toBe(0));
  expect(await queue.enqueue({ id: 'b' }, options)).toBe('b');
  expect(await queue.result('b')).toBe('ok');
});

test.concurrent('the key of a task that vanished ends by itself; what else is under its name counts as none', async () => {
  await using queue = openFresh();
  const { keys } = queue;
  await queue.enqueue({ id: 'a' }, { unique: 'k' });
  await redis.del(keys.queue);
  const left = await redis.pttl(keys.unique('k'));
  expect(left).toBeGreaterThan(86_000_000);
  expect(left).toBeLessThanOrEqual(86_400_000);
  await redis.set(keys.unique('k'), '[1]');
  expect(await queue.enqueue({ id: 'b' }, { unique: 'k' })).toBe('b');
  await redis.del(keys.unique('k'));
  await redis.lpush(keys.unique('k'), 'x');
  await using _worker = startWorker(server, keys, { handler: () => 'ok' });
  expect(await queue.result('b')).toBe('ok');
});

test.concurrent('a key, or an id, that is no Unicode is a key like any other', async () => {
  await using queue = openFresh();
  expect(await queue.enqueue({ id: 'a\udce9' }, { unique: 'k\ud83d' })).toBe('a\udce9');
  expect(await queue.enqueue({ id: 'b' }, { unique: 'k\ud83d' })).toBe('a\ufffd');
  const failing = (): never => {
    throw Object.assign(new Error('no'), { retry: false });
  };
  await using worker = startWorker(server, queue.keys, { handler: failing });
  await eventually(async () => expect(await queue.dead()).toHaveLength(1));
  await worker.stop();
  expect(await queue.dead.requeue('all')).toBe(1);
  expect(await queue.enqueue({ id: 'c' }, { unique: 'k\ud83d' })).toBe('a\ufffd');
});

test.concurrent('what cannot be is refused where it is written, or a dead letter', async () => {
  await using queue = openFresh();
  const refused = async (push: Promise<unknown>, why: RegExp): Promise<void> => {
    await expect(push).rejects.toThrow(BadTaskOptions);
    await expect(push).rejects.toThrow(why);
  };
  await refused(queue.enqueue({}, { unique: '' }), /is a key, a text .*: got ""/);
  await refused(queue.enqueue({}, { unique: 7 as unknown as string }), /got 7/);
  await refused(queue.enqueue({}, { unique: 'é'.repeat(101) }), /at most 200 bytes: got 202/);
  await refused(queue.enqueue({}, { uniqueForMs: 5 }), /no key: name it in unique/);
  for (const forMs of [0, -1, Number.NaN, Infinity, 1e12])
    await refused(queue.enqueue({}, { unique: 'k', uniqueForMs: forMs }), /uniqueForMs is a time/);
  await refused(queue.enqueue('text', { unique: 'k' }), /is a JSON object/);
  await refused(queue.enqueue({ id: 'x'.repeat(2_000) }, { unique: 'k' }), /an id of at most 1024 bytes/);
  await refused(queue.enqueueMany([{}], { unique: 'k' }), /the key of one task/);
  const { queue: name, result } = freshKeys();
  await using parts = openQueue({ redis: server.url, queue: name, result, partitions: 2 });
  await refused(parts.enqueue({ id: 'a' }, { unique: 'k' }), /a queue in partitions/);

  await using _worker = startWorker(server, queue.keys, { handler: () => 'ran' });
  const told = async (id: string, millrace: unknown): Promise<unknown> => {
    await redis.lpush(queue.keys.queue, JSON.stringify({ id, millrace }));
    return await queue.result(id).catch((error: Error) => error.message);
  };
  expect(await told('a', { unique: 5 })).toMatch(/unique is a key, .*: got 5/);
  expect(await told('b', { unique: 'k', uniqueForMs: '10m' })).toMatch(/uniqueForMs is a time .*: got "10m"/);
  expect(await told('c', { uniqueForMs: 10 })).toMatch(/no key/);
  const [first] = partitionKeys(name, result, 2);
  if (!first) throw new Error('there is a first partition');
  await using _other = startWorker(
    server,
    { ...first, queue: name, result },
    { handler: () => 'ran', partitions: 2 },
  );
  await redis.lpush(first.queue, plain('p', 'k'));
  await eventually(async () =>
    expect(await redis.hget(first.errors, 'p')).toContain('is a partition of a queue'),
  );
});

test.each(['1e300', '-1e300', '1e400', 'NaN', '-Infinity', '"x"', 'null', '[]', '9007199254740993'])(
  'a key that something else has said is kept until %s: its task runs, once, and the key is free',
  async (till) => {
    await using queue = openFresh();
    const { keys } = queue;
    await redis.set(keys.unique('k'), `{"id":"a","till":${till}}`);
    await redis.lpush(keys.queue, plain('a', 'k'));
    await using _worker = startWorker(server, keys, { handler: () => 'ok' });
    expect(await queue.result('a')).toBe('ok');
    await eventually(async () => expect(await redis.exists(keys.unique('k'))).toBe(0));
  },
);

test('a delayed task that cannot be pushed takes no key', async () => {
  await using queue = openFresh();
  const { delayed, queue: name } = queue.keys;
  await redis.set(delayed, 'a text');
  await expect(queue.enqueueUnique({ n: 1 }, { unique: 'k', delayMs: 1_000 })).rejects.toThrow(
    'is not a sorted set',
  );
  expect(await redis.keys(`millrace:{${name}}:unique:*`)).toEqual([]);
  await redis.del(delayed);
  expect(await queue.enqueueUnique({ n: 1 }, { unique: 'k' })).toMatchObject({ duplicate: false });
});

test('with results on another server, a push that is a duplicate deletes no result', async () => {
  const keys = freshKeys();
  const pushing = defineScripts(server.client());
  await using pusher = createPusher(pushing, keys, { redis, key: keys.result });
  const task = (id: string): EncodedTask => ({
    id,
    raw: plain(id, 'k'),
    unique: { key: 'k', forMs: 60_000 },
  });
  await redis.hset(keys.result, 'a', 'of before', 'b', 'of before');
  await pusher.push([task('a'), task('b')], undefined);
  expect(await redis.hgetall(keys.result)).toEqual({ b: 'of before' });
  await redis.hset(keys.result, 'a', 'done');
  expect(await pusher.push([task('a')], undefined)).toEqual(new Map([[0, 'a']]));
  expect(await redis.hget(keys.result, 'a')).toBe('done');
});

test('a claim is answered when memory is short', async () => {
  await using full = await startRedis();
  const keys = freshKeys();
  const client = defineScripts(full.client());
  const worker = await startHandWorker(client, keys);
  await client.lpush(keys.queue, plain('a', 'k'));
  const { tasks } = await worker.turn({ want: 1 });
  await client.config('SET', 'maxmemory', '1');
  const claim = { key: 'k', forMs: 0, id: 'a', receipt: tasks[0]?.receipt ?? '' };
  expect(await claimKey(client, keys, worker.id, claim)).toBeUndefined();
});

test('a claim that Redis does not answer costs no attempt', async () => {
  const raw = Buffer.from(plain('a', 'k'));
  const deps = {
    queue: 'q',
    redisNow: Date.now,
    handler: () => 'ok',
    retry: { attempts: 1, backoff: { initialMs: 10, maxMs: 10, jitter: false } },
    maxTaskBytes: 1_000,
    bytesOnly: false,
    maxResultBytes: 1_000,
    random: () => 0,
    claim: async () => Promise.reject(new Error('READONLY')),
    exitReasonOf: async () => Promise.resolve(undefined),
  };
  const delivery = { receipt: '1-1', raw, past: { attempts: 0, deliveries: 0 } };
  const outbox = { report: () => undefined, ended: () => undefined };
  const { promise, resolve } = Promise.withResolvers<Finished>();
  const run = new TaskRun(delivery, new TaskAbort(), 0, { deps, outbox, ended: resolve });
  expect(run.start()).toBeUndefined();
  const finished = await promise;
  expect(finished).toMatchObject({ attempt: 0, outcome: { kind: 'retry', delayMs: 10 } });
});

test('a dead letter whose id cannot be written frees its key', async () => {
  const keys = freshKeys();
  const client = defineScripts(server.client());
  const worker = await startHandWorker(client, keys);
  await client.lpush(keys.queue, plain('a', 'k'));
  const { tasks } = await worker.turn({ want: 1 });
  const receipt = tasks[0]?.receipt ?? '';
  await claimKey(client, keys, worker.id, { key: 'k', forMs: 0, id: 'a', receipt });
  expect(await client.exists(keys.unique('k'))).toBe(1);
  const header = '{"error":"x","attempts":1}';
  await worker.turn({ settled: { dead: [{ receipt, header, unique: 'k', uniqueId: 'a' }] } });
  expect(await client.llen(keys.dead)).toBe(1);
  expect(await client.exists(keys.unique('k'))).toBe(0);
});
