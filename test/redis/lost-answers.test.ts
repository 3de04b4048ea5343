/** Requests of which Redis has executed the first and the client has got no reply: the answer to the one that is sent again is that of the first. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { pauseAdded } from '../../controller/act/pause-added.ts';
import type { Sampler } from '../../controller/sample/sampler.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { deadHeader, moveDeadLetters, readDeadHeads } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { removeLimits, setLimits } from '../../queue/limits/limits.ts';
import { levelKeys } from '../../queue/priorities.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { openLevels } from '../../queue/served-levels.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = defineScripts(server.client());
});
afterAll(() => server[Symbol.asyncDispose]());

interface Lossy {
  readonly queue: Queue;
  readonly redis: Redis;
}

interface Lost<T> {
  readonly keys: QueueKeys;
  /** Of the request whose reply is lost: text that no other one has before it. */
  readonly about: string;
  readonly send: (lossy: Lossy) => Promise<T>;
  /** Whether it was executed. */
  readonly made: () => Promise<boolean>;
  /** What happens before it is sent again. */
  readonly meanwhile?: () => Promise<unknown>;
}

async function losing<T>({ keys, about, send, made, meanwhile }: Lost<T>): Promise<T> {
  await using proxy = await startTcpProxy(server.port);
  const address = { url: `redis://127.0.0.1:${proxy.port}` };
  await using queue = openQueue({ redis: address, queue: keys.queue, result: keys.result });
  const client = defineScripts(openRedis(address));
  try {
    await Promise.all([queue.inspect(), client.ping()]);
    proxy.stallAfter(about);
    const sent = send({ queue, redis: client });
    await eventually(async () => expect(await made()).toBe(true));
    await meanwhile?.();
    proxy.cut();
    proxy.resume();
    return await sent;
  } finally {
    await closeRedis(client);
  }
}

/** So that the server knows the scripts: the reply that is lost is to be that of one that ran. */
beforeAll(async () => {
  const keys = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  await bury(keys, ['a', 'b', 'c']);
  await queue.dead.requeue({ ids: ['a'] });
  await moveDeadLetters(redis, keys, 'drop', 'all');
  await queue.cancel('x');
  await queue.resume();
  await queue.batch.cancel('x');
  await removeLimits(redis, keys, 'x');
});

async function bury(keys: QueueKeys, ids: readonly string[]): Promise<void> {
  const entries = ids.map((id) => {
    const header = deadHeader({ error: 'it failed', attempts: 5, worker: 'w', id });
    return `${Date.now()} ${header}\n${JSON.stringify({ id })}`;
  });
  await redis.lpush(keys.dead, ...entries);
}

/** Nothing is kept for clients that are gone. */
async function expectForgotten(keys: QueueKeys): Promise<void> {
  await eventually(async () => expect(await redis.keys(keys.answers('*'))).toEqual([]));
}

const many = Array.from({ length: 450 }, (_, i) => `t${i}`);

test.for(['requeue', 'drop'] as const)('%s of one dead letter', async (how) => {
  const keys = freshKeys();
  await bury(keys, ['a', 'b']);
  const moved = await losing({
    keys,
    about: how,
    send: ({ queue }) => queue.dead[how]({ ids: ['a'] }),
    made: async () => (await redis.llen(keys.dead)) === 1,
  });
  expect(moved).toBe(1);
  expect(await redis.llen(keys.queue)).toBe(how === 'requeue' ? 1 : 0);
  await expectForgotten(keys);
});

test('requeue of hundreds, and what is reported on the way', async () => {
  const keys = freshKeys();
  await bury(keys, many);
  const reported: number[] = [];
  const moved = await losing({
    keys,
    about: 'requeue',
    send: ({ queue }) => queue.dead.requeue('all', (count) => reported.push(count)),
    made: async () => (await redis.llen(keys.dead)) === 250,
  });
  expect(moved).toBe(450);
  expect(reported).toEqual([200, 200, 50]);
  expect((await redis.lrange(keys.queue, 0, -1)).toReversed()).toEqual(
    many.map((id) => JSON.stringify({ id })),
  );
  await expectForgotten(keys);
});

test('the same letter twice: each is requeued once', async () => {
  const keys = freshKeys();
  await bury(keys, ['a']);
  const [entry = ''] = await redis.lrange(keys.dead, 0, -1);
  const requeue = ({ queue }: Lossy): Promise<number> => queue.dead.requeue({ ids: ['a'] });
  const lost = losing({
    keys,
    about: 'requeue',
    send: requeue,
    made: async () => (await redis.llen(keys.dead)) === 0,
    // as when the clock of the server was set back and the task has failed as before
    meanwhile: () => redis.lpush(keys.dead, entry),
  });
  expect(await lost).toBe(1);
  expect(await redis.llen(keys.queue)).toBe(1);
  expect(await redis.lrange(keys.dead, 0, -1)).toEqual([entry]);
});

