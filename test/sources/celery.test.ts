/** What only Celery has: priorities, prefetched tasks, ETA, remote control, and a drain that can be taken back. */
import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { sourceDrains, type SourceState } from '../../controller/act/source-drains.ts';
import { occupancyOf } from '../../controller/act/source-occupancy.ts';
import type { Drains } from '../../controller/act/scale-in.ts';
import type { Member } from '../../controller/act/target.ts';
import { queueKeys } from '../../queue/keys.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import { celeryControl } from '../../queue/sources/celery-control.ts';
import { matchesTopic } from '../../queue/sources/celery-routes.ts';
import { readSource } from '../../queue/sources/read.ts';
import type { Source, SourceWorkers } from '../../queue/sources/source.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { boundedClient } from '../support/bounded.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { sample } from '../support/sampling.ts';
import { startSentinels } from '../support/sentinel.ts';
import { openCelery } from './celery.ts';

const sourceFor = (queues: string[], keyPrefix = ''): Source =>
  sourceOf({ celery: { queues, prioritySteps: [0, 3, 6, 9], keyPrefix } });

async function sees(server: RedisServer, source: Source, parts: object): Promise<void> {
  const redis = server.client();
  await eventually(async () => expect((await readSource(redis, source, 0)).sample).toMatchObject(parts));
}

async function workersOf(server: RedisServer, { holding }: Source): Promise<SourceWorkers> {
  const redis = server.client();
  if (holding.by !== 'worker') throw new Error('Celery knows its workers');
  return holding.readWorkers(createAsk(redis), redis);
}

const members = ['pod-1', 'pod-2'].map((id): Member => ({ id, ready: true, created: 0, going: false }));

function drainsOn(redis: Redis, source: Source): Drains {
  const state: SourceState = { idle: new Map() };
  return sourceDrains({ redis, source, idleSince: undefined, tracked: true, unmanaged: 'WhenIdle', state });
}

const gone = (loads: ReadonlyMap<string, { state: string }>): string[] =>
  [...loads].filter(([, { state }]) => state === 'drained').map(([id]) => id);

test('all priorities, what is prefetched and what runs are counted, of two queues, behind a prefix', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server, { keyPrefix: 'shop:' });
  const source = sourceFor(['mail', 'sms'], 'shop:');
  for (const priority of [0, 3, 6, 9]) await celery.send(2, { priority });
  await celery.send(3, { queue: 'sms' });
  await sees(server, source, { waiting: 11, inFlight: 0 });
  await celery.work('pod-1', '--prefetch-multiplier', '4', '-Q', 'mail,sms');
  // one runs, and four are prefetched
  await sees(server, source, { waiting: 6, inFlight: 5 });
  const redis = server.client();
  expect(await redis.hlen('shop:unacked')).toBe(4);
  await celery.release(11);
  await sees(server, source, { waiting: 0, inFlight: 0 });
});

test('queues that are bound by keys of their own: what is prefetched and what runs counts in its queue', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server, { ownKeys: true });
  const both = sourceFor(['mail', 'sms']);
  const mail = sourceFor(['mail']);
  await celery.send(3, { exchange: 'media', routing_key: 'mail.urgent.today' });
  await celery.send(4, { queue: 'sms' });
  await sees(server, both, { waiting: 7, inFlight: 0 });
  await celery.work('pod-1', '-Q', 'mail');
  await celery.work('pod-2', '-Q', 'sms', '--prefetch-multiplier', '2');
  // of each queue one runs, and one or two are prefetched
  await sees(server, both, { waiting: 2, inFlight: 5 });
  await sees(server, mail, { waiting: 1, inFlight: 2 });
  await celery.release(7);
  await sees(server, both, { waiting: 0, inFlight: 0 });
});

test('such queues without a worker: bindings are in Redis, under the names of their exchanges', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server, { ownKeys: true });
  const redis = server.client();
  await celery.send(1, { exchange: 'media', routing_key: 'mail.urgent' });
  const worker = await celery.work('pod-1', '-Q', 'mail', '--prefetch-multiplier', '2');
  await celery.send(2, { exchange: 'media', routing_key: 'mail.urgent' });
  await eventually(async () => expect(await redis.hlen('unacked')).toBe(2));
  await worker.kill();
  const named = sourceOf({ celery: { queues: ['mail'], prioritySteps: [0], exchanges: ['media'] } });
  // what it had prefetched: the one that ran is lost
  await sees(server, named, { waiting: 0, inFlight: 2 });
  await redis.del('unacked', 'unacked_index');
  await sees(server, named, { waiting: 0, inFlight: 0 });
  await expect(readSource(redis, sourceFor(['mail']), 0)).rejects.toMatchObject({
    kind: 'NotFound',
    todo: expect.stringContaining('source.celery.exchanges'),
  });
  await redis.set('_kombu.binding.sms', 'x');
  const wrong = sourceOf({ celery: { queues: ['mail'], prioritySteps: [0], exchanges: ['sms'] } });
  await expect(readSource(redis, wrong, 0)).rejects.toThrow('the key "_kombu.binding.sms" is not a set');
});

