/**
 * What `millrace doctor` finds wrong in the keys of other libraries, where none of their workers is needed to leave them so; with
 * their workers: test/sources/checks.test.ts.
 */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { checkSource } from '../../cli/doctor/source.ts';
import type { SourceSpec } from '../../kube/source-spec.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis({ ownClock: true });
  redis = server.client();
});
beforeEach(async () => {
  await server.setClock(0);
  await redis.flushall();
});
afterAll(async () => server[Symbol.asyncDispose]());

/** What it warns of, each with a remedy. */
async function warnings(spec: SourceSpec, client = redis): Promise<string[]> {
  const found = await checkSource(client, spec, ['mail']);
  const bad = found.filter(({ level }) => level !== 'ok');
  for (const { todo } of bad) expect(todo).toBeTruthy();
  return bad.map(({ note }) => note);
}

const stream = (...keys: string[]): SourceSpec => ({ stream: { keys, group: 'g' } });
async function openStream(key: string, entries: number): Promise<void> {
  await redis.xgroup('CREATE', key, 'g', '0', 'MKSTREAM');
  for (let i = 1; i <= entries; i++) await redis.xadd(key, `${i}-0`, 'n', i);
}
const take = (key: string, consumer: string): Promise<unknown> =>
  redis.xreadgroup('GROUP', 'g', consumer, 'COUNT', 1, 'STREAMS', key, '>');

test('streams: one of two that no consumer reads', async () => {
  await openStream('jobs', 1);
  await openStream('other', 2);
  await take('jobs', 'pod-1');
  expect(await warnings(stream('jobs'))).toEqual([]);
  expect(await warnings(stream('jobs', 'other'))).toEqual([
    'no worker takes from the queue "other", where 2 tasks wait; the workers here take from "jobs"',
  ]);
  expect(await warnings(stream('other'))).toEqual(['no worker of the library is here, and 2 tasks wait']);
});

test('streams: readers that are on record, and have not asked for an hour', async () => {
  await openStream('jobs', 3);
  await take('jobs', 'pod-1');
  await redis.xack('jobs', 'g', '1-0');
  expect(await warnings(stream('jobs'))).toEqual([]);
  await server.setClock(3_600_000);
  expect(await warnings(stream('jobs'))).toEqual([
    'no worker takes from the stream "jobs", where 2 entries wait: of the group "g", the last consumer to ask for one was pod-1, 60 min ago',
  ]);
  // one whose tasks may take that long, and which shows nothing of them
  expect(await warnings({ stream: { keys: ['jobs'], group: 'g', longestTask: '2h' } })).toEqual([]);
  await take('jobs', 'pod-2');
  expect(await warnings(stream('jobs'))).toEqual([]);
});

test('streams: entries that readers claim from one another', async () => {
  await openStream('jobs', 2);
  await take('jobs', 'pod-1');
  await redis.xautoclaim('jobs', 'g', 'pod-2', 0, '0');
  await redis.xautoclaim('jobs', 'g', 'pod-3', 0, '0');
  expect(await warnings(stream('jobs'))).toEqual([
    expect.stringMatching(
      /^1 entry of "jobs" was delivered more than once, up to 3 times \(1-0, now with pod-3\)/,
    ),
  ]);
});

test('Dramatiq: messages wait, and no worker takes from their queue', async () => {
  const spec = { dramatiq: { queues: ['mail'] } };
  await redis.rpush('dramatiq:mail', 'a', 'b');
  await redis.hset('dramatiq:mail.msgs', { a: '{}', b: '{}' });
  const note = 'no worker takes from the queue "mail", where 2 tasks wait';
  expect(await warnings(spec)).toEqual([`${note}: no worker or client has had a heartbeat for a minute`]);
  await redis.zadd('dramatiq:__heartbeats__', Date.now(), 'w1');
  await redis.sadd('dramatiq:__acks__.w1.other', 'c');
  expect(await warnings(spec)).toEqual([
    `${note}: the one worker or client with a heartbeat holds no message of it`,
  ]);
  await redis.sadd('dramatiq:__acks__.w1.mail', 'd');
  expect(await warnings(spec)).toEqual([]);
});

