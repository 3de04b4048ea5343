/**
 * Silence that is the server's: Redis is away, refuses writes, has no memory or another time. No worker that lives loses its
 * lease by it, and one that died in the meantime does.
 */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { findOverdue, reapExpired } from '../../queue/workers/reap.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { sample } from '../support/sampling.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcpproxy.ts';
import { freshKeys, startHandWorker } from '../support/turns.ts';
import { resultsOf, startWorker, type TestWorker } from '../support/workers.ts';

const LEASE_MS = 3_000;
const seconds = (n: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 1_000 * n));

/** Three workers with two long tasks each, each by a proxy of its own; `end` lets the tasks end. */
async function startThree(server: RedisServer, keys: QueueKeys) {
  const gate = Promise.withResolvers<string>();
  const runs: string[] = [];
  const handler = (task: unknown): Promise<string> => {
    runs.push(String(task));
    return gate.promise;
  };
  const proxies: TcpProxy[] = [];
  const workers: TestWorker[] = [];
  for (let i = 0; i < 3; i++) {
    const proxy = await startTcpProxy(server.port);
    proxies.push(proxy);
    const address = { url: `redis://127.0.0.1:${proxy.port}` };
    workers.push(startWorker({ address }, keys, { handler, concurrency: 2, leaseMs: LEASE_MS }));
  }
  const redis = server.client();
  await redis.lpush(keys.queue, 'a', 'b', 'c', 'd', 'e', 'f');
  await eventually(() => expect(runs).toHaveLength(6));
  return {
    redis,
    proxies,
    /** Lets all tasks end: each has run once, and nobody was fenced. */
    expectUntouched: async ({ more = [] as string[], recovered = 0, fenced = 0 } = {}) => {
      gate.resolve('ok');
      const tasks = ['a', 'b', 'c', 'd', 'e', 'f', ...more];
      await resultsOf(redis, keys.result, tasks.length);
      expect(runs.toSorted()).toEqual(tasks);
      expect(workers.map(({ epochs }) => epochs)).toEqual([1, 1, 1]);
      const { counters } = await sampleQueue(redis, keys);
      expect(counters).toMatchObject({ recovered, fenced, completed: tasks.length });
    },
    [Symbol.asyncDispose]: async () => {
      for (const worker of workers) await worker[Symbol.asyncDispose]();
      for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
    },
  };
}

/** The controller, which is the last one to reap when no worker is left. */
function watch(server: RedisServer, keys: QueueKeys): AsyncDisposable {
  const sampling = sample(server.address);
  sampling.sampler.add('p', [keys]);
  return sampling;
}

const silences: [
  string,
  (redis: Redis, proxies: readonly TcpProxy[], server: RedisServer) => Promise<unknown>,
][] = [
  [
    'Redis takes no writes for longer than a lease',
    async (redis) => {
      await redis.config('SET', 'min-replicas-to-write', '1');
      await seconds(4);
      await redis.config('SET', 'min-replicas-to-write', '0');
    },
  ],
  [
    'nobody reaches Redis for longer than a lease, and one does sooner than the others',
    async (_, proxies) => {
      for (const proxy of proxies) proxy.stall();
      await seconds(4);
      for (const proxy of proxies) proxy.cut();
      proxies[0]?.resume();
      await seconds(0.7);
      for (const proxy of proxies) proxy.resume();
    },
  ],
  [
    'Redis is frozen for longer than a lease',
    async (_, _proxies, server) => {
      server.stop();
      await seconds(4);
      server.cont();
    },
  ],
];
test.concurrent.for(silences)('%s: no worker loses its tasks', async ([what, silence]) => {
  await using server = await startRedis();
  const keys = freshKeys();
  await using three = await startThree(server, keys);
  // one that does reach Redis lets time pass, and rightly ends the leases of those that do not
  await using _controller = what.startsWith('nobody') ? undefined : watch(server, keys);
  await silence(three.redis, three.proxies, server);
  await seconds(1.5);
  await three.expectUntouched();
});

test.concurrent.for([
  ['an hour ahead', 3_600_000],
  ['an hour back', -3_600_000],
])('the clock of Redis is set %s: nobody loses what it runs, and who died is recovered', async ([, step]) => {
  await using server = await startRedis({ ownClock: true });
  const keys = freshKeys();
  await using three = await startThree(server, keys);
  await using _controller = watch(server, keys);
  const { redis } = three;
  const dead = await startHandWorker(redis, keys, { leaseMs: LEASE_MS });
  await redis.lpush(keys.queue, 'g');
  await dead.turn({ want: 1 });
  await server.setClock(Number(step));
  await eventually(async () => expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['g']));
  await three.expectUntouched({ more: ['g'], recovered: 1, fenced: 1 });
});

test.concurrent('Redis has no memory for longer than a lease: finished tasks are kept until they can be stored', async () => {
  await using server = await startRedis();
  const keys = freshKeys();
  await using three = await startThree(server, keys);
  await using _controller = watch(server, keys);
  const { redis } = three;
  await redis.config('SET', 'maxmemory', '1mb');
  const untouched = three.expectUntouched();
  await seconds(4);
  expect(await redis.exists(keys.result)).toBe(0);
  await redis.config('SET', 'maxmemory', '0');
  await untouched;
});

test('deadlines that lie in the past by themselves end no lease; queue time does', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const [dead, alive] = [
    // longer than a busy machine takes for the next four lines
    await startHandWorker(redis, keys, { leaseMs: 3_000 }),
    await startHandWorker(redis, keys, { leaseMs: 3_000 }),
  ];
  await redis.lpush(keys.queue, 'a');
  await dead.turn({ want: 1 });
  for (const { id } of [dead, alive]) await redis.zincrby(keys.workers, -20_000, id);
  expect([...(await reapExpired(redis, keys))]).toEqual([]);
  // whoever looks lets time pass, and so do the turns of others
  await eventually(async () => {
    await alive.turn();
    expect(await findOverdue(redis, keys)).toEqual([dead.id]);
  });
  expect([...(await reapExpired(redis, keys))]).toEqual([[dead.id, 1]]);
  // nobody saw it die; the task may have been begun, so it does not expire any more
  const past = { attempts: 0, deliveries: 0, reprieved: true };
  expect((await alive.turn({ want: 1 })).tasks[0]?.past).toEqual(past);
});
