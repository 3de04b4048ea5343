/** The worker in this process, on a real Redis: tasks that fail, results that cannot be stored, keys of another type. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import run from '../fixtures/tasks.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, startWorker, type TestWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

test.concurrent('failures are retried with the attempt number, then the task is a dead letter with the reason', async () => {
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: run });
  await redis.lpush(
    keys.queue,
    '{"id":"twice","failures":2}',
    '{"id":"always","failures":9}',
    '{"id":"final","final":true}',
  );
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ twice: '{"attempt":3}' });
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(2));
  const dead = await readDeadLetters(redis, keys);
  expect(new Set(dead.map(({ id }) => id))).toEqual(new Set(['always', 'final']));
  expect(dead.find(({ id }) => id === 'always')).toMatchObject({
    error: 'failed 3 of 3 attempts: attempt 3 fails',
    attempts: 3,
    worker: worker.id,
    raw: Buffer.from('{"id":"always","failures":9}'),
  });
  expect(dead.find(({ id }) => id === 'final')).toMatchObject({
    error: 'not to be retried: it can never work',
    attempts: 1,
  });
  const errors = await redis.hgetall(keys.errors);
  expect(JSON.parse(errors['always'] ?? '')).toMatchObject({ attempts: 3 });
  expect((await sampleQueue(redis, keys)).counters).toMatchObject({ completed: 1, failed: 2, retried: 4 });
});

test.concurrent('the backoff is waited for', async () => {
  const keys = freshKeys();
  const at: number[] = [];
  const handler = (_task: unknown, { attempt }: { attempt: number }): string => {
    at.push(performance.now());
    if (attempt < 3) throw new Error('not yet');
    return 'ok';
  };
  const backoff = { initialMs: 100, maxMs: 10_000, jitter: false };
  await using worker = startWorker(server, keys, { handler, retry: { attempts: 3, backoff } });
  await redis.lpush(keys.queue, 'a');
  await resultsOf(redis, keys.result, 1);
  const pauses = at.slice(1).map((time, i) => time - (at[i] ?? 0));
  expect(pauses[0]).toBeGreaterThanOrEqual(99);
  expect(pauses[1]).toBeGreaterThanOrEqual(199);
  // no longer than that, either: by what Redis was asked for (that a due task is run on time: queue.test.ts)
  const failures = worker.log.filter(({ event }) => event === 'task-failed');
  expect(failures.map(({ outcome }) => outcome)).toEqual([
    expect.objectContaining({ kind: 'retry', delayMs: 100 }),
    expect.objectContaining({ kind: 'retry', delayMs: 200 }),
  ]);
});

test.concurrent('retryAfter is waited for instead of the backoff, and counts as an attempt', async () => {
  const keys = freshKeys();
  const at: number[] = [];
  const handler = (_task: unknown, { attempt, retryAfter }: TaskContext): never => {
    at.push(performance.now());
    if (attempt === 1) return retryAfter(300, 'the quota is used up');
    if (attempt === 2) throw Object.assign(new Error('busy'), { retryAfter: 150 });
    return retryAfter(new Date(Date.now() + 3_600_000), 'still busy');
  };
  // longer than the test waits
  const backoff = { initialMs: 60_000, maxMs: 60_000, jitter: true };
  await using worker = startWorker(server, keys, { handler, retry: { attempts: 3, backoff } });
  await redis.lpush(keys.queue, 'a');
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(1));
  const pauses = at.slice(1).map((time, i) => time - (at[i] ?? 0));
  expect(pauses[0]).toBeGreaterThanOrEqual(299);
  expect(pauses[1]).toBeGreaterThanOrEqual(149);
  expect((await readDeadLetters(redis, keys))[0]?.error).toBe(
    'failed 3 of 3 attempts: RetryAfter: still busy',
  );
  expect(worker.log.find(({ event }) => event === 'task-failed')).toMatchObject({
    outcome: { kind: 'retry', delayMs: 300, error: 'RetryAfter: the quota is used up' },
  });
});

test.concurrent('a result that cannot be stored fails its task immediately, and no other', async () => {
  const keys = freshKeys();
  const handler = (task: unknown): unknown => (task === 'bad' ? { n: 1n } : 'ok');
  await using _worker = startWorker(server, keys, { handler });
  await redis.lpush(keys.queue, 'bad', 'good');
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ good: 'ok' });
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(1));
  expect((await readDeadLetters(redis, keys))[0]?.error).toMatch(
    /cannot be stored as JSON: it holds a BigInt/,
  );
});

/** What the worker complained of. */
const complaints = ({ log }: TestWorker): string[] =>
  log.filter(({ level }) => level === 'error').map(({ msg }) => msg);

test.concurrent('a queue of another type is reported once and not touched, and work continues when it is right', async () => {
  const keys = freshKeys();
  await redis.set(keys.queue, 'not a list');
  await using worker = startWorker(server, keys, { handler: run });
  await eventually(() => expect(complaints(worker)[0]).toMatch(/cannot take tasks .*WRONGTYPE/));
  const turns = Number(await redis.hget(keys.worker(worker.id), 'turn'));
  await eventually(async () =>
    expect(Number(await redis.hget(keys.worker(worker.id), 'turn'))).toBeGreaterThan(turns),
  );
  expect(complaints(worker)).toHaveLength(1);
  expect(await redis.get(keys.queue)).toBe('not a list');
  await redis.del(keys.queue);
  await redis.lpush(keys.queue, 'a');
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ a: 'a' });
});

test.concurrent('a result of another type: nothing is taken that could not be answered', async () => {
  const keys = freshKeys();
  await redis.set(keys.result, 'not a hash');
  await redis.lpush(keys.queue, 'a');
  await using worker = startWorker(server, keys, { handler: run });
  await eventually(() => expect(complaints(worker)[0]).toContain(keys.result));
  expect(await redis.get(keys.result)).toBe('not a hash');
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['a']);
  await redis.del(keys.result);
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ a: 'a' });
});

test.concurrent('a result that turns into another type under a running task: the task is kept until it can be written', async () => {
  const keys = freshKeys();
  const gate = Promise.withResolvers<string>();
  let runs = 0;
  const handler = (): Promise<string> => {
    runs++;
    return gate.promise;
  };
  await redis.lpush(keys.queue, 'a');
  await using worker = startWorker(server, keys, { handler, leaseMs: 1_000 });
  await eventually(() => expect(runs).toBe(1));
  await using _other = startWorker(server, keys, { handler, leaseMs: 1_000 });
  await redis.set(keys.result, 'not a hash');
  gate.resolve('done');
  await eventually(() => expect(complaints(worker).join()).toMatch(/turn failed/));
  // longer than the lease: nobody else may take it over meanwhile
  await throughout(1_500, async () => expect(await redis.hvals(keys.inflight(worker.id))).toEqual(['a']));
  await redis.del(keys.result);
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ a: 'done' });
  expect(runs).toBe(1);
});