test('RQ: a worker of a version whose keys are not known', async () => {
  const spec = { rq: { queues: ['mail'] } };
  await redis.sadd('rq:workers', 'rq:worker:w');
  await redis.sadd('rq:workers:mail', 'rq:worker:w');
  const one = { hostname: 'pod-1', state: 'idle', queues: 'mail' };
  await redis.hset('rq:worker:w', { ...one, version: '3.9.1' });
  expect(await warnings(spec)).toEqual([]);
  await redis.hset('rq:worker:w', { ...one, version: '4.0.0' });
  expect(await warnings(spec)).toEqual([
    'a worker of RQ 4.0.0 is here, and the layouts of RQ up to 3 are known',
  ]);
});

test.for<[string, Record<string, string>, SourceSpec, string]>([
  ['RQ', { 'shop:queue:mail': 'list' }, { rq: { queues: ['mail'] } }, '"mail" with the prefix "shop"'],
  ['BullMQ', { 'bull:sms:meta': 'hash' }, { bullmq: { queues: ['mail'], prefix: 'bull' } }, '"sms"'],
  ['asynq', { 'asynq:{sms}:pending': 'list' }, { asynq: { queues: ['mail'] } }, '"sms"'],
  ['Sidekiq', { 'queue:sms': 'list' }, { sidekiq: { queues: ['mail'] } }, '"sms"'],
  [
    'Celery',
    { 'shop:_kombu.binding.mail': 'set' },
    { celery: { queues: ['mail'], prioritySteps: [0] } },
    '"mail" with the prefix "shop:"',
  ],
  [
    'Dramatiq',
    { 'shop:__heartbeats__': 'zset' },
    { dramatiq: { queues: ['mail'] } },
    'all queues with the prefix "shop"',
  ],
  ['SAQ', { 'saq:sms:incomplete': 'zset' }, { saq: { queues: ['mail'] } }, '"sms"'],
  ['arq', { 'sms:health-check': 'string' }, { arq: { queues: ['mail'] } }, '"sms"'],
  ['a list', { 'shop:mail': 'list' }, { list: { keys: ['mail'], longestTask: '1m' } }, '"shop:mail"'],
  ['a stream', { 'shop:mail': 'stream' }, { stream: { keys: ['mail'], group: 'g' } }, '"shop:mail"'],
])('%s: nothing has this name, and what is there instead', async ([, keys, spec, named]) => {
  for (const [key, type] of Object.entries(keys)) await create(redis, key, type);
  const [note = '', ...more] = await warnings(spec);
  expect(note).toMatch(/^there is (no|nothing) /);
  expect(note.endsWith(`; here are ${named}`)).toBe(true);
  expect(more).toEqual([]);
  // an empty database beside one that is not
  expect((await warnings(spec, server.client({ db: 7 })))[0]).toMatch(
    /; database 7 is empty, and there are keys in database 0 \(1 key\)$/,
  );
});

async function create(client: Redis, key: string, type: string): Promise<void> {
  const makers: Readonly<Record<string, () => Promise<unknown>>> = {
    list: () => client.lpush(key, 'a'),
    hash: () => client.hset(key, 'a', 'b'),
    set: () => client.sadd(key, 'a'),
    zset: () => client.zadd(key, 1, 'a'),
    string: () => client.set(key, 'a'),
    stream: () => client.xadd(key, '*', 'a', 'b'),
  };
  await makers[type]?.();
}

test('what a user may not list is not named', async () => {
  await redis.call('ACL', 'SETUSER', 'narrow', 'on', '>secret', '~*', '+@all', '-scan');
  const narrow = server.client({ username: 'narrow', password: 'secret' });
  await redis.lpush('shop:queue:mail', 'a');
  expect(await warnings({ rq: { queues: ['mail'] } }, narrow)).toEqual([
    expect.stringMatching(/^there is no RQ queue "mail" here.*no worker listens to it$/),
  ]);
});
