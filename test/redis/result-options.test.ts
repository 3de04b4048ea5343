/**
 * Results that go by themselves, on a server that lets fields of a hash expire and on one that does not (one without the
 * command, and one where the user may not call it); and results that are too large.
 */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { openQueue } from '../../queue/queue.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { sweep } from '../../queue/workers/sweep.ts';
import type { Delivery } from '../../queue/workers/turn.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { newerRedis } from '../support/newer-redis.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { sample } from '../support/sampling.ts';
import { done, freshKeys, startHandWorker, type HandWorker } from '../support/turns.ts';
import { spawnWorker, startWorker } from '../support/workers.ts';

const newer = await newerRedis();

/** A server that knows HPEXPIRE. */
const startNewer = (): Promise<RedisServer> => startRedis({ program: newer });

/** Works one task off and lets its result go after `ttl` ms. */
async function work(
  redis: Redis,
  worker: HandWorker,
  queue: string,
  task: string,
  value: string,
): Promise<void> {
  await redis.lpush(queue, task);
  const { tasks } = await worker.turn({ want: 1 });
  await worker.turn({ settled: { results: tasks.map((taken) => done(taken, value)) } });
}

async function workerWithTtl(
  redis: Redis,
  keys: ReturnType<typeof freshKeys>,
  ttl: number,
): Promise<HandWorker> {
  const worker = await startHandWorker(redis, keys);
  await redis.hset(keys.worker(worker.id), 'resultTtl', ttl);
  return worker;
}

test('a newer server removes each result at its time; nothing else is kept for it', async () => {
  await using server = await startNewer();
  const redis = server.client();
  const keys = freshKeys();
  const worker = await workerWithTtl(redis, keys, 60_000);
  const began = performance.now();
  await work(redis, worker, keys.queue, 'a', 'one');
  const left = (id: string): Promise<unknown> => redis.call('HPTTL', keys.result, 'FIELDS', '1', id);
  const [first] = (await left('a')) as number[];
  expect(first).toBeGreaterThan(59_000 - (performance.now() - began));
  expect(await redis.exists(keys.expiry)).toBe(0);
  // a plain worker's result has no time
  await redis.hset(keys.result, 'a', 'plain');
  expect(await left('a')).toEqual([-1]);
  // a newer one of ours starts anew
  await redis.hset(keys.worker(worker.id), 'resultTtl', 50);
  await work(redis, worker, keys.queue, 'a', 'two');
  await work(redis, worker, keys.queue, 'b', 'three');
  await redis.hset(keys.result, 'b', 'plain');
  await eventually(async () => expect(await redis.hgetall(keys.result)).toEqual({ b: 'plain' }));
});

/** Takes what waits, turn by turn. */
async function takeAll(worker: HandWorker): Promise<Delivery[]> {
  const taken: Delivery[] = [];
  for (;;) {
    const { tasks } = await worker.turn({ want: 1_000 });
    if (tasks.length === 0) return taken;
    taken.push(...tasks);
  }
}

test('5,000 results of one turn, on a newer server', async () => {
  await using server = await startNewer();
  const redis = server.client();
  const keys = freshKeys();
  const worker = await workerWithTtl(redis, keys, 60_000);
  const tasks = Array.from({ length: 5_000 }, (_, i) => `task ${i}`);
  await redis.lpush(keys.queue, ...tasks);
  const taken = await takeAll(worker);
  await worker.turn({ settled: { results: taken.map((task) => done(task)) } });
  const left = (await redis.call('HPTTL', keys.result, 'FIELDS', '5000', ...tasks)) as number[];
  expect(left.filter((ms) => ms <= 0)).toEqual([]);
});

/** Servers where fields do not expire by themselves, each with a client of the user in question. */
const without: [string, () => Promise<{ server: RedisServer; redis: Redis }>][] = [
  [
    'a server where the user may not let fields expire, or that cannot',
    async () => {
      const server = await startRedis();
      const admin = server.client();
      // on a server that does not know the command there is nothing to forbid
      const known = ((await admin.call('COMMAND', 'INFO', 'HPEXPIRE')) as unknown[])[0] !== null;
      const rules = ['on', '>secret', '~*', '&*', '+@all', ...(known ? ['-hpexpire'] : [])];
      await admin.call('ACL', 'SETUSER', 'app', ...rules);
      return { server, redis: server.client({ username: 'app', password: 'secret' }) };
    },
  ],
  [
    'a newer server where the user may not',
    async () => {
      const server = await startNewer();
      await server.client().call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-hpexpire');
      return { server, redis: server.client({ username: 'app', password: 'secret' }) };
    },
  ],
];

