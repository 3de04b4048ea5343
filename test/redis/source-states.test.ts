/** States of other libraries' keys that their own workers seldom leave: names of workers that are gone, odd names of queues. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import { readSource } from '../../queue/sources/read.ts';
import { listSourceWorkers } from '../../queue/sources/list-workers.ts';
import type { SourceCounts, SourceWorkers } from '../../queue/sources/source.ts';
import { sourceOf, type SourceSettings } from '../../queue/sources/sources.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
beforeEach(async () => redis.flushall());
afterAll(async () => server[Symbol.asyncDispose]());

interface Seen {
  readonly counts: readonly SourceCounts[];
  readonly crew: SourceWorkers;
}

async function seen(settings: SourceSettings): Promise<Seen> {
  const { read, holding } = sourceOf(settings);
  if (holding.by !== 'worker') throw new Error('its workers are not known');
  const ask = createAsk(redis);
  const counts = await read(ask, 0, redis, () => undefined);
  return { counts, crew: await holding.readWorkers(ask, redis) };
}

/** What a process of Sidekiq says of itself. */
async function beat(identity: string, about: object, busy: number): Promise<void> {
  await redis.sadd('processes', identity);
  const info = JSON.stringify({ hostname: identity, ...about, version: '7.3.2' });
  await redis.hset(identity, { info, busy, beat: Date.now() / 1e3, quiet: 'false' });
}

const gone = (prefix: string): string[] =>
  Array.from({ length: 10_000 }, (_, i) => `${prefix}worker-${i}:1:ab`);

test('Sidekiq: processes are found among the names of thousands that were killed', async () => {
  await redis.sadd('queues', 'mail');
  await redis.sadd('processes', ...gone(''));
  await beat('pod-1:1:ab', { queues: ['mail'] }, 3);
  await beat('pod-2:1:ab', { queues: ['mail'] }, 0);
  const { counts, crew } = await seen({ sidekiq: { queues: ['mail'] } });
  expect(counts.reduce((sum, { inHand }) => sum + inHand, 0)).toBe(3);
  expect(crew.workers.map(({ hosts, tasks }) => `${hosts.join()} ${tasks}`).toSorted()).toEqual([
    'pod-1 3',
    'pod-2 0',
  ]);
});

test.each(['nan', '', '-1000', '-Infinity', 'Infinity', '1e308', '1.5', '9'.repeat(40), ' 2'])(
  'Sidekiq: a process that says it runs %j jobs holds its pod, and hides nothing that others run',
  async (busy) => {
    await redis.sadd('queues', 'mail');
    await redis.lpush('queue:mail', 'a');
    await beat('pod-1:1:ab', { queues: ['mail'] }, 3);
    await beat('pod-2:1:ab', { queues: ['mail'] }, 0);
    await redis.hset('pod-2:1:ab', { busy });
    const { counts, crew } = await seen({ sidekiq: { queues: ['mail'] } });
    expect(counts.reduce((sum, { inHand }) => sum + inHand, 0)).toBe(4);
    expect(crew.workers.map(({ id, tasks }) => `${id} ${tasks}`).toSorted()).toEqual([
      'pod-1:1:ab 3',
      'pod-2:1:ab 1',
    ]);
    expect(crew.concerns).toMatchObject([{ note: expect.stringContaining('pod-2:1:ab'), holds: true }]);
  },
);

test('BullMQ: of a limit that is no whole number, as many as BullMQ runs', async () => {
  await redis.hset('bull:mail:meta', { 'opts.maxLenEvents': 1, concurrency: '1.5' });
  await redis.lpush('bull:mail:wait', '1', '2', '3');
  const { counts } = await seen({ bullmq: { queues: ['mail'], prefix: 'bull' } });
  expect(counts).toMatchObject([{ waiting: 3, blocked: 1 }]);
});

test('RQ: workers are found among the names of thousands that were killed', async () => {
  await redis.sadd('rq:queues', 'rq:queue:mail');
  await redis.sadd('rq:workers:mail', ...gone('rq:worker:'), 'rq:worker:busy', 'rq:worker:idle');
  await redis.hset('rq:worker:busy', { hostname: 'pod-1', state: 'busy', current_job: 'a' });
  await redis.hset('rq:worker:idle', { hostname: 'pod-2', state: 'idle' });
  await redis.zadd('rq:wip:mail', Date.now() / 1e3 + 60, 'a');
  const { crew } = await seen({ rq: { queues: ['mail'] } });
  expect(crew.workers.map(({ hosts, tasks }) => `${hosts.join()} ${tasks}`).toSorted()).toEqual([
    'pod-1 1',
    'pod-2 0',
  ]);
  expect(crew.unnamed).toBe(0);
});

