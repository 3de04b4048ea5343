/**
 * A server that knows less than its workers: a failover to a replica that lags, a restart from an older snapshot, FLUSHALL.
 * Whoever knows more than the server begins anew from what it has, and what it held comes back without a mark against it.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { redisNow } from '../../queue/connection/connection.ts';
import { deadHeader } from '../../queue/dead-letter-format.ts';
import { drainWorkers } from '../../queue/workers/drain.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import type { Settled } from '../../queue/workers/turn.ts';
import { turn } from '../../queue/workers/turn.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { snapshot } from '../support/snapshot.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { done, freshKeys, startHandWorker, texts } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

/** For those that need none of their own. */
let shared: RedisServer;
let common: Redis;
beforeAll(async () => {
  shared = await startRedis();
  common = shared.client();
});
afterAll(() => shared[Symbol.asyncDispose]());

const AT_ONCE = ['--repl-diskless-sync-delay', '0'];
const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** A handler that fails once for each task called flaky, and for good for those called bad. */
function fickle(): (task: unknown) => string {
  const failed = new Set<unknown>();
  return (task) => {
    if (String(task).startsWith('bad'))
      throw Object.assign(new Error(`no: ${String(task)}`), { retry: false });
    if (String(task).startsWith('flaky') && !failed.has(task)) {
      failed.add(task);
      throw new Error('once');
    }
    return `did ${String(task)}`;
  };
}

/** After all that: new tasks have the right ends, and nothing is left anywhere. */
async function expectSound(redis: Redis, keys: QueueKeys, before: number): Promise<void> {
  await redis.lpush(keys.queue, ...names('after', 20), ...names('flaky', 3), 'bad');
  const all = await resultsOf(redis, keys.result, before + 23);
  for (const [id, value] of Object.entries(all)) expect(value).toBe(`did ${id}`);
  await eventually(async () =>
    expect(await sampleQueue(redis, keys)).toMatchObject({ waiting: 0, inFlight: 0, delayed: 0, dead: 1 }),
  );
  expect(await redis.hkeys(keys.errors)).toEqual(['bad']);
  expect((await redis.hget(keys.errors, 'bad')) ?? '').toContain('no: bad');
}

test.concurrent('a restart from a snapshot that was made before tasks were done', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: fickle(), concurrency: 2 });
  await worker.ready();
  await redis.lpush(keys.queue, ...names('a', 10));
  await resultsOf(redis, keys.result, 10);
  await redis.save();
  await redis.lpush(keys.queue, ...names('b', 40));
  await resultsOf(redis, keys.result, 50);
  await server.restart();
  await expectSound(redis, keys, 10);
  expect(worker.epochs).toBe(2);
  await worker.stop();
  expect(await redis.llen(keys.queue)).toBe(0);
});

test.concurrent('a snapshot in which a task runs that has ended: it runs again while its worker lives', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const running = Promise.withResolvers<undefined>();
  const gate = Promise.withResolvers<undefined>();
  const deliveries: number[] = [];
  const handler = async (): Promise<string> => {
    deliveries.push(deliveries.length);
    running.resolve(undefined);
    await gate.promise;
    return 'ok';
  };
  await using worker = startWorker(server, keys, { handler });
  await redis.lpush(keys.queue, 'a');
  await running.promise;
  await redis.save();
  gate.resolve(undefined);
  await resultsOf(redis, keys.result, 1);
  await server.restart();
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ a: 'ok' });
  expect(deliveries).toEqual([0, 1]);
  // nobody died, so nothing is counted against it
  await eventually(async () => expect(await redis.exists(keys.carried(worker.id), keys.history)).toBe(0));
});

