/** Outcomes that Redis does not take: each becomes a dead letter with the reason, or waits, and no other task is held up. */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys, nothing, startHandWorker, done } from '../support/turns.ts';
import { resultsOf, startWorker, type TestWorker } from '../support/workers.ts';

const MB = 1 << 20;
const plain = (count: number): string[] => Array.from({ length: count }, (_, i) => `plain ${i}`);
/** A result of two MB for tasks that begin with `big`, a moment later than the plain ones of the same batch. */
const handler = async (task: unknown): Promise<string> => {
  await Promise.resolve();
  return String(task).startsWith('big') ? 'x'.repeat(2 * MB) : 'ok';
};

/** Nothing is left of a queue whose tasks have all ended. */
async function allIsOver(redis: Redis, keys: QueueKeys): Promise<void> {
  await eventually(async () =>
    expect(await redis.hvals(keys.load)).not.toContainEqual(expect.stringMatching(/[1-9]/)),
  );
  expect(await redis.llen(keys.queue)).toBe(0);
}

test.each([
  [
    'an argument over its limit',
    ['--proto-max-bulk-len', '1mb'],
    // it closes the connection too, which can reach the client before its answer
    /^it ran, but its result cannot be stored: (.*bulk length|the connection was closed 3 times)/,
  ],
  [
    'a request over its limit, by closing the connection',
    ['--client-query-buffer-limit', '1mb'],
    /^it ran, but its result cannot be stored: the connection was closed 3 times/,
  ],
])('a server that refuses %s', async (_what, args, reason) => {
  await using server = await startRedis({ args });
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, ...plain(5), 'big 1', ...plain(10).slice(5), 'big 2');
  await using worker = startWorker(server, keys, { handler, concurrency: 4 });
  expect(Object.keys(await resultsOf(redis, keys.result, 10))).toHaveLength(10);
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(2));
  const letters = await readDeadLetters(redis, keys);
  expect(letters.map(({ raw }) => raw.toString()).toSorted()).toEqual(['big 1', 'big 2']);
  for (const { error } of letters) expect(error).toMatch(reason);
  expect(Object.keys(await redis.hgetall(keys.errors)).toSorted()).toEqual(['big 1', 'big 2']);
  await redis.lpush(keys.queue, 'after');
  await resultsOf(redis, keys.result, 11);
  await allIsOver(redis, keys);
  expect(worker.epochs).toBe(1);
  expect(await redis.hget(keys.stats, 'completed')).toBe('11');
});

/** Leaves the server too little memory for the result that the worker then has. */
async function refuseItsResult(redis: Redis, { queue }: QueueKeys, worker: TestWorker): Promise<void> {
  await worker.ready();
  const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
  await redis.config('SET', 'maxmemory', String(used + MB));
  await redis.lpush(queue, 'big');
  const refused = expect.objectContaining({ event: LogEvent.OutcomeDeferred, outcome: 'result' });
  await eventually(() => expect(worker.log).toContainEqual(refused));
}

test.concurrent('a worker that leaves while there is no memory writes its results when there is', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler });
  await refuseItsResult(redis, keys, worker);
  const left = worker.stop();
  await eventually(async () => expect(await redis.hget(keys.worker(worker.id), 'state')).toBe('draining'));
  await redis.config('SET', 'maxmemory', '0');
  await left;
  expect(await redis.hlen(keys.result)).toBe(1);
  expect(await redis.llen(keys.queue)).toBe(0);
});

test.concurrent('one that has to hurry then hands its tasks back', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler });
  await refuseItsResult(redis, keys, worker);
  await worker.hurry();
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['big']);
});

test.concurrent('a result for which there is no memory waits, and is written when there is', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler, concurrency: 2 });
  await worker.ready();
  const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
  await redis.config('SET', 'maxmemory', String(used + MB));
  await redis.lpush(keys.queue, ...plain(10), 'big', ...plain(20).slice(10));
  expect(Object.keys(await resultsOf(redis, keys.result, 20))).not.toContain('big');
  expect(await redis.llen(keys.dead)).toBe(0);
  await redis.config('SET', 'maxmemory', '0');
  await resultsOf(redis, keys.result, 21);
  await allIsOver(redis, keys);
  expect(await redis.hget(keys.stats, 'completed')).toBe('21');
});