test.each([
  ['mail.#', 'mail.urgent.today', true],
  ['mail.#', 'mail', false],
  ['#', 'mail', true],
  ['*.urgent', 'mail.urgent', true],
  ['*.urgent', 'a.b.urgent', false],
  ['mail.#.now', 'mail.a.b.now', true],
  ['mail.#.now', 'mail.a.b', false],
  ['mail', 'mailbox', false],
])('the pattern %s, and the key %s: %s', (pattern, key, matches) => {
  expect(matchesTopic(pattern.split('.'), key.split('.'))).toBe(matches);
});

test('a worker with many threads runs more than its answer holds, in a database of its own', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server, { db: 3 });
  const redis = server.client({ db: 3 });
  const source = sourceFor(['mail']);
  await celery.send(130, { args: ['x'.repeat(500)] });
  await celery.work('pod-1', '-P', 'threads', '-c', '120');
  await eventually(async () => {
    const { waiting, inFlight } = (await readSource(redis, source, 0)).sample;
    expect(waiting).toBe(0);
    // the rest of the answer is taken to be like its beginning
    expect(inFlight).toBeGreaterThanOrEqual(120);
    expect(inFlight).toBeLessThanOrEqual(140);
  });
  await celery.release(130);
  await eventually(async () =>
    expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 0, inFlight: 0 }),
  );
});

test('more fetched messages than are read count all the same, each in its queue', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const redis = server.client();
  await celery.send(1);
  const message: unknown = JSON.parse((await redis.rpop('mail')) ?? '');
  const fetched = (queue: string, count: number) =>
    Array.from({ length: count }, (_, i) => [`${queue} ${i}`, JSON.stringify([message, '', queue])]);
  await redis.hset('unacked', Object.fromEntries([...fetched('mail', 2_000), ...fetched('sms', 1_000)]));
  const both = await readSource(redis, sourceFor(['mail', 'sms']), 0);
  expect(both.sample.inFlight).toBeGreaterThanOrEqual(2_999);
  expect(both.sample.inFlight).toBeLessThanOrEqual(3_001);
  const mail = await readSource(redis, sourceFor(['mail']), 0);
  expect(mail.sample.inFlight).toBeGreaterThan(1_500);
  expect(mail.sample.inFlight).toBeLessThan(2_500);
});

test('messages too long to be all read count all the same', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const redis = server.client();
  await celery.send(60, { args: ['x'.repeat(100_000)] });
  await celery.push(3, 3_600_000);
  await sees(server, sourceFor(['mail']), { waiting: 60, delayed: 3 });
  const message: unknown = JSON.parse((await redis.lindex('mail', -1)) ?? '');
  await redis.del('mail');
  for (let i = 0; i < 100; i++)
    await redis.hset('unacked', String(i), JSON.stringify([message, '', i < 99 ? 'mail' : 'sms']));
  const both = await readSource(redis, sourceFor(['mail', 'sms']), 0);
  expect(both.sample.inFlight).toBeGreaterThanOrEqual(99);
  expect(both.sample.inFlight).toBeLessThanOrEqual(101);
});

test('of a message of megabytes the ETA is read as well, in a list and fetched', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const redis = server.client();
  await celery.push(1, 3_600_000);
  const message = JSON.parse((await redis.rpop('mail')) ?? '') as object;
  const long = { ...message, body: 'x'.repeat(3_000_000) };
  for (let i = 0; i < 3; i++) await redis.lpush('mail', JSON.stringify(long));
  await redis.hset('unacked', 'tag', JSON.stringify([long, '', 'mail']));
  await sees(server, sourceFor(['mail']), { waiting: 0, inFlight: 0, delayed: 4, due: 0 });
});

test('a task with an ETA that a worker has fetched is delayed, and no work before it is due', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const source = sourceFor(['mail']);
  await celery.push(3, 3_600_000);
  await sees(server, source, { waiting: 0, delayed: 3, due: 0 });
  const worker = await celery.work('pod-1');
  await eventually(async () => expect(await server.client().hlen('unacked')).toBe(3));
  await sees(server, source, { waiting: 0, inFlight: 0, delayed: 3, due: 0 });
  await worker.stop();
  await eventually(async () => expect(await server.client().llen('mail')).toBe(3));
  await sees(server, source, { waiting: 0, inFlight: 0, delayed: 3, due: 0 });
});

