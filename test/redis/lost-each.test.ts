/**
 * Each reply of a request in turn is lost with its connection, after Redis has executed what it answers: what the caller is told, and what
 * Redis holds in the end, are as without that.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { keepPriorities, reclaimPriorities } from '../../controller/act/priorities.ts';
import type { Sampler } from '../../controller/sample/sampler.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { moveCron, readCron } from '../../queue/crons.ts';
import { deadHeader, moveDeadLetters } from '../../queue/dead-letter-format.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { removeLimits, setLimits } from '../../queue/limits/limits.ts';
import { levelKeys } from '../../queue/priorities.ts';
import { announceLevels, openLevels } from '../../queue/served-levels.ts';
import { putDecision } from '../../queue/pool/decisions.ts';
import { appendToTimeline, parseEntry, type TimelineEntry } from '../../queue/pool/timeline.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { drainWorkers } from '../../queue/workers/drain.ts';
import { reap, reapExpired } from '../../queue/workers/reap.ts';
import { register } from '../../queue/workers/register.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { startHandWorker } from '../support/turns.ts';

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
  readonly keys: QueueKeys;
}

interface Request {
  readonly before?: (keys: QueueKeys, partitions: number) => Promise<unknown>;
  readonly send: (lossy: Lossy) => Promise<unknown>;
  readonly partitions?: number;
}

const letters = async ({ dead, errors }: QueueKeys): Promise<void> => {
  for (let i = 0; i < 5; i++) {
    const header = deadHeader({ error: 'it failed', attempts: 5, worker: 'w', id: `t${i}` });
    await redis.lpush(dead, `1 ${header}\n${JSON.stringify({ id: `t${i}` })}`);
    await redis.hset(errors, `t${i}`, header);
  }
};
const entry = parseEntry('1-1', '10000 1 2') as TimelineEntry;
const samplerOf = (client: Redis): Sampler => ({ redisOf: () => client }) as unknown as Sampler;
const begin = async ({ queue, result }: QueueKeys, partitions: number): Promise<void> => {
  await using client = openQueue({ redis: server.url, queue, result, partitions });
  await client.batch([{ id: 'p1' }, { id: 'p2' }, { id: 'p3' }], { id: 'b', then: { id: 'after' } });
};
/** A worker `w` holds so many tasks that it is emptied in several pieces. */
const take = async (keys: QueueKeys): Promise<void> => {
  await redis.lpush(keys.queue, ...Array.from({ length: 900 }, (_, i) => `t${i}`));
  await (await startHandWorker(redis, keys, { id: 'w' })).turn({ want: 800 });
};
const many = Array.from({ length: 1_500 }, (_, i) => ({ id: `m${i}` }));
const text = (at: number): { head: string; text: string } => ({
  head: `{"at":${at},`,
  text: `{"at":${at},"confirmedAt":${at}}`,
});

const requests: Record<string, Request> = {
  enqueue: { send: ({ queue }) => queue.enqueue({ id: 'a' }) },
  'enqueue, unique': {
    send: async ({ queue }) => [
      await queue.enqueueUnique({ id: 'a' }, { unique: 'k' }),
      await queue.enqueueUnique({ id: 'b' }, { unique: 'k' }),
    ],
  },
  'enqueue, delayed': { send: ({ queue }) => queue.enqueue({ id: 'a' }, { delayMs: 60_000 }) },
  'enqueue with a priority': {
    before: (keys) => openLevels(redis, keys, ['high']),
    send: ({ queue }) => queue.enqueue({ id: 'a' }, { priority: 'high' }),
  },
  'enqueue many': { send: ({ queue }) => queue.enqueueMany(many) },
  'enqueue many in partitions': { send: ({ queue }) => queue.enqueueMany(many), partitions: 3 },
  batch: { send: ({ queue }) => queue.batch(many, { id: 'b', then: { id: 'after' } }) },
  'batch in partitions': { send: ({ queue }) => queue.batch(many, { id: 'b' }), partitions: 3 },
  'cancel of a task': { send: ({ queue }) => queue.cancel('a') },
  'cancel of a batch': { before: begin, send: ({ queue }) => queue.batch.cancel('b') },
  'cancel of a batch in partitions': {
    before: begin,
    send: ({ queue }) => queue.batch.cancel('b'),
    partitions: 3,
  },
  requeue: { before: letters, send: ({ queue }) => queue.dead.requeue('all') },
  drop: { before: letters, send: ({ queue }) => queue.dead.drop({ ids: ['t1', 't2', 't9'] }) },
  'requeue by the dashboard': {
    before: letters,
    send: (lossy) => moveDeadLetters(lossy.redis, lossy.keys, 'requeue', 'all'),
  },
  pause: { send: ({ queue }) => queue.pause('why') },
  resume: { before: ({ paused }) => redis.set(paused, '1 why'), send: ({ queue }) => queue.resume() },
  'limits that are new': {
    send: (lossy) => setLimits(lossy.redis, lossy.keys, { perKey: { field: 'c', concurrency: 1 } }, 'test'),
  },
  'limits that are removed': {
    before: (keys) => setLimits(redis, keys, { rate: '5/s' }, 'test'),
    send: (lossy) => removeLimits(lossy.redis, lossy.keys, 'test'),
  },
  'priorities of a pool': {
    send: ({ redis: client, keys }) =>
      keepPriorities({ link: { queues: [keys], sampler: samplerOf(client) }, uid: 'u', open: ['high'] }),
  },
  'priorities of a pool that are gone': {
    before: (keys) => openLevels(redis, keys, ['high'], 'u'),
    send: ({ redis: client, keys }) =>
      keepPriorities({
        link: { queues: [keys], sampler: samplerOf(client) },
        uid: 'u',
        open: [],
        gone: ['high'],
      }),
  },
  'priorities that are there again': {
    before: async (keys) => {
      await openLevels(redis, keys, ['high', 'low'], 'u');
      await redis.lpush(levelKeys(keys, 'low').queue, 'x');
    },
    send: ({ redis: client, keys }) =>
      reclaimPriorities({ sampler: samplerOf(client) }, keys, {
        uid: 'u',
        levels: ['high', 'low'],
        others: [],
      }),
  },
  'priorities of a worker': {
    before: ({ paused }) => redis.set(paused, '1 why'),
    send: (lossy) => announceLevels(lossy.redis, lossy.keys, ['low']),
  },
  'an occurrence of a cron task': {
    send: async ({ redis: client, keys }) => {
      const { bytes } = await readCron(client, keys, 'c');
      await moveCron(client, keys, 'c', bytes, { of: 'x', until: 5 }, [{ id: 'a', raw: '{"id":"a"}' }]);
    },
  },
  'decisions of a pool': {
    send: async ({ redis: client, keys }) => {
      for (const at of [1, 2, 2, 3]) await putDecision(client, keys, 'shop/tiles', text(at));
    },
  },
  'an entry of a timeline': {
    send: async ({ redis: client, keys }) => {
      await appendToTimeline(client, keys, 'shop/tiles', entry);
      return await redis.xlen(keys.timeline('shop/tiles'));
    },
  },
  'a registration of a worker': {
    send: async ({ redis: client, keys }) => (await register(client, keys, 'w', 15_000, {})) !== undefined,
  },
  'the end of a worker that is lost': {
    before: take,
    send: (lossy) => reap(lossy.redis, lossy.keys, 'w', 'any', 'lost'),
  },
  'the goodbye of a worker': {
    before: take,
    send: (lossy) => reap(lossy.redis, lossy.keys, 'w', 'any', 'leave'),
  },
  'the ends of workers whose lease is over': {
    before: async (keys) => {
      await take(keys);
      await redis.zadd(keys.workers, 1, 'w');
    },
    send: async ({ redis: client, keys }) => [...(await reapExpired(client, keys))],
  },
  'orders to drain': {
    before: (keys) => startHandWorker(redis, keys, { id: 'w' }),
    send: async ({ redis: client, keys }) => {
      const loads = await drainWorkers(() => client, [keys], new Map([['w', 'leave']]));
      return loads.get('w')?.state;
    },
  },
};