test.each([['a]b'], ['["a"]'], ['a,b'], ['a\\b'], ['ü😀'], ['a*?{}: b']])(
  'Sidekiq: a process of the queue %j holds jobs of it, and one of a queue whose name has that in it does not',
  async (queue) => {
    await redis.sadd('queues', queue);
    await beat('ours:1:ab', { queues: ['other', queue] }, 2);
    await beat('theirs:1:ab', { queues: [`${queue}"`, `"${queue}"`] }, 5);
    const { counts, crew } = await seen({ sidekiq: { queues: [queue] } });
    expect(counts.reduce((sum, { inHand }) => sum + inHand, 0)).toBe(2);
    expect(crew.workers.map(({ id }) => id)).toEqual(['ours:1:ab']);
  },
);

test('Sidekiq: a process that says too much of itself to be read whole may hold jobs of any queue', async () => {
  await redis.sadd('queues', 'mail');
  await beat('long:1:ab', { tag: 'ü'.repeat(600), queues: ['other'] }, 2);
  const { crew } = await seen({ sidekiq: { queues: ['mail'] } });
  expect(crew.workers.map(({ id, tasks }) => [id, tasks])).toEqual([['long:1:ab', 2]]);
});

const listed = async (settings: SourceSettings): Promise<readonly unknown[]> => {
  const { workers, notes } = await listSourceWorkers(redis, sourceOf(settings));
  return [...workers, ...notes];
};

test('listed for people: a consumer of two streams once, with its tasks and since when it asked for none', async () => {
  for (const key of ['a', 'b']) {
    await redis.xgroup('CREATE', key, 'g', '0', 'MKSTREAM');
    await redis.xadd(key, '*', 'f', 'v');
    await redis.xreadgroup('GROUP', 'g', 'pod-1:17', 'STREAMS', key, '>');
  }
  await redis.xgroup('CREATECONSUMER', 'a', 'g', 'pod-2');
  const rest = { host: undefined, tasksShared: false, idleMs: expect.any(Number) as unknown, ageMs: 0 };
  expect(await listed({ stream: { keys: ['a', 'b'], group: 'g' } })).toEqual([
    { id: 'pod-1:17', state: 'busy', tasks: 2, ...rest },
    { id: 'pod-2', state: 'idle', tasks: 0, ...rest },
  ]);
});

test('listed for people: a process that drains, one that is silent, and how old that is', async () => {
  await redis.sadd('queues', 'mail');
  await beat('pod-1:1:ab', { queues: ['mail'] }, 3);
  await redis.hset('pod-1:1:ab', 'quiet', 'true');
  await beat('pod-2:1:ab', { queues: ['mail'] }, 0);
  await redis.hset('pod-2:1:ab', 'beat', Date.now() / 1e3 - 40);
  // it is gone a minute after that heartbeat
  await redis.pexpire('pod-2:1:ab', 20_000);
  const [draining, silent, ...more] = await listed({ sidekiq: { queues: ['mail'] } });
  expect(draining).toMatchObject({ host: 'pod-1', state: 'draining', tasks: 3 });
  expect(silent).toMatchObject({ host: 'pod-2', state: 'silent', tasks: 1 });
  expect((silent as { ageMs: number }).ageMs).toBeGreaterThanOrEqual(40_000);
  expect(more).toEqual([]);
});

test('listed for people: what a library does not show', async () => {
  expect(await listed({ dramatiq: { queues: ['mail'] } })).toEqual([
    'this library shows how many tasks are in hand, and not who holds them',
  ]);
  expect(await listed({ list: { keys: ['jobs'] } })).toEqual([
    'the workers are not known, because a task that was popped from a list is in no key of Redis',
  ]);
});

test("asynq: among hundreds of servers of other pools, those of the pool's pods are found, whichever expires first", async () => {
  await redis.sadd('asynq:queues', 'mail');
  const keyOf = (host: string): string => `asynq:servers:{${host}:1:id}`;
  const seconds = Math.floor(Date.now() / 1_000);
  const pipeline = redis.pipeline();
  // a server says its queues in protobuf: a name with its length before it
  for (let i = 0; i < 800; i++) {
    pipeline.zadd('asynq:servers', seconds + 60 + (i % 5), keyOf(`a-${i}`)).set(keyOf(`a-${i}`), '\n\x03sms');
  }
  pipeline.zadd('asynq:servers', seconds + 90, keyOf('pod-1')).set(keyOf('pod-1'), '\n\x04mail');
  pipeline.hset('asynq:workers:{pod-1:1:id}', 'task', 'x').zadd('asynq:{mail}:lease', seconds + 30, 'task');
  await pipeline.exec();
  const { holding } = sourceOf({ asynq: { queues: ['mail'] } });
  if (holding.by !== 'worker') throw new Error('its workers are not known');
  const read = holding.readWorkers;
  const found = await read(createAsk(redis), redis, (host) => host === 'pod-1');
  expect(found).toMatchObject({ workers: [{ hosts: ['pod-1'], tasks: 1 }], unnamed: 0 });
  // otherwise its task may be anybody's, and holds all
  expect(await read(createAsk(redis), redis)).toMatchObject({ workers: [], unnamed: 1 });
});

