/** Tasks that expire: not begun by then, they are dead letters with that reason, by the clock of Redis. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { redisNow } from '../../queue/connection/connection.ts';
import { moveDeadLetters, readDeadHeads } from '../../queue/dead-letter-format.ts';
import { BadTaskOptions, TaskExpired, TaskFailed, type Queue } from '../../queue/queue.ts';
import { reap } from '../../queue/workers/reap.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { openFreshQueue, startHandWorker } from '../support/turns.ts';
import { startWorker, type TestWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const openFresh = (): Queue => openFreshQueue(server.url);

/** Runs everything, and notes the ids of what it runs. */
function startNoting(queue: Queue, ran: string[], concurrency = 4): TestWorker {
  const handler = (task: unknown): string => {
    ran.push((task as { id: string }).id);
    return 'ok';
  };
  return startWorker(server, queue.keys, { handler, concurrency });
}

test.concurrent('what is not begun by then is a dead letter that says so; what is, runs', async () => {
  await using queue = openFresh();
  const { keys } = queue;
  const soon = await redisNow(redis);
  await queue.enqueue({ id: 'late' }, { expiresInMs: 1 });
  await queue.enqueue('{"id":"text", "n":12345678901234567890}\n', { expiresAt: new Date(soon - 1_000) });
  await queue.enqueue({ id: 'delayed' }, { delayMs: 20, expiresInMs: 21 });
  await redis.lpush(keys.queue, `{"id":"plain","millrace":{"expiresAt":${soon - 90_000}}}`);
  await queue.enqueue({ id: 'early' }, { expiresInMs: 3_600_000 });
  await queue.enqueue({ id: 'never' });
  await eventually(async () => expect(await redisNow(redis)).toBeGreaterThan(soon + 100));
  const ran: string[] = [];
  await using _worker = startNoting(queue, ran);
  expect(await queue.result('early')).toBe('ok');
  expect(await queue.result('never')).toBe('ok');
  for (const id of ['late', 'text', 'delayed', 'plain']) {
    const error = await queue.result(id).catch((failed: unknown) => failed);
    expect(error).toBeInstanceOf(TaskExpired);
    expect(error).toBeInstanceOf(TaskFailed);
    expect(error).toMatchObject({ attempts: 0, expiredAt: expect.any(Date) as Date });
  }
  const at = new Date(soon - 90_000).toISOString();
  await expect(queue.result('plain')).rejects.toThrow(
    new RegExp(
      `^task plain was not run: it expired at ${at} and was not begun by then: a worker had it .*m.*s later$`,
    ),
  );
  expect(ran.toSorted()).toEqual(['early', 'never']);
  expect((await queue.dead()).map(({ raw }) => raw.toString())).toContain(
    `{"id":"text", "n":12345678901234567890,"millrace":{"expiresAt":${soon - 1_000}}}`,
  );
  const { counters, inFlight } = await queue.inspect();
  expect(inFlight).toBe(0);
  expect(counters).toMatchObject({ completed: 2, failed: 0, expired: 4, squaredTasks: 2 });
});

test.concurrent('only the first beginning counts: retries, tasks of a lost worker and requeued ones run', async () => {
  await using queue = openFresh();
  const { keys } = queue;
  const expiresAt = new Date(1.6e12);
  const hand = await startHandWorker(redis, keys);
  await queue.enqueueMany([{ id: 'flaky' }, { id: 'lost' }], { expiresAt });
  const [flaky] = (await hand.turn({ want: 2 })).tasks;
  const past = { attempts: 1, deliveries: 0 };
  await hand.turn({ settled: { retries: [{ receipt: flaky?.receipt ?? '', delayMs: 0, past }] } });
  await reap(redis, keys, hand.id, hand.epoch, 'lost');
  const ran: string[] = [];
  await using _worker = startNoting(queue, ran);
  expect(await queue.result('flaky')).toBe('ok');
  expect(await queue.result('lost')).toBe('ok');

  await queue.enqueue({ id: 'one' }, { expiresAt });
  await queue.enqueue({ id: 'two' }, { expiresAt });
  await expect(queue.result('one')).rejects.toThrow(TaskExpired);
  await expect(queue.result('two')).rejects.toThrow(TaskExpired);
  expect(await queue.dead.requeue({ ids: ['one'] })).toBe(1);
  expect(await queue.result('one')).toBe('ok');
  const [two] = await readDeadHeads(redis, keys, 1, 100);
  expect(two).toMatchObject({ id: 'two', expired: expiresAt.getTime() });
  expect(await moveDeadLetters(redis, keys, 'requeue', [two?.digest ?? ''])).toBe(1);
  expect(await queue.result('two')).toBe('ok');
  expect(await redis.exists(keys.history, keys.pasts)).toBe(0);
});