test('a task with an ETA wakes a pool at zero when it is sent, and when it falls due', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const source = sourceFor(['mail']);
  await celery.push(1, 3_600_000);
  await using sampling = sample(server.address, { safetyMs: 3_600_000 });
  const { sampler } = sampling;
  sampler.add('p', [queueKeys('records', 'result')], source);
  sampler.setActive('p', false, 0);
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await eventually(() => expect(sampler.latest('p')).toMatchObject({ sample: { delayed: 1 } }));
  await celery.push(1, 3_000);
  await eventually(() => expect(sampler.latest('p')).toMatchObject({ sample: { delayed: 2 } }));
  await eventually(() =>
    expect(sampler.latest('p')).toMatchObject({ sample: { delayed: 2, due: 1, waiting: 0 } }),
  );
});

test('an argument as long as one likes, or one that looks like an ETA, changes no count', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const source = sourceFor(['mail']);
  await celery.send(2, { args: ['"eta": "2099-01-01T00:00:00+00:00"', 'x'.repeat(50_000)] });
  await sees(server, source, { waiting: 2, delayed: 0 });
  await celery.work('pod-1');
  await sees(server, source, { waiting: 0, inFlight: 2, delayed: 0 });
});

test('a worker is drained before its pod goes, the busy one is waited for, and a drain is taken back', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const source = sourceFor(['mail']);
  await celery.work('pod-1');
  await celery.push(1);
  await sees(server, source, { inFlight: 1, waiting: 0 });
  await celery.work('pod-2');
  await using controller = await boundedClient(server);
  const drains = drainsOn(controller.redis, source);
  // idle for as long as one likes: it still takes tasks
  expect(gone(await drains.read(['pod-1', 'pod-2'], members))).toEqual([]);
  const leave = new Map(members.map(({ id }) => [id, 'leave' as const]));
  await eventually(async () => expect(gone(await drains.set(leave))).toEqual(['pod-2']));
  await sees(server, source, { leaving: 2 });
  await celery.push(2);
  await eventually(async () => expect(gone(await drains.set(leave))).toEqual(['pod-2']));
  await sees(server, source, { waiting: 2, inFlight: 1 });
  const stay = new Map(members.map(({ id }) => [id, 'stay' as const]));
  await eventually(async () => {
    expect(gone(await drains.set(stay))).toEqual([]);
    expect((await readSource(server.client(), source, 0)).sample).toMatchObject({ waiting: 0, inFlight: 3 });
  });
  await sees(server, source, { leaving: 0 });
});

test('two nodes in a pod are drained together, and each takes from its own queues again', async () => {
  await using server = await startRedis();
  // each has a queue of its own beside, and one of broadcasts: nobody else could take from these
  await using celery = await openCelery(server, { ownQueues: true });
  const source = sourceFor(['mail', 'sms']);
  await celery.work('pod-1', '-Q', 'mail,news');
  await celery.work('pod-1', '-Q', 'sms,news', '-n', 'other@pod-1');
  const taking = async (): Promise<Record<string, readonly string[]>> => {
    const { queues } = await celeryControl('', 'answers of the test').ask(server.client(), 200);
    return Object.fromEntries([...queues].map(([id, { answer }]) => [id, answer]));
  };
  const each = { 'celery@pod-1': ['mail'], 'other@pod-1': ['sms'] };
  await eventually(async () => expect(await taking()).toEqual(each));
  expect((await workersOf(server, source)).concerns).toEqual([]);
  await celery.send(1, { queue: 'sms' });
  await sees(server, source, { waiting: 0, inFlight: 1 });
  await using controller = await boundedClient(server);
  const drains = drainsOn(controller.redis, source);
  await drains.read(['pod-1'], members.slice(0, 1));
  const leave = new Map([['pod-1', 'leave' as const]]);
  await eventually(async () => {
    expect(gone(await drains.set(leave))).toEqual([]);
    expect(await taking()).toEqual({ 'celery@pod-1': [], 'other@pod-1': [] });
  });
  await celery.release(1);
  await eventually(async () => expect(gone(await drains.set(leave))).toEqual(['pod-1']));
  const stay = new Map([['pod-1', 'stay' as const]]);
  await eventually(async () => {
    expect(gone(await drains.set(stay))).toEqual([]);
    expect(await taking()).toEqual(each);
  });
});