test.concurrent('a failover to a replica that lags', async () => {
  await using first = await startRedis({ args: AT_ONCE });
  await using link = await startTcpProxy(first.port);
  await using second = await startRedis({
    args: [...AT_ONCE, '--replicaof', '127.0.0.1', String(link.port)],
  });
  await using front = await startTcpProxy(first.port);
  const [old, redis] = [first.client(), second.client()];
  await eventually(async () => expect(await redis.info('replication')).toContain('master_link_status:up'));
  const keys = freshKeys();
  const address = { url: `redis://127.0.0.1:${front.port}` };
  await using worker = startWorker({ address }, keys, { handler: fickle(), concurrency: 8 });
  await worker.ready();
  await old.lpush(keys.queue, ...names('a', 40));
  await resultsOf(old, keys.result, 40);
  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(40));
  link.stall();
  // these are done, and the next primary never hears of it
  await old.lpush(keys.queue, ...names('lost', 20));
  await resultsOf(old, keys.result, 60);
  await first.kill();
  link.cut();
  await redis.replicaof('NO', 'ONE');
  front.redirect(second.port);
  await expectSound(redis, keys, 40);
  expect(worker.epochs).toBe(2);
  // whoever is asked to drain can say that it has drained
  await drainWorkers(() => redis, [keys], new Map([[worker.id, 'leave']]));
  await eventually(async () => {
    const loads = await drainWorkers(() => redis, [keys], new Map([[worker.id, 'read']]));
    expect(loads.get(worker.id)).toMatchObject({ state: 'drained', inFlight: 0 });
  });
});

test.concurrent('FLUSHALL while a worker drains: it drains, and leaves nothing', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const gate = Promise.withResolvers<string>();
  await using worker = startWorker(server, keys, { handler: () => gate.promise });
  await redis.lpush(keys.queue, 'a');
  await eventually(async () => expect(await redis.hlen(keys.inflight(worker.id))).toBe(1));
  const stopped = worker.stop();
  await redis.flushall();
  gate.resolve('ok');
  await stopped;
  expect(await redis.keys('*')).toEqual([]);
});

const settlings: [string, (receipt: string) => Partial<Settled>][] = [
  ['a result', (receipt) => ({ results: [{ receipt, id: 'x', value: 'x' }] })],
  ['a retry', (receipt) => ({ retries: [{ receipt, delayMs: 1, past: { attempts: 1, deliveries: 0 } }] })],
  [
    'a dead letter',
    (receipt) => ({
      dead: [{ receipt, id: 'x', header: deadHeader({ error: 'no', attempts: 1, worker: 'w' }) }],
    }),
  ],
  ['a hand-back', (receipt) => ({ released: [receipt] })],
  ['a cancel', (receipt) => ({ cancelled: [{ receipt, id: 'x', header: '{}' }] })],
];
test.for(settlings)('%s of a task that is not in flight settles nothing else either', async ([, settle]) => {
  const keys = freshKeys();
  const worker = await startHandWorker(common, keys);
  await common.lpush(keys.queue, 'a', 'b');
  const { tasks } = await worker.turn({ want: 2 });
  const [a, b] = tasks;
  if (!a || !b) throw new Error('two tasks were pushed');
  await common.hdel(keys.inflight(worker.id), b.receipt);
  const wrong = settle(b.receipt);
  const settled = { ...wrong, results: [done(a), ...(wrong.results ?? [])] };
  expect(await worker.send(worker.next({ settled, want: 1 }))).toEqual({ kind: 'fenced' });
  expect(await common.exists(keys.result, keys.delayed, keys.dead, keys.errors, keys.queue)).toBe(0);
  expect(await common.hvals(keys.inflight(worker.id))).toEqual(['a']);
});

test('a turn that two servers made differently: the one that is not the worker’s any more takes no more of them', async () => {
  const keys = freshKeys();
  const worker = await startHandWorker(common, keys);
  await common.lpush(keys.queue, 'a', 'b');
  const request = worker.next({ want: 1, heard: 0, holds: 0 });
  const toBefore = await snapshot(common, keys, [worker.id]);
  const lost = await turn(common, keys, request);
  const toOne = await snapshot(common, keys, [worker.id]);
  await toBefore();
  await common.rpush(keys.queue, 'other');
  const madeAt = lost.kind === 'held' ? lost.madeAt : Infinity;
  await eventually(async () => expect(await redisNow(common)).toBeGreaterThan(madeAt));
  const other = await worker.send(request);
  if (other.kind === 'fenced') throw new Error('it is the first that this server sees of that turn');
  expect(texts(other.tasks)).toEqual(['other']);
  await toOne();
  const settled = { results: other.tasks.map((task) => done(task)) };
  const next = worker.next({ heard: other.madeAt, holds: 1, settled });
  expect(await worker.send(next)).toEqual({ kind: 'fenced' });
  expect(await common.exists(keys.result)).toBe(0);
  expect(await common.hvals(keys.inflight(worker.id))).toEqual(['a']);
});