test.concurrent('a requeued one that is handed back, or whose worker leaves, does not expire again', async () => {
  await using queue = openFresh();
  const { keys } = queue;
  // many of equal bytes, whose pasts do not fit into one field
  const raw = '{"millrace":{"expiresAt":1500000000000}}';
  await redis.lpush(keys.queue, ...Array<string>(60).fill(raw));
  {
    await using _worker = startNoting(queue, []);
    await eventually(async () => expect(await redis.llen(keys.dead)).toBe(60));
  }
  expect(await queue.dead.requeue('all')).toBe(60);
  const hand = await startHandWorker(redis, keys);
  const { tasks } = await hand.turn({ want: 5 });
  expect(tasks.map(({ past }) => past.reprieved)).toEqual(Array(5).fill(true));
  await hand.turn({ want: 0, settled: { released: tasks.slice(0, 2).map(({ receipt }) => receipt) } });
  await reap(redis, keys, hand.id, hand.epoch, 'displaced');
  const ran: string[] = [];
  await using _worker = startNoting(queue, ran);
  await eventually(() => expect(ran).toHaveLength(60));
});

test.concurrent('thousands of them are let go without a handler, beside tasks that run', async () => {
  await using queue = openFresh();
  const tasks = Array.from({ length: 5_000 }, (_, i) => ({ id: `${i}` }));
  await queue.enqueueMany(tasks, { expiresAt: new Date(1.6e12) });
  const last = await queue.enqueue({ id: 'last' });
  const ran: string[] = [];
  await using worker = startNoting(queue, ran, 1);
  expect(await queue.result(last)).toBe('ok');
  await eventually(async () =>
    expect(await queue.inspect()).toMatchObject({ inFlight: 0, dead: 5_000, waiting: 0 }),
  );
  expect(ran).toEqual(['last']);
  expect(worker.log.filter(({ level }) => level === 'warn')).toEqual([]);
});

test.concurrent('a part that expires has failed, by the rule of its batch', async () => {
  await using queue = openFresh();
  const late = { millrace: { expiresAt: 1_600_000_000_000 } };
  const batch = await queue.batch([{ n: 1 }, { n: 2, ...late }], {
    then: { kind: 'after' },
    onFailure: 'continue',
  });
  const waits = await queue.batch([{ n: 3, ...late }], { id: 'waits', then: { kind: 'after' } });
  await using _worker = startNoting(queue, []);
  await queue.result(batch.then ?? '');
  expect(await queue.batch.show(batch.id)).toMatchObject({ state: 'ended', failed: 1, succeeded: 1 });
  await expect(queue.result('waits:0')).rejects.toThrow(TaskExpired);
  await queue.dead.requeue({ ids: ['waits:0'] });
  await queue.result(waits.then ?? '');
});

test.concurrent('what cannot be is refused where it is written, or a dead letter; a field of your own is yours', async () => {
  await using queue = openFresh();
  const refused = async (push: Promise<unknown>, why: RegExp): Promise<void> => {
    await expect(push).rejects.toThrow(BadTaskOptions);
    await expect(push).rejects.toThrow(why);
  };
  await refused(queue.enqueue({}, { expiresInMs: -1 }), /cannot expire in -1 ms/);
  await refused(queue.enqueue({}, { expiresInMs: Number.NaN }), /cannot expire in NaN ms/);
  await refused(queue.enqueue({}, { expiresAt: new Date('soon') }), /got NaN/);
  await refused(queue.enqueue({}, { expiresAt: new Date(1), expiresInMs: 1 }), /choose one/);
  await refused(queue.enqueue({}, { delayMs: 10, expiresInMs: 10 }), /before it is due/);
  await refused(queue.enqueue('a text', { expiresInMs: 10 }), /is a JSON object.*got "a text"/);
  await refused(queue.enqueue([1], { expiresInMs: 10 }), /got an array/);
  await refused(queue.enqueueMany([{ millrace: {} }], { expiresInMs: 10 }), /has a field "millrace" already/);
  await refused(queue.enqueue({ millrace: { expireAt: 1 } }), /"expireAt", which means nothing/);
  await refused(queue.enqueue('{"millrace":{"expiresAt":"soon"}}'), /got "soon"/);
  await refused(queue.batch([{ millrace: { expiresAt: -5 } }]), /got -5, which is before/);

  await using _worker = startWorker(server, queue.keys, { handler: () => 'ran' });
  const plain = async (id: string, millrace: unknown): Promise<unknown> => {
    await redis.lpush(queue.keys.queue, JSON.stringify({ id, millrace }));
    return await queue.result(id).catch((error: Error) => error.message);
  };
  expect(await plain('a', { expiresAt: '2026-01-01' })).toMatch(
    /failed for good: expiresAt is a time .* got "2026/,
  );
  expect(await plain('b', { expiresAt: 1_796_040_000 })).toMatch(/got 1796040000, which would be seconds/);
  expect(await plain('c', { expiresAt: 1.7e15 })).toMatch(/would be microseconds/);
  expect(await plain('d', { expiresAt: null })).toMatch(/got null/);
  expect(await plain('e', { expires: 1 })).toMatch(/"expires", which means nothing/);
  for (const [i, own] of ['mine', 7, null, [1], {}].entries())
    expect(await plain(`own ${i}`, own)).toBe('ran');
  await redis.lpush(queue.keys.queue, '{"id":"top","expiresAt":1,"unique":2,"priority":"x"}');
  expect(await queue.result('top')).toBe('ran');
});