test.concurrent.each(['dead', 'errors', 'delayed'] as const)(
  'a key "%s" of another type holds up only what is for it',
  async (which) => {
    await using server = await startRedis();
    const redis = server.client();
    const keys = freshKeys();
    await redis.set(keys[which], 'of somebody else');
    const failing = (task: unknown): string => {
      if (String(task) === 'later') throw Object.assign(new Error('busy'), { retryAfter: 1 });
      if (String(task) === 'never') throw Object.assign(new Error('no'), { retry: false });
      return 'ok';
    };
    const retry = { attempts: 2, backoff: { initialMs: 1, maxMs: 1, jitter: false } };
    await using worker = startWorker(server, keys, { handler: failing, retry, concurrency: 4 });
    await worker.ready();
    await redis.lpush(keys.queue, ...plain(5), 'later', 'never', ...plain(10).slice(5));
    if (which === 'delayed') {
      // every turn looks into it: it is named, and nothing is taken until it is right
      const msg = expect.stringMatching(`WRONGTYPE .*${keys[which]}`);
      await eventually(() =>
        expect(worker.log).toContainEqual(expect.objectContaining({ level: 'error', msg })),
      );
      expect(await redis.llen(keys.queue)).toBe(12);
    } else {
      await resultsOf(redis, keys.result, 10);
      expect(await redis.hvals(keys.inflight(worker.id))).toContain('never');
    }
    await redis.del(keys[which]);
    await eventually(async () => expect(await redis.llen(keys.dead)).toBe(2));
    await resultsOf(redis, keys.result, 10);
    await allIsOver(redis, keys);
  },
);

test.concurrent('tasks that were set aside go back to the queue when the worker is stopped', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.set(keys.dead, 'of somebody else');
  const worker = startWorker(server, keys, {
    handler: () => {
      throw Object.assign(new Error('no'), { retry: false });
    },
  });
  await redis.lpush(keys.queue, 'never');
  const deferred = expect.objectContaining({ event: LogEvent.OutcomeDeferred, outcome: 'dead' });
  await eventually(() => expect(worker.log).toContainEqual(deferred));
  await worker.stop();
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['never']);
  expect(await redis.exists(keys.inflight(worker.id))).toBe(0);
});

test.concurrent('a turn that seems refused and was done is not settled again, in parts or whole', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 2 });
  const whole = worker.next({ want: 1, settled: { results: tasks.map((task) => done(task)) } });
  const without = { ...whole, settled: nothing, form: 1 };

  // the reply of the whole turn was lost: the one without outcomes learns that it was done, and gets its task
  expect(await worker.send(whole)).toMatchObject({ kind: 'held', form: 0 });
  expect(await worker.send({ ...without, seen: 2 })).toMatchObject({ kind: 'held', form: 0, seen: 3 });
  expect(await redis.hget(keys.stats, 'completed')).toBe('2');

  // the whole turn never came: the one without outcomes is the turn, and the whole one is not done any more
  const next = worker.next({ settled: { results: [{ receipt: '1-3', id: 'c', value: 'x' }] } });
  expect(await worker.send({ ...next, settled: nothing, form: 1 })).toMatchObject({ kind: 'held', form: 1 });
  expect(await worker.send(next)).toMatchObject({ kind: 'held', form: 1 });
  expect(await redis.hexists(keys.result, 'c')).toBe(0);
});

test.concurrent('a dead letter without an id is stored, and no client is notified', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  const worker = await startHandWorker(redis, keys);
  const { tasks } = await worker.turn({ want: 1 });
  const header = '{"error":"too large to say","attempts":1,"worker":"w"}';
  await worker.turn({ settled: { dead: tasks.map(({ receipt }) => ({ receipt, header })) } });
  expect(await readDeadLetters(redis, keys)).toMatchObject([
    { error: 'too large to say', raw: Buffer.from('a') },
  ]);
  expect(await redis.exists(keys.errors)).toBe(0);
});