test('a worker that does not answer is no idle one', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const source = sourceFor(['mail']);
  // the solo pool answers between its tasks only
  await celery.work('pod-1', '-P', 'solo');
  await celery.push(1);
  await sees(server, source, { waiting: 0, inFlight: 1 });
  await celery.work('pod-2');
  // on a busy machine, the one that can answer may not do so within a second
  const found = await eventually(async () => {
    const now = await workersOf(server, source);
    expect(now.workers.map(({ id }) => id)).toEqual(['celery@pod-2', 'silent']);
    expect(now.concerns?.map(({ note }) => note)).toEqual([
      '1 of 2 Celery workers have not answered by remote control within a second',
    ]);
    return now;
  });
  const unready = members.map((member) => ({ ...member, ready: false }));
  const occupancy = occupancyOf(unready, found);
  expect(members.map(({ id }) => occupancy.get(id)?.idle)).toEqual([false, true]);
  await celery.release(1);
  await eventually(async () =>
    expect((await workersOf(server, source)).workers.map(({ id, tasks }) => [id, tasks])).toEqual([
      ['celery@pod-1', 0],
      ['celery@pod-2', 0],
    ]),
  );
});

test('workers behind sentinels that take no message twice answer each question', async () => {
  await using server = await startRedis();
  await using replica = await startRedis();
  await replica.client().replicaof(server.host, server.port);
  await using sentinels = await startSentinels(server, 'main');
  const transport = { sentinel_fanout_compat: true };
  await using celery = await openCelery(server, { sentinels: sentinels.nodes, transport });
  const source = sourceFor(['mail']);
  await celery.work('pod-1');
  for (const tasks of [0, 1]) {
    await celery.push(tasks);
    await sees(server, source, { waiting: 0, inFlight: tasks });
    await eventually(async () =>
      expect(await workersOf(server, source)).toMatchObject({
        workers: [{ id: 'celery@pod-1', tasks }],
        concerns: [],
      }),
    );
  }
  await celery.release(1);
});

test('workers that listen where kombu up to 5.3 did behind sentinels are asked, and drained', async () => {
  await using server = await startRedis();
  // of a newer version: kombu fills in the database, and here a name in its place
  await using celery = await openCelery(server, { transport: { fanout_prefix: '/{{db}}.' } });
  const source = sourceFor(['mail']);
  await celery.work('pod-1');
  await celery.push(1);
  await sees(server, source, { waiting: 0, inFlight: 1 });
  await celery.release(1);
  await using controller = await boundedClient(server);
  const drains = drainsOn(controller.redis, source);
  await drains.read(['pod-1'], members.slice(0, 1));
  const leave = new Map([['pod-1', 'leave' as const]]);
  await eventually(async () => expect(gone(await drains.set(leave))).toEqual(['pod-1']));
});

test('workers of one name are no silent ones: none goes, and the name is reported', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const source = sourceFor(['mail']);
  await celery.work('mailer');
  await celery.work('mailer');
  await celery.push(2);
  // each runs one, or one has both
  await sees(server, source, { waiting: 0, inFlight: 2 });
  const found = await eventually(async () => {
    const now = await workersOf(server, source);
    expect(now.concerns?.map(({ note }) => note)).toEqual([
      'several Celery workers have the name celery@mailer, so which of them holds a task is not known',
    ]);
    return now;
  });
  const occupancy = occupancyOf(members, found);
  expect(members.map(({ id }) => occupancy.get(id)?.idle)).toEqual([false, false]);
  await celery.release(2);
});

test('what a killed worker had prefetched counts until another puts it back', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const source = sourceFor(['mail']);
  const worker = await celery.work('pod-1');
  await celery.push(3);
  await sees(server, source, { waiting: 1, inFlight: 2 });
  await worker.kill();
  // the one that ran is lost
  await sees(server, source, { waiting: 1, inFlight: 1 });
  await eventually(async () => expect((await workersOf(server, source)).workers).toEqual([]));
  // more than an hour ago
  const redis = server.client();
  const [tag = ''] = await redis.zrange('unacked_index', '0', '0');
  await redis.zincrby('unacked_index', -3_601, tag);
  const { concerns = [] } = await workersOf(server, source);
  expect(concerns.map(({ note, holds }) => [note, holds])).toEqual([
    [
      'a message is unacknowledged for more than an hour, the default visibility timeout: its task runs a second time unless that is longer',
      false,
    ],
  ]);
});

test('a worker that takes from a queue that is not named cannot be drained, and is named', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  await celery.work('pod-1', '-Q', 'mail,sms');
  await eventually(async () => {
    const { concerns = [] } = await workersOf(server, sourceFor(['mail']));
    expect(concerns.map(({ note }) => note)).toEqual([
      'celery@pod-1 also takes from the queue "sms", so it cannot be drained',
    ]);
  });
});

test('a list of something else, and a prefix that matches nothing, are named', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.lpush('mail', '{"class":"Mailer","args":[]}');
  await expect(readSource(redis, sourceFor(['mail']), 0)).rejects.toMatchObject({
    kind: 'UnknownLayout',
    note: `the key "mail" holds something that is not a message of Celery's protocol 2`,
  });
  await expect(readSource(redis, sourceFor(['mail'], 'shop:'), 0)).rejects.toMatchObject({
    kind: 'NotFound',
  });
});
