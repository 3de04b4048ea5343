/**
 * The task of a blocking move is taken by the script that is sent with the move (adopt.lua): without a turn, once, and only where a turn
 * would have nothing else to decide.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { cancelTask } from '../../queue/cancel.ts';
import { setLimits } from '../../queue/limits/limits.ts';
import { pauseQueue } from '../../queue/pause.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { adopt, type AdoptRequest } from '../../queue/workers/adopt.ts';
import { drainWorkers } from '../../queue/workers/drain.ts';
import { reap } from '../../queue/workers/reap.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { startOldWorker } from '../support/old-worker.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts, type HandWorker, type Held } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

interface Waiting {
  readonly keys: QueueKeys;
  readonly worker: HandWorker;
  readonly last: Held;
  /** What the worker sends with its move. */
  readonly request: AdoptRequest;
}

/** A worker after its first turn, and a task that its move has moved. */
async function startWaiting(keys = freshKeys()): Promise<Waiting> {
  const worker = await startHandWorker(redis, keys);
  const last = await worker.turn({ holds: 0, heard: 0, state: 'idle' });
  const request = { worker: worker.id, epoch: worker.epoch, turn: 1, heard: last.madeAt, seen: 0 };
  await redis.lpush(keys.wake(worker.id), 'task');
  return { keys, worker, last, request };
}

const inFlight = async ({ keys, worker }: Waiting): Promise<string[]> =>
  redis.hvals(keys.inflight(worker.id));
const woken = async ({ keys, worker }: Waiting): Promise<string[]> =>
  redis.lrange(keys.wake(worker.id), 0, -1);

test('the task is in flight, and the next turn settles it', async () => {
  const waiting = await startWaiting();
  const { keys, worker, last, request } = waiting;
  await redis.lpush(keys.queue, 'next');
  const adopted = await adopt(redis, keys, request);
  expect(adopted).toMatchObject({ counter: 1, more: true, delivery: { past: { attempts: 0 } } });
  if (!adopted || adopted === 'unknown') return;
  const { delivery } = adopted;
  expect(await redis.hgetall(keys.inflight(worker.id))).toEqual({ [delivery.receipt]: 'task' });
  expect(await sampleQueue(redis, keys)).toMatchObject({ waiting: 1, inFlight: 1, counters: { taken: 1 } });
  expect(await redis.hget(keys.worker(worker.id), 'state')).toBe('busy');

  const settled = { results: [done(delivery)] };
  const turn = await worker.turn({ seen: 1, holds: 1, heard: last.madeAt, settled });
  expect(texts(turn.tasks)).toEqual([]);
  expect(await redis.hgetall(keys.result)).toEqual({ task: 'done' });
  expect(await sampleQueue(redis, keys)).toMatchObject({
    waiting: 1,
    inFlight: 0,
    counters: { completed: 1 },
  });
});

test('where the reply is lost, the next turn returns the task, and so does a repeated turn', async () => {
  const waiting = await startWaiting();
  const { keys, worker, last, request } = waiting;
  expect(await adopt(redis, keys, request)).toBeDefined();
  const next = worker.next({ seen: 0, holds: 0, heard: last.madeAt, want: 0 });
  for (const _ of ['first', 'repeated']) {
    const reply = await worker.send(next);
    expect(reply.kind === 'held' && texts(reply.tasks)).toEqual(['task']);
  }
  expect(await sampleQueue(redis, keys)).toMatchObject({ inFlight: 1, counters: { taken: 1 } });
});

test('a turn that was on its way meanwhile takes other tasks, and both have receipts of their own', async () => {
  const waiting = await startWaiting();
  const { keys, worker, last, request } = waiting;
  await redis.lpush(keys.queue, 'a', 'b');
  // it took the moved task as well, as turns do
  const turn = await worker.turn({ seen: 0, holds: 0, heard: last.madeAt, want: 2 });
  expect(texts(turn.tasks)).toEqual(['task', 'a']);
  await redis.lpush(keys.wake(worker.id), 'moved');
  const adopted = await adopt(redis, keys, request);
  expect(adopted).toMatchObject({ counter: 3, more: true });
});

