/** Handlers with unexpected results and errors, next to ordinary ones: each task gets its own outcome, and no other's. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import { openQueue } from '../../queue/queue.ts';
import type { Handler } from '../../worker/task/handler.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const fail = (): never => {
  throw new Error('not to be looked at');
};
const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
// written so that no reader takes it for an accident
const THEN = ['th', 'en'].join('');
type Take = (value: string) => void;
const later = (retryAfter: number): Error => Object.assign(new Error('busy'), { retryAfter });
const thrower =
  (make: () => unknown): (() => never) =>
  () => {
    throw make();
  };

/** Tasks that end among the dead letters. */
const dead: Record<string, () => unknown> = {
  bigint: () => 1n,
  circle: () => {
    const circle: unknown[] = [];
    circle.push(circle);
    return circle;
  },
  function: () => fail,
  getter: () => ({
    get x() {
      return fail();
    },
  }),
  'a then': () => Object.defineProperty({}, THEN, { get: fail }),
  'a proxy': revoked,
  'a proxy thrown': thrower(revoked),
  'a message': thrower(() => Object.defineProperty(new Error('x'), 'message', { get: fail })),
  'a name': thrower(() => Object.assign(new Error('x'), { name: 7, stack: null, cause: revoked() })),
  'half a megabyte': thrower(() => new Error('long '.repeat(100_000))),
  surrogate: thrower(() => new Error('\ud800 alone')),
  rejected: () => Promise.reject(undefined),
};
/** Tasks that are tried again later than this test lasts. */
const delayed: Record<string, () => unknown> = Object.fromEntries(
  [1e16, 1.79e18, Number.MAX_VALUE, 9_223_372_036_854].map((ms) => [`later ${ms}`, thrower(() => later(ms))]),
);
/** Tasks with a result. */
const done: Record<string, () => unknown> = {
  nothing: () => undefined,
  'lone surrogate': () => '\ud800',
  'own then': () => Object.assign(Promise.resolve('once'), { [THEN]: (take: Take) => (take('twice'), 7) }),
  'takes twice': () => ({ [THEN]: (take: Take) => (take('once'), take('twice')) }),
};

test('each task has its own end', async () => {
  const keys = freshKeys();
  const all = { ...dead, ...delayed, ...done };
  const handler: Handler = (task) => (all[String(task)] ?? (() => 'plain'))();
  const retry = { attempts: 1, backoff: { initialMs: 1, maxMs: 1, jitter: false } };
  const patient = { ...retry, attempts: 2 };
  const plain = Array.from({ length: 50 }, (_, i) => `plain ${i}`);
  await using _one = startWorker(server, keys, { handler, retry: patient, concurrency: 4 });
  await redis.lpush(keys.queue, ...Object.keys(all), ...plain);

  const results = await resultsOf(redis, keys.result, plain.length + Object.keys(done).length);
  expect(results).toMatchObject({
    nothing: 'null',
    'lone surrogate': '\ufffd',
    'takes twice': 'once',
    'plain 49': 'plain',
  });
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(Object.keys(dead).length));
  expect((await readDeadLetters(redis, keys)).map(({ raw }) => raw.toString()).toSorted()).toEqual(
    Object.keys(dead).toSorted(),
  );
  expect(await redis.zcard(keys.delayed)).toBe(Object.keys(delayed).length);
  const [, latest] = await redis.zrange(keys.delayed, '-1', '-1', 'WITHSCORES');
  expect(Number(latest)).toBeLessThanOrEqual(Date.now() + 9_223_372_036_854);
  expect(Number(latest)).toBeGreaterThan(9_223_372_036_854);
  expect(await redis.llen(keys.queue)).toBe(0);
});

test('a task that is bytes has all of them as its id: in the context, in progress and in the results', async () => {
  const { queue: name, result } = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: name, result });
  const ids: unknown[] = [];
  const gate = Promise.withResolvers<void>();
  const handler: Handler = async (_task, { id, raw, progress }) => {
    ids.push(id);
    progress({ first: raw[0] });
    await gate.promise;
    return String(raw[0]);
  };
  await using _worker = startWorker(server, queue.keys, { handler, concurrency: 2 });
  const tasks = [Buffer.from([0xff, 1]), Buffer.from([0xfe, 1])];
  await queue.enqueueMany(tasks);
  for (const task of tasks)
    await eventually(async () => expect(await queue.progress(task)).toEqual({ first: task[0] }));
  expect(ids).toEqual(tasks);
  gate.resolve();
  for (const task of tasks) expect(await queue.result(task)).toBe(String(task[0]));
  await eventually(async () => expect(await queue.progress(tasks[0] ?? '')).toBeUndefined());
});

test('a task over the limit is a dead letter before it is parsed or run, and its client is notified', async () => {
  const { queue: name, result } = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: name, result });
  const ran: unknown[] = [];
  const handler: Handler = (_task, { id }) => void ran.push(id);
  await using _worker = startWorker(server, queue.keys, { handler, tasks: { maxBytes: 1_000 } });
  await queue.enqueueMany([`{"n":"${'x'.repeat(990)}","id":7.0}`, '{"id":"small"}', 'y'.repeat(1_000)]);
  await expect(queue.result('7.0')).rejects.toThrow(
    /the task is too large: it has 1007 bytes, and at most 1000/,
  );
  expect(await queue.result('small')).toBe('null');
  expect(await queue.result('y'.repeat(1_000))).toBe('null');
  expect(ran).not.toContain('7.0');
  expect(await queue.dead()).toMatchObject([{ id: '7.0', attempts: 0 }]);
});
