/**
 * No command of the controller returns a value whose size a client chooses: against keys of which each value is megabytes long, each
 * read of the controller's is made, and what came over the connection is counted.
 */
import type { Socket } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { createDetailsReader } from '../../controller/dashboard/read/details.ts';
import { findPoison } from '../../controller/report/poison.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { closeRedis } from '../../queue/connection/connection.ts';
import { listWorkers } from '../../queue/workers/list-workers.ts';
import {
  deadHeader,
  readDeadLetters,
  readDeadHeads,
  moveDeadLetters,
} from '../../queue/dead-letter-format.ts';
import { readDecisions } from '../../queue/pool/decisions.ts';
import { drainWorkers } from '../../queue/workers/drain.ts';
import { evictionRisk } from '../../queue/connection/eviction.ts';
import { inspectQueue } from '../../queue/inspect.ts';
import { queueKeys } from '../../queue/keys.ts';
import { readWorkerRecords } from '../../queue/workers/worker-connections.ts';
import { readPause } from '../../queue/pause.ts';
import { readCut } from '../../queue/scripts/read.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { reapExpired } from '../../queue/workers/reap.ts';
import { sweep } from '../../queue/workers/sweep.ts';
import { readTimeline } from '../../queue/pool/timeline.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

const MB = 1_048_576;
const LONG = 'x'.repeat(3 * MB);
const POOL = 'ns/pool';
const keys = queueKeys('task_queue', 'result');

let server: RedisServer;
let redis: Redis;
let admin: Redis;
beforeAll(async () => {
  server = await startRedis();
  admin = server.client();
  redis = defineScripts(openBounded(server.address));
  await once(redis, 'ready');
  await fill();
});
afterAll(async () => {
  await closeRedis(redis);
  await server[Symbol.asyncDispose]();
});

async function fill(): Promise<void> {
  const header = { error: LONG, attempts: 3, worker: LONG, deliveries: 5, id: LONG };
  const letters = [header, { ...header, id: 'short' }, { ...header, error: 'e', id: 'a' }].map(deadHeader);
  await admin.lpush(keys.dead, LONG, ...letters.map((letter) => `${Date.now()} ${letter}\n${LONG}`));
  await admin.lpush(keys.queue, LONG);
  await admin.zadd(keys.workers, 1, LONG, 2, 'w', 3, `pod${LONG}`);
  await admin.hset(keys.load, { w: 1, [LONG]: LONG, odd: 'x' });
  const about = { epoch: LONG, state: LONG, concurrency: LONG, version: LONG, started: LONG, pool: LONG };
  await admin.hset(keys.worker('w'), { ...about, client: LONG, blocker: LONG, epoch: 5 });
  await admin.hset(keys.inflight('w'), { '1-1': LONG, '1-2': LONG });
  await admin.hset(keys.progress('w'), { [LONG]: LONG, a: '{"done":1}' });
  await admin.hset(keys.stats, { taken: LONG, slow1: LONG });
  await admin.set(keys.paused, `1 ${LONG}`);
  await admin.set(keys.memory(POOL), LONG);
  await admin.lpush(keys.decisions(POOL), ...Array.from({ length: 20 }, () => LONG));
  for (const value of [LONG, '10000 1', '-1', '1e308 5'])
    await admin.xadd(keys.timeline(POOL), '*', 'v', value, 'w', LONG);
  await admin.zadd(keys.delayed, '-inf', LONG, '+inf', 'never');
  await admin.zadd(keys.leaving, 9e15, LONG);
  await admin.client('SETNAME', 'x'.repeat(MB / 2));
}

const sampled = { dead: 4, now: Date.now(), counters: { failed: 4 } as never };