test.each(without)('%s: each result is swept at its time', async (_what, start) => {
  const started = await start();
  await using _server = started.server;
  const { redis } = started;
  const keys = freshKeys();
  const worker = await workerWithTtl(redis, keys, 1);
  const long = 'x'.repeat(10_000);
  await work(redis, worker, keys.queue, 'a', 'one');
  await work(redis, worker, keys.queue, 'long', long);
  await work(redis, worker, keys.queue, 'plain', 'ours');
  await work(redis, worker, keys.queue, 'long plain', long);
  await redis.hset(keys.result, 'plain', 'theirs', 'long plain', `y${long.slice(1)}`);
  expect(await redis.hget(keys.worker(worker.id), 'expiry')).toBe('swept');
  // a newer one of ours starts anew
  await redis.hset(keys.worker(worker.id), 'resultTtl', 60_000);
  await work(redis, worker, keys.queue, 'again', 'one');
  await redis.hset(keys.worker(worker.id), 'resultTtl', 1);
  await work(redis, worker, keys.queue, 'again', 'two');
  await redis.hset(keys.worker(worker.id), 'resultTtl', 60_000);
  await work(redis, worker, keys.queue, 'again', 'three');
  await eventually(async () => expect((await sampleQueue(redis, keys)).overdue).toBe(true));
  await sweep(redis, keys);
  const left = await redis.hgetall(keys.result);
  expect(Object.keys(left).toSorted()).toEqual(['again', 'long plain', 'plain']);
  expect(left).toMatchObject({ again: 'three', plain: 'theirs' });
  await throughout(20, () => sweep(redis, keys));
  expect(await redis.hlen(keys.result)).toBe(3);
});

test('thousands that fall due together are swept in steps, by a worker, or by the controller alone', async () => {
  await using server = await startRedis();
  const redis = server.client();
  for (const by of ['worker', 'controller'] as const) {
    const keys = freshKeys();
    const hand = await workerWithTtl(redis, keys, 1);
    await redis.hset(keys.worker(hand.id), 'expiry', 'swept');
    const tasks = Array.from({ length: 4_000 }, (_, i) => `task ${i}`);
    await redis.lpush(keys.queue, ...tasks);
    const taken = await takeAll(hand);
    await hand.turn({ settled: { results: taken.map((task) => done(task)) } });
    await using stack = new AsyncDisposableStack();
    if (by === 'worker') stack.use(startWorker(server, keys, { handler: () => 'ok', leaseMs: 1_000 }));
    else stack.use(sample(server.address)).sampler.add('p', [keys]);
    await eventually(async () => expect(await redis.exists(keys.result, keys.expiry)).toBe(0));
  }
});

test('a result key of another type does not stop the sweep, and is not touched', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.zadd(keys.expiry, 1, 'r0123456789abcdef|a');
  await redis.set(keys.result, 'not a hash');
  await sweep(redis, keys);
  expect(await redis.get(keys.result)).toBe('not a hash');
  expect(await redis.exists(keys.expiry)).toBe(0);
});

test('a worker process: its results go after --result-ttl, and one over --result-max-size fails for good', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  const limits = ['--result-ttl', '500ms', '--result-max-size', '1Ki', '--lease', '1s'];
  await using _worker = await spawnWorker(server, keys, limits);
  await redis.hset(keys.result, 'plain', 'stays');
  await queue.enqueueMany(['x'.repeat(1_024), 'short']);
  // they may be gone before anybody sees them
  await eventually(async () =>
    expect((await sampleQueue(redis, keys)).counters).toMatchObject({ completed: 2, failed: 0 }),
  );
  const large = 'x'.repeat(1_025);
  await queue.enqueue(large);
  await expect(queue.result(large)).rejects.toThrow(
    'the result is too large: it has 1025 bytes, and at most 1024 are allowed here',
  );
  expect((await queue.dead())[0]).toMatchObject({ attempts: 1 });
  await eventually(async () => expect(await redis.hgetall(keys.result)).toEqual({ plain: 'stays' }));
});
