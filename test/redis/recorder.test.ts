/** What a real Redis holds of a pool after what happened in it, and how it is read again. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { parseDecision } from '../../controller/records/decisions.ts';
import type { QueueLink, Sampler } from '../../controller/sample/sampler.ts';
import { createRecorder, type Recorder } from '../../controller/records/recorder.ts';
import { putDecision, readDecisions } from '../../queue/pool/decisions.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { appendToTimeline, readTimeline, TIMELINE_MS } from '../../queue/pool/timeline.ts';
import { systemClock } from '../../runtime/clock.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { observation } from '../support/observations.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { snapshot } from '../support/snapshot.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';

const POOL = 'shop/tiles';
let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = defineScripts(server.client());
});
afterAll(() => server[Symbol.asyncDispose]());

const linkTo = (keys: QueueKeys, to = redis): QueueLink => ({
  sampler: { redisOf: () => to } as unknown as Sampler,
  queues: [keys],
});
const recorder = (stretchMs = 100): Recorder =>
  createRecorder({
    clock: { ...systemClock, elapsed: () => systemClock.now() },
    log: pino({ level: 'silent' }),
    stretchMs,
  });
const entry = {
  spanMs: 10_000,
  waiting: 12.34,
  inFlight: 3.5,
  replicas: 4,
  ready: 4,
  desired: 5,
  mostWaiting: 40,
  arrived: 70,
  taken: 71,
  completed: 69,
  serviceMs: 70_123,
  waitP50Ms: 1_200,
  waitP95Ms: 4_200,
  waitMaxMs: 5_000,
  peak: 12,
  peakMs: 3_000,
  failed: 0,
  retried: 1,
  delayed: 1,
  dead: 0,
  starts: 0,
  startMs: 0,
  blindMs: 0,
};

test('entries follow while something happens; one more has the final state, and then there are none', async () => {
  const keys = freshKeys();
  await using recording = recorder();
  const began = Date.now();
  recording.observed(POOL, linkTo(keys), observation({ at: began, arrived: 5, waiting: 5 }));
  recording.observed(POOL, linkTo(keys), observation({ at: began + 50, taken: 5 }));
  await eventually(async () => expect(await readTimeline(redis, keys, POOL)).toHaveLength(2));
  // idle now: looks that see nothing new
  for (let i = 0; i < 3; i++) {
    recording.observed(POOL, linkTo(keys), observation({ at: Date.now() }));
    await new Promise((resolve) => void setTimeout(resolve, 150));
  }
  const [busy, still, ...more] = await readTimeline(redis, keys, POOL);
  expect(more).toEqual([]);
  expect(busy).toMatchObject({ arrived: 5, taken: 5, mostWaiting: 5 });
  expect(still).toMatchObject({ arrived: 0, taken: 0, mostWaiting: 0, waiting: 0 });
  // the same ms, if Redis stood still in between
  expect(still?.at).toBeGreaterThanOrEqual(busy?.at ?? Infinity);
});

test('an idle pool is not written of at all', async () => {
  const keys = freshKeys();
  await using recording = recorder(20);
  for (let i = 0; i < 3; i++) recording.observed(POOL, linkTo(keys), observation({ at: i, known: i > 0 }));
  await recording[Symbol.asyncDispose]();
  expect(await redis.exists(keys.timeline(POOL), keys.decisions(POOL))).toBe(0);
});

test('decisions are written immediately, at most a hundred; an unchanged one is confirmed with the timeline', async () => {
  const keys = freshKeys();
  await using recording = recorder();
  const reasons = async (): Promise<string[]> =>
    (await readDecisions(redis, keys, POOL)).map((text) => parseDecision(text)?.reason ?? text);
  for (let i = 1; i <= 120; i++) {
    const look = { at: i, scaled: { from: i - 1, to: i }, cause: 'ScaleUp', reason: `to ${i}` };
    recording.observed(POOL, linkTo(keys), observation(look));
  }
  await eventually(async () => expect((await reasons())[0]).toBe('to 120'));
  expect(await reasons()).toHaveLength(100);
  for (const waiting of [9, 8, 7])
    recording.observed(
      POOL,
      linkTo(keys),
      observation({ waiting, wanted: 120, reason: `${waiting} waiting` }),
    );
  await eventually(async () => expect((await reasons()).slice(0, 2)).toEqual(['7 waiting', 'to 120']));
  expect(await reasons()).toHaveLength(100);
});

test('the open entry is written at the end, and all of it expires', async () => {
  const keys = freshKeys();
  const recording = recorder(60_000);
  recording.observed(POOL, linkTo(keys), observation({ at: Date.now(), arrived: 2, waiting: 2 }));
  await recording[Symbol.asyncDispose]();
  expect(await readTimeline(redis, keys, POOL)).toMatchObject([{ arrived: 2 }]);
  for (const key of [keys.timeline(POOL), keys.decisions(POOL)]) {
    const days = (await redis.ttl(key)) / 86_400;
    expect(days).toBeGreaterThan(6);
    expect(days).toBeLessThan(31);
  }
});

test('an unreachable Redis disturbs nothing, and the next entries are written when it is back', async () => {
  await using own = await startRedis();
  const client = defineScripts(own.client({ enableOfflineQueue: false }));
  const keys = freshKeys();
  await using recording = recorder();
  await eventually(() => expect(client.status).toBe('ready'));
  await own.kill();
  recording.observed(POOL, linkTo(keys, client), observation({ waiting: 1, reason: 'lost' }));
  await own.start();
  await eventually(() => expect(client.status).toBe('ready'));
  await eventually(async () => {
    recording.observed(POOL, linkTo(keys, client), observation({ waiting: 1, reason: 'again' }));
    expect((await readDecisions(client, keys, POOL)).map((text) => parseDecision(text)?.reason)).toEqual([
      'again',
    ]);
  });
});

test('entries and decisions whose reply was lost with the connection stand there once', async () => {
  const keys = freshKeys();
  await using proxy = await startTcpProxy(server.port);
  const client = defineScripts(openRedis({ url: `redis://127.0.0.1:${proxy.port}` }));
  try {
    await using recording = recorder();
    // the server is to know the scripts
    const before = freshKeys();
    const look = { at: Date.now(), arrived: 1, waiting: 1, desired: 1, wanted: 1, reason: 'first' };
    recording.observed('shop/other', linkTo(before), observation(look));
    await eventually(async () => expect(await redis.exists(before.timeline('shop/other'))).toBe(1));
    await client.ping();
    const reasons = async (): Promise<(string | undefined)[]> =>
      (await readDecisions(redis, keys, POOL)).map((text) => parseDecision(text)?.reason);

    proxy.stall('replies');
    recording.observed(POOL, linkTo(keys, client), observation(look));
    await eventually(async () => expect(await reasons()).toEqual(['first']));
    // confirmed, and then another one, all without a reply
    recording.observed(
      POOL,
      linkTo(keys, client),
      observation({ ...look, at: Date.now(), reason: 'confirmed' }),
    );
    await eventually(async () => expect(await reasons()).toEqual(['confirmed']));
    const change = { ...look, at: Date.now(), scaled: { from: 1, to: 2 }, reason: 'more' };
    recording.observed(POOL, linkTo(keys, client), observation(change));
    await eventually(async () => expect(await reasons()).toEqual(['more', 'confirmed']));
    await eventually(async () => expect(await readTimeline(redis, keys, POOL)).toHaveLength(2));
    proxy.cut();
    proxy.resume();
    // behind what is sent again
    await client.ping();
    await recording[Symbol.asyncDispose]();
    expect(await reasons()).toEqual(['more', 'confirmed']);
    const entries = await readTimeline(redis, keys, POOL);
    expect(entries.reduce((sum, { arrived }) => sum + arrived, 0)).toBe(3);
  } finally {
    await closeRedis(client);
  }
});

test('a decision that Redis has forgotten by going back replaces no other when it is confirmed', async () => {
  const keys = freshKeys();
  const at = (number: number, reason: string) => ({
    head: `{"at":${number},`,
    text: JSON.stringify({ at: number, confirmedAt: number, to: 1, reason }),
  });
  for (const [number, reason] of [
    [1, 'one'],
    [2, 'two'],
    [3, 'three'],
  ] as const)
    await putDecision(redis, keys, POOL, at(number, reason));
  const toBefore = await snapshot(redis, keys, []);
  await putDecision(redis, keys, POOL, at(4, 'four'));
  await toBefore();
  await putDecision(redis, keys, POOL, at(4, 'four again'));
  await putDecision(redis, keys, POOL, at(4, 'four, the last'));
  const reasons = (await readDecisions(redis, keys, POOL)).map((text) => parseDecision(text)?.reason);
  expect(reasons).toEqual(['four, the last', 'three', 'two', 'one']);
});

test('an entry of a server whose clock was set back comes after those before it', async () => {
  const keys = freshKeys();
  const ahead = Date.now() + 3_600_000;
  await redis.xadd(keys.timeline(POOL), `${ahead}-7`, 'v', '10000 1');
  for (let i = 1; i <= 3; i++) await appendToTimeline(redis, keys, POOL, { ...entry, arrived: i });
  const found = await readTimeline(redis, keys, POOL);
  expect(found.map(({ at }) => at - ahead)).toEqual([0, 1, 2, 3]);
  expect(found.map(({ arrived }) => arrived)).toEqual([0, 1, 2, 3]);
});

test('a range of the timeline, the newest entries, and those older than a week', async () => {
  const keys = freshKeys();
  const old = Date.now() - TIMELINE_MS - 1_000;
  // whole nodes of a stream are dropped: so many that some are old altogether
  const add = redis.pipeline();
  for (let i = 0; i < 250; i++) add.xadd(keys.timeline(POOL), `${old - 1_000 + i}-0`, 'v', '10000 1');
  await add.exec();
  for (let i = 0; i < 5; i++) await appendToTimeline(redis, keys, POOL, { ...entry, arrived: i });
  expect(await redis.xlen(keys.timeline(POOL))).toBeLessThan(150);
  const all = await readTimeline(redis, keys, POOL, { since: Date.now() - 60_000 });
  expect(all.map(({ arrived }) => arrived)).toEqual([0, 1, 2, 3, 4]);
  expect(all[0]).toMatchObject({ ...entry, arrived: 0 });
  const newest = await readTimeline(redis, keys, POOL, { limit: 2 });
  expect(newest.map(({ arrived }) => arrived)).toEqual([3, 4]);
  const { at = 0 } = all[2] ?? {};
  const until = await readTimeline(redis, keys, POOL, { since: at, until: at });
  expect(until.map(({ arrived }) => arrived)).toContain(2);
});

test('a busy week is read page by page', async () => {
  const keys = freshKeys();
  const now = Date.now();
  for (let page = 0; page < 13; page++) {
    const add = redis.pipeline();
    for (let i = 0; i < 1_000; i++)
      add.xadd(
        keys.timeline(POOL),
        `${now - 20_000_000 + page * 1_000 + Math.floor(i / 2)}-${i % 2}`,
        'v',
        `10000 ${i}`,
      );
    await add.exec();
  }
  const all = await readTimeline(redis, keys, POOL);
  expect(all).toHaveLength(13_000);
  expect(all.every(({ at }, i) => i === 0 || at >= (all[i - 1]?.at ?? 0))).toBe(true);
});