test('two moved tasks: the older one is taken, and the other one is known to wait', async () => {
  const waiting = await startWaiting();
  await redis.lpush(waiting.keys.wake(waiting.worker.id), 'second');
  const adopted = await adopt(redis, waiting.keys, waiting.request);
  expect(adopted).toMatchObject({ more: true, delivery: { raw: Buffer.from('task') } });
  expect(await woken(waiting)).toEqual(['second']);
});

test('without a task nothing is done', async () => {
  const waiting = await startWaiting();
  const { keys, worker, request } = waiting;
  await redis.del(keys.wake(worker.id));
  const before = await redis.hgetall(keys.worker(worker.id));
  expect(await adopt(redis, keys, request)).toBeUndefined();
  expect(await redis.hgetall(keys.worker(worker.id))).toEqual(before);
});

test('an order to drain that has expired leaves nothing to a turn', async () => {
  const waiting = await startWaiting();
  const { keys, worker, request } = waiting;
  await redis.hset(keys.worker(worker.id), 'drain', Date.now() - 60_000);
  expect(await adopt(redis, keys, request)).toBeDefined();
});

/** What leaves the task where it is: the next turn decides. */
const reasons: readonly [string, (waiting: Waiting) => Promise<unknown>][] = [
  ['the queue is paused', ({ keys }) => pauseQueue(redis, keys, 'test')],
  ['a task is cancelled', ({ keys }) => cancelTask(redis, keys, 'task')],
  ['the queue has limits', ({ keys }) => setLimits(redis, keys, { concurrency: 5 }, 'test')],
  [
    'the worker is to drain',
    ({ keys, worker }) => drainWorkers(() => redis, [keys], new Map([[worker.id, 'leave']])),
  ],
  ['a task has a past', ({ keys }) => redis.hset(keys.history, '=other', '1:0')],
  ['equal tasks have a past', ({ keys }) => redis.hset(keys.pasts, '=other', '0:1:1:0')],
  ['a suspect waits', ({ keys }) => redis.lpush(keys.suspects, '0:1:gone|other')],
  ['it holds a task with a past', ({ keys, worker }) => redis.hset(keys.carried(worker.id), 'x-1', '1:0')],
  ['it holds suspects', ({ keys, worker }) => redis.hset(keys.worker(worker.id), 'alone', '1')],
  ['it has drained', ({ keys, worker }) => redis.hset(keys.worker(worker.id), 'state', 'drained')],
  ['the queue is another type', ({ keys }) => redis.set(keys.queue, 'text')],
  ['the results are another type', ({ keys }) => redis.set(keys.result, 'text')],
  ['the tasks in flight are another type', ({ keys, worker }) => redis.set(keys.inflight(worker.id), 'text')],
  ['its epoch was ended', ({ keys, worker }) => reap(redis, keys, worker.id, 'any', 'displaced')],
  ['it has another epoch', ({ keys, worker }) => redis.hincrby(keys.worker(worker.id), 'epoch', 1)],
  ['the server has forgotten a turn', ({ keys, worker }) => redis.hset(keys.worker(worker.id), 'turn', '0')],
  ['another server has made the turn', ({ keys, worker }) => redis.hset(keys.worker(worker.id), 'at', '1')],
];

test.for(reasons)('the task is left to a turn: %s', async ([, happens]) => {
  const waiting = await startWaiting();
  await happens(waiting);
  const moved = [...(await woken(waiting)), ...(await taskIn(waiting.keys))];
  expect(await adopt(redis, waiting.keys, waiting.request)).toBeUndefined();
  expect([...(await woken(waiting)), ...(await taskIn(waiting.keys))]).toEqual(moved);
  expect(moved).toEqual(['task']);
});

/** Where a reaper has put it back. */
const taskIn = async ({ queue }: QueueKeys): Promise<string[]> => redis.lrange(queue, 0, -1).catch(() => []);