test('Sidekiq: as many processes as one command reads, and more, are found', async () => {
  await redis.sadd('queues', 'mail');
  const processes = async (from: number, to: number): Promise<void> => {
    const pipeline = redis.pipeline();
    const info = JSON.stringify({ queues: ['mail'], version: '8.1.7' });
    for (let i = from; i < to; i++)
      pipeline
        .sadd('processes', `pod-${i}:1:ab`)
        .hset(`pod-${i}:1:ab`, { info, busy: 2, beat: Date.now() / 1e3, quiet: 'false' });
    await pipeline.exec();
  };
  const settings = { sidekiq: { queues: ['mail'] } };
  const found = async (): Promise<readonly number[]> => {
    const { counts, crew } = await seen(settings);
    return [counts.reduce((sum, { inHand }) => sum + inHand, 0), crew.workers.length];
  };
  await processes(0, 1_500);
  expect(await found()).toEqual([3_000, 1_500]);
  await processes(1_500, 1_501);
  const [inHand = 0, workers = 0] = await found();
  expect(workers).toBeGreaterThanOrEqual(500);
  expect(inHand).toBe(2 * workers);
});

test('Sidekiq: a user without SORT_RO reads the processes one by one', async () => {
  await redis.sadd('queues', 'mail');
  await beat('pod-1:1:ab', { queues: ['mail'] }, 3);
  await redis.call('ACL', 'SETUSER', 'older', 'on', '>secret', '~*', '+@all', '-sort_ro', '-sort');
  const older = server.client({ username: 'older', password: 'secret' });
  const { read } = sourceOf({ sidekiq: { queues: ['mail'] } });
  const counts = await read(createAsk(older), 0, older, () => undefined);
  expect(counts.reduce((sum, { inHand }) => sum + inHand, 0)).toBe(3);
});

const known = async (): Promise<void> => {
  await redis.sadd('rq:queues', 'rq:queue:mail');
  await redis.sadd('asynq:queues', 'mail');
  await redis.sadd('queues', 'mail');
  await redis.hset('bull:mail:meta', 'version', 'bullmq:6.7.0');
};

test.each<[string, SourceSettings]>([
  ['rq:scheduled:mail', { rq: { queues: ['mail'] } }],
  ['asynq:{mail}:scheduled', { asynq: { queues: ['mail'] } }],
  ['asynq:{mail}:retry', { asynq: { queues: ['mail'] } }],
  ['schedule', { sidekiq: { queues: ['mail'] } }],
  ['retry', { sidekiq: { queues: ['mail'] } }],
  ['bull:mail:delayed', { bullmq: { queues: ['mail'], prefix: 'bull' } }],
  ['saq:mail:incomplete', { saq: { queues: ['mail'] } }],
  ['arq:queue', { arq: { queues: ['arq:queue'] } }],
])('a task in %s that is due never, or since ever', async (key, settings) => {
  await known();
  const found = async (): Promise<PoolSample> => (await readSource(redis, sourceOf(settings), 0)).sample;
  await redis.zadd(key, 'inf', 'never');
  const { nextDue, due, delayed } = await found();
  expect({ due, delayed }).toEqual({ due: 0, delayed: 1 });
  // as a time that a timer can wait for
  expect(nextDue).toBeGreaterThan(Date.now());
  expect(Number.isSafeInteger(nextDue)).toBe(true);
  await redis.zadd(key, '1', 'long ago');
  const later = await found();
  // arq takes from the set by time
  expect(later.due + later.waiting).toBe(1);
});

test.each([
  ['0', 0],
  ['2', 2],
  ['-1', 0],
  ['many', 3],
])('BullMQ: with a limit of %s on running jobs, %i of 3 could run', async (limit, runnable) => {
  await redis.hset('bull:mail:meta', { version: 'bullmq:6.7.0', concurrency: limit });
  await redis.lpush('bull:mail:wait', 1, 2, 3);
  const { sample } = await readSource(redis, sourceOf({ bullmq: { queues: ['mail'], prefix: 'bull' } }), 0);
  expect(sample).toMatchObject({ waiting: 3, runnable: { waiting: runnable } });
});