/** What Redis holds of these queues, but for times. */
async function held(lists: readonly QueueKeys[]): Promise<object> {
  const all = await Promise.all(
    lists.map(async (keys) => {
      const base = keys.workers.slice(0, -'workers'.length);
      const names = [keys.queue, ...(await redis.keys(`${base.replaceAll(/[[\]]/g, String.raw`\$&`)}*`))];
      const found: Record<string, unknown> = {};
      for (const name of names.toSorted())
        found[name.replace(base, '').replace(keys.queue, 'q')] = await valueOf(name);
      return found;
    }),
  );
  return all;
}

/** Fields that are times, or random; and `marks`, as a mark may be made twice. */
const VARYING = new Set([
  'at',
  'ms',
  'created',
  'adder',
  'drain',
  'epoch',
  'till',
  'started',
  'renewed',
  'marks',
  'request',
]);
async function valueOf(name: string): Promise<unknown> {
  switch (await redis.type(name)) {
    case 'list':
      return await redis.lrange(name, 0, -1);
    case 'hash':
      return Object.fromEntries(
        Object.entries(await redis.hgetall(name)).filter(([field]) => !VARYING.has(field)),
      );
    case 'set':
      return (await redis.smembers(name)).toSorted();
    case 'zset':
      return (await redis.zrange(name, '0', '-1')).map((member) => member.replace(/^[^|]*\|/, '')).toSorted();
    case 'string':
      return (await redis.get(name))?.replace(/^\d+ /, '');
    default:
      return undefined;
  }
}

test.each(Object.entries(requests))('%s', async (_, { before, send, partitions = 1 }) => {
  const keys = queueKeys('q', 'r');
  const run = async (lost: number): Promise<{ answer: unknown; found: object; isOver: boolean }> => {
    await redis.flushall();
    await before?.(keys, partitions);
    await using proxy = await startTcpProxy(server.port);
    const address = { url: `redis://127.0.0.1:${proxy.port}` };
    const client = defineScripts(openRedis(address));
    try {
      const wasLost = proxy.cutAtReply(lost);
      let answer: unknown;
      {
        await using queue = openQueue({ redis: address, queue: keys.queue, result: keys.result, partitions });
        answer = await send({ queue, redis: client, keys });
      }
      const lists =
        partitions === 1
          ? [keys, levelKeys(keys, 'high'), levelKeys(keys, 'low')]
          : partitionKeys(keys.queue, keys.result, partitions);
      return { answer, found: await held(lists), isOver: !wasLost() };
    } finally {
      await closeRedis(client);
    }
  };
  const { answer, found } = await run(Infinity);
  let lost = 0;
  for (let isOver = false; !isOver;) {
    const other = await run(++lost);
    expect(other.answer, `reply ${lost}`).toEqual(answer);
    expect(other.found, `reply ${lost}`).toEqual(found);
    ({ isOver } = other);
  }
  // those that open the connection, and some of the request
  expect(lost).toBeGreaterThan(3);
});