test('a server that has forgotten an adopted task does not give its receipt to another one', async () => {
  const waiting = await startWaiting();
  const { keys, worker, request } = waiting;
  expect(await adopt(redis, keys, request)).toMatchObject({ counter: 1 });
  // as before that
  await redis.hset(keys.worker(worker.id), 'seq', 0);
  await redis.del(keys.inflight(worker.id));
  await redis.lpush(keys.wake(worker.id), 'other');
  expect(await adopt(redis, keys, { ...request, seen: 1 })).toBeUndefined();
  expect(await inFlight(waiting)).toEqual([]);
});

test('a server that does not know the worker: what was moved is the next in the queue again', async () => {
  const waiting = await startWaiting();
  const { keys, worker, request } = waiting;
  await redis.lpush(keys.wake(worker.id), 'second');
  await redis.lpush(keys.queue, 'third');
  await redis.del(keys.worker(worker.id));
  expect(await adopt(redis, keys, request)).toBe('unknown');
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['third', 'second', 'task']);
  expect(await woken(waiting)).toEqual([]);
  expect(await redis.exists(keys.worker(worker.id), keys.inflight(worker.id))).toBe(0);
  // nothing was moved: whether it is known shows by its turn
  expect(await adopt(redis, keys, request)).toBeUndefined();
});

test('… also without memory; and where the queue is another type, it stays', async () => {
  for (const type of ['list', 'text'] as const) {
    const waiting = await startWaiting();
    const { keys, worker, request } = waiting;
    await redis.del(keys.worker(worker.id));
    if (type === 'text') await redis.set(keys.queue, 'text');
    await redis.config('SET', 'maxmemory', '1');
    try {
      expect(await adopt(redis, keys, request)).toBe('unknown');
    } finally {
      await redis.config('SET', 'maxmemory', '0');
    }
    expect([await woken(waiting), await taskIn(keys)], type).toEqual(
      type === 'list' ? [[], ['task']] : [['task'], []],
    );
  }
});

test('turns that were made while the move was blocked are no reason', async () => {
  const waiting = await startWaiting();
  const { keys, worker, last, request } = waiting;
  await redis.del(keys.wake(worker.id));
  const next = await worker.turn({ holds: 0, heard: last.madeAt });
  await worker.turn({ holds: 0, heard: next.madeAt });
  await redis.lpush(keys.wake(worker.id), 'later');
  expect(await adopt(redis, keys, request)).toMatchObject({ counter: 1 });
});

test('without memory a task that was moved is taken nevertheless', async () => {
  const waiting = await startWaiting();
  await redis.config('SET', 'maxmemory', '1');
  try {
    expect(await adopt(redis, waiting.keys, waiting.request)).toBeDefined();
  } finally {
    await redis.config('SET', 'maxmemory', '0');
  }
  expect(await inFlight(waiting)).toEqual(['task']);
});

test('a large task makes the turns that follow careful', async () => {
  const waiting = await startWaiting();
  const { keys, worker, request } = waiting;
  await redis.lset(keys.wake(worker.id), 0, 'x'.repeat(70_000));
  await adopt(redis, keys, request);
  expect(await redis.hget(keys.worker(worker.id), 'large')).toBe('1');
});

test('a worker that was lost: its adopted task is put back, by a worker of the first protocol too', async () => {
  for (const by of ['ours', 'old'] as const) {
    const waiting = await startWaiting();
    const { keys, worker, request } = waiting;
    await adopt(redis, keys, request);
    await redis.zadd(keys.workers, 1, worker.id);
    if (by === 'ours') await reap(redis, keys, worker.id, 'expired', 'lost');
    else await (await startOldWorker(redis, keys, 'old')).reap(worker.id);
    expect(await redis.lrange(keys.queue, 0, -1), by).toEqual(['task']);
    // it was in flight, and may have begun
    expect(await redis.hvals(keys.history), by).toEqual([expect.stringMatching(/^0:1/)]);
  }
});