test.for(['requeue', 'drop'] as const)('%s of dead letters by the dashboard', async (how) => {
  const keys = freshKeys();
  await bury(keys, many);
  const heads = await readDeadHeads(redis, keys, 500, 10);
  const some = heads.slice(-60).map(({ digest }) => digest);
  const named = await losing({
    keys,
    about: how,
    send: (lossy) => moveDeadLetters(lossy.redis, keys, how, some),
    made: async () => (await redis.llen(keys.dead)) < 450,
  });
  expect(named).toBe(60);
  const all = await losing({
    keys,
    about: how,
    send: (lossy) => moveDeadLetters(lossy.redis, keys, how, 'all'),
    made: async () => (await redis.llen(keys.dead)) < 390,
  });
  expect(all).toBe(390);
  expect(await redis.llen(keys.queue)).toBe(how === 'requeue' ? 450 : 0);
  await expectForgotten(keys);
});

test('a task that a worker has settled as cancelled by then was not finished before', async () => {
  const keys = freshKeys();
  await using worker = startWorker(server, keys, {
    handler: async (_task, { signal }) =>
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error)),
      ),
  });
  await redis.lpush(keys.queue, '{"id":"a"}');
  await eventually(async () => expect(await redis.hlen(keys.inflight(worker.id))).toBe(1));
  const cancelled = await losing({
    keys,
    about: '604800000',
    send: ({ queue }) => queue.cancel('a'),
    made: async () => (await redis.hexists(keys.errors, 'a')) === 1,
  });
  expect(cancelled).toBe('marked');
  await expectForgotten(keys);
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  expect(await queue.cancel('a')).toBe('finished');
});

test('a client that cancels a lot keeps few answers', async () => {
  const keys = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  for (const id of many) expect(await queue.cancel(id)).toBe('marked');
  const [own = ''] = await redis.keys(keys.answers('*'));
  expect(await redis.hlen(own)).toBeLessThan(3);
  expect(await redis.ttl(own)).toBeGreaterThan(1_000);
});

test('a batch that is over by then was cancelled', async () => {
  const keys = freshKeys();
  await using client = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  const { id } = await client.batch([{ n: 1 }, { n: 2 }]);
  // its parts are nowhere, as if plain workers had taken and lost them; workers that find the marks end it otherwise
  const isOver = async (): Promise<boolean> => (await client.batch.show(id))?.state === 'cancelled';
  await using worker = startWorker(server, keys, { handler: () => 'ok', concurrency: 1 });
  await client.pause();
  await worker.ready();
  const answer = losing({
    keys,
    about: 'it was cancelled',
    send: ({ queue }) => queue.batch.cancel(id),
    made: async () => (await client.batch.show(id))?.state !== 'running',
    meanwhile: async () => {
      await client.resume();
      await eventually(async () => expect(await isOver()).toBe(true));
    },
  });
  expect(await answer).toBe('cancelled');
  expect(await client.batch.cancel(id)).toBe('over');
});

test('the end of a pause', async () => {
  const keys = freshKeys();
  const resume = (): Promise<boolean> =>
    losing({
      keys,
      about: 'paused',
      send: ({ queue }) => queue.resume(),
      made: async () => (await redis.exists(keys.paused)) === 0,
    });
  await redis.set(keys.paused, '1 why');
  expect(await resume()).toBe(true);
  await openLevels(redis, keys, ['low']);
  await redis.set(levelKeys(keys, 'low').paused, '1 why');
  await using client = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  expect(await client.resume()).toBe(true);
  expect(await client.resume()).toBe(false);
  await expectForgotten(keys);
});

test('limits that are new, and none any more', async () => {
  const keys = freshKeys();
  const isThere = async (): Promise<boolean> => (await redis.hexists(keys.limits, 'rate')) === 1;
  const set = losing({
    keys,
    about: 'a test',
    send: (lossy) => setLimits(lossy.redis, keys, { rate: '5/s' }, 'a test'),
    made: isThere,
  });
  expect(await set).toBe(true);
  expect(await setLimits(redis, keys, { rate: '5/s' }, 'a test')).toBe(false);
  const removed = losing({
    keys,
    about: 'a test',
    send: (lossy) => removeLimits(lossy.redis, keys, 'a test'),
    made: async () => !(await isThere()),
    // another one ends what this one has begun
    meanwhile: () => removeLimits(redis, keys, 'another'),
  });
  expect(await removed).toBe(true);
  expect(await removeLimits(redis, keys, 'a test')).toBe(false);
  await expectForgotten(keys);
});

test('the pause of a list that is added to a paused queue', async () => {
  const keys = freshKeys();
  const low = levelKeys(keys, 'low');
  await redis.set(keys.paused, '7 for the night');
  const paused = losing({
    keys,
    about: low.paused,
    send: (lossy) => {
      const sampler = { redisOf: () => lossy.redis } as unknown as Sampler;
      return pauseAdded({ queues: [keys, low], sampler }, new Set([low.queue]));
    },
    made: async () => (await redis.exists(low.paused)) === 1,
  });
  expect(await paused).toBe(1);
  // one that had a pause of its own
  await redis.set(low.paused, '5 for itself');
  const sampler = { redisOf: () => redis } as unknown as Sampler;
  expect(await pauseAdded({ queues: [keys, low], sampler }, new Set([low.queue]))).toBe(0);
  expect(await redis.get(low.paused)).toBe('5 for itself');
});