test.each<readonly [string, (redis: Redis) => Promise<unknown>]>([
  ['a sample', (r) => sampleQueue(r, keys)],
  ['the look at expired leases', (r) => reapExpired(r, queueKeys('other', 'result'))],
  ['the workers', (r) => listWorkers(r, keys)],
  ['lives', (r) => readWorkerRecords(r, [{ keys, worker: 'w' }])],
  ['marks', (r) => drainWorkers(() => r, [keys], new Map([['w', 'read']]))],
  ['the memory', (r) => readCut(r, keys.memory(POOL), { bytes: 65_537, values: 1 }, 'GET')],
  ['decisions', (r) => readDecisions(r, keys, POOL)],
  ['the timeline', (r) => readTimeline(r, keys, POOL)],
  ['the pause', (r) => readPause(r, keys)],
  ['heads of dead letters', (r) => readDeadHeads(r, keys, 200, 1_200)],
  ['findPoison', (r) => findPoison(() => r, [keys], sampled, undefined)],
  ['what the server may evict', (r) => evictionRisk(r)],
  ['the sweep', (r) => sweep(r, keys)],
])('%s', async (_, read) => {
  const { stream } = redis as unknown as { stream: Socket };
  const before = stream.bytesRead;
  // an error is an answer: what is written there cannot be reckoned with
  const answer = await read(redis).catch((error: Error) => error);
  expect(answer instanceof Error ? answer.name : '').not.toBe('ReplyRefused');
  expect(stream.bytesRead - before).toBeLessThan(MB);
  expect(stream.destroyed).toBe(false);
});

test('a pool page of it: shown by beginnings, and valid', async () => {
  await admin.hset(keys.stats, { taken: 1, slow1: 0 });
  const { stream } = redis as unknown as { stream: Socket };
  const before = stream.bytesRead;
  const { dead, workers } = await createDetailsReader(true).read(
    { redisOf: () => redis, queues: [keys] },
    POOL,
  );
  expect(stream.bytesRead - before).toBeLessThan(MB);
  expect(dead.list).toHaveLength(4);
  expect(dead.list.map(({ id }) => id?.slice(0, 5))).toEqual(['a', 'short', 'xxxxx', 'xxxxx']);
  expect(JSON.stringify(dead).length + JSON.stringify(workers).length).toBeLessThan(20_000);
  expect((await inspectQueue(redis, keys)).progress).toEqual([{ id: 'a', worker: 'w', value: { done: 1 } }]);
});

test('a viewer of a pool sees the id of a task that was given up, and nothing of one without an id', async () => {
  const other = queueKeys('poisoned', 'result');
  const about = { error: 'delivered twice', attempts: 1, worker: 'w', deliveries: 2 };
  const seenAt = async (letter: string): Promise<string | undefined> => {
    await admin.lpush(other.dead, letter);
    return (await findPoison(() => redis, [other], sampled, undefined)).seen.note;
  };
  expect(await seenAt(`1 ${deadHeader(about)}\nthe whole secret`)).toBe(
    'A task without an id is a dead letter: delivered twice.',
  );
  expect(await seenAt(`2 ${deadHeader({ ...about, id: 'a\u001B[2J\nb' })}\n{}`)).toBe(
    'Task "a [2J b" is a dead letter: delivered twice.',
  );
});

test('dead letters move within Redis; foreign entries stay, and can be dropped', async () => {
  const other = queueKeys('moving', 'result');
  const letter = (id: string): string =>
    `${Date.now()} ${deadHeader({ error: 'e', attempts: 1, worker: 'w', id })}\n{"id":"${id}"}`;
  await admin.lpush(other.dead, letter('1'), 'something else', letter('2'), `9 null\n${LONG}`, letter('3'));
  await admin.hset(other.errors, '2', 'e', '3', 'e');
  const [third, , second] = await readDeadHeads(redis, other, 5, 10);
  expect(third).toMatchObject({ id: '3', error: 'e', attempts: 1, size: 10 });
  expect(await moveDeadLetters(redis, other, 'requeue', [second?.digest ?? ''])).toBe(1);
  expect(await admin.lrange(other.queue, 0, -1)).toEqual(['{"id":"2"}']);
  expect(await admin.hexists(other.errors, '2')).toBe(0);
  expect(await moveDeadLetters(redis, other, 'requeue', 'all')).toBe(2);
  expect(await admin.lrange(other.queue, 0, -1)).toEqual(['{"id":"3"}', '{"id":"1"}', '{"id":"2"}']);
  expect((await readDeadLetters(admin, other)).map(({ error }) => error)).toEqual([
    expect.stringContaining('something else wrote into this list'),
    expect.stringContaining('something else wrote into this list'),
  ]);
  expect(await moveDeadLetters(redis, other, 'drop', [])).toBe(0);
});
