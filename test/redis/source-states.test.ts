/** States of other libraries' keys that their own workers seldom leave: names of workers that are gone, odd names of queues. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { createAsk } from '../../queue/sources/ask.ts';
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
