/** What a read costs Redis, whatever is in a library's queues and whoever works on them: commands by MONITOR, and round trips. */
import type { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { readSource } from '../../queue/sources/read.ts';
import type { Watched } from '../../queue/sources/ask.ts';
import type { Source } from '../../queue/sources/source.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { monitor } from '../support/monitor.ts';
import { startRedis } from '../support/redis.ts';
import { attend } from './attendance.ts';
import { cases, openScene, type Scene } from './cases.ts';
import { openCelery } from './celery.ts';

const MOST_COMMANDS = 20;
const MOST_ROUND_TRIPS = 3;

interface Cost {
  /** Names of commands, those inside of scripts included, without the scripts themselves and their reading of the time. */
  readonly commands: readonly string[];
  readonly roundTrips: number;
}

/** The client, with all replies to what was sent together held back until the last of them is there: that is one round trip. */
function inStep(redis: Redis): { readonly redis: Redis; readonly roundTrips: () => number } {
  let roundTrips = 0;
  let awaited: { all: Promise<unknown>[]; done: PromiseWithResolvers<void> } | undefined;
  const send = (...args: Parameters<Redis['sendCommand']>): Promise<unknown> => {
    const step = (awaited ??= { all: [], done: Promise.withResolvers<void>() });
    const reply = redis.sendCommand(...args) as Promise<unknown>;
    step.all.push(reply);
    const count = step.all.length;
    void Promise.allSettled(step.all).then(() => {
      if (awaited !== step || step.all.length !== count) return;
      awaited = undefined;
      roundTrips++;
      step.done.resolve();
    });
    return step.done.promise.then(() => reply);
  };
  const get = (target: Redis, name: string | symbol): unknown =>
    name === 'sendCommand' ? send : Reflect.get(target, name);
  return { redis: new Proxy(redis, { get }), roundTrips: () => roundTrips };
}

/**
 * Makes as many tasks out of those that wait and are delayed, as far as it is the number that matters: lists, sorted sets, hashes and
 * streams grow, by their first element.
 */
async function grow(redis: Redis, watched: readonly Watched[], tasks: number): Promise<void> {
  const numbers = Array.from({ length: tasks }, (_, i) => String(i));
  for (const { question } of watched) {
    const { key, command } = question;
    const type = await redis.type(key);
    const [first = ''] = type === 'list' ? await redis.lrange(key, 0, 0) : [];
    const [, score] = type === 'zset' ? await redis.zrange(key, '0', '0', 'WITHSCORES') : [];
    const [value] = type === 'hash' && command === 'HLEN' ? await redis.hvals(key) : [];
    const pipeline = redis.pipeline();
    for (const number of type === 'none' ? [] : numbers) {
      if (type === 'list') pipeline.lpush(key, first);
      if (score !== undefined) pipeline.zadd(key, score, number);
      if (value !== undefined) pipeline.hset(key, number, value);
      if (type === 'stream') pipeline.xadd(key, '*', 'task', 'a');
    }
    await pipeline.exec();
  }
}

/** Of one read. */
async function costOf({ server, redis }: Pick<Scene, 'server' | 'redis'>, source: Source): Promise<Cost> {
  const [, own = ''] = / addr=(\S+)/.exec(await redis.client('INFO')) ?? [];
  using seen = await monitor(server);
  const step = inStep(redis);
  await readSource(step.redis, source, 60_000);
  const roundTrips = step.roundTrips();
  let ours = false;
  const commands = (await seen.commands(redis)).flatMap(({ from, name }) => {
    // what a script runs follows it
    if (from !== 'lua') ours = from === own;
    return ours && !['EVAL', 'EVALSHA', 'TIME'].includes(name) ? [name] : [];
  });
  return { commands, roundTrips };
}

async function expectCheap(scene: Pick<Scene, 'server' | 'redis'>, source: Source): Promise<void> {
  // its scripts are on the connection
  await readSource(scene.redis, source, 60_000);
  const { commands, roundTrips } = await costOf(scene, source);
  expect(commands.length).toBeGreaterThan(0);
  expect(commands.length, commands.join(' ')).toBeLessThanOrEqual(MOST_COMMANDS);
  expect(roundTrips).toBeGreaterThan(0);
  expect(roundTrips).toBeLessThanOrEqual(MOST_ROUND_TRIPS);
}

describe.each(cases)('$name', (one) => {
  test('a read costs at most 20 commands and 3 round trips', async () => {
    await using scene = await openScene(one);
    const { library, source } = scene;
    await library.push(120);
    await scene.sees({ waiting: 120 });
    await expectCheap(scene, source);
    if (!one.noDelays) await library.push(3, 3_600_000);
    await library.work('pod-1');
    await library.work('pod-2');
    const held = 2 * (1 + (one.prefetched ?? 0));
    await scene.sees(one.hidesRunning ? { waiting: 120 - held } : { inFlight: held });
    await expectCheap(scene, source);
    // and of very many tasks, and workers
    const { sample, watched } = await readSource(scene.redis, source, 60_000);
    await grow(scene.redis, watched, 10_000);
    await using _ = await attend(scene.redis, one.settings, 50);
    const { sample: grown } = await readSource(scene.redis, source, 60_000);
    expect(grown.waiting + grown.delayed).toBeGreaterThanOrEqual(sample.waiting + sample.delayed + 10_000);
    await expectCheap(scene, source);
  });
});

test('a read of Celery with idle workers, and more fetched messages than are read, costs no more', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const redis = server.client();
  const source = sourceOf({ celery: { queues: ['mail'], prioritySteps: [0, 3, 6, 9] } });
  await celery.work('pod-1');
  await celery.work('pod-2');
  await expectCheap({ server, redis }, source);
  await celery.push(1, 3_600_000);
  await eventually(async () => expect(await redis.hlen('unacked')).toBe(1));
  const [message = ''] = await redis.hvals('unacked');
  await redis.hset(
    'unacked',
    Object.fromEntries(Array.from({ length: 1_500 }, (_, i) => [`tag ${i}`, message])),
  );
  await expectCheap({ server, redis }, source);
});

test('a read of many queues of Celery costs as much for each', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server);
  const redis = server.client();
  const queues = Array.from({ length: 8 }, (_, i) => `mail-${i}`);
  await celery.work('pod-1', '-Q', queues.join(','));
  for (const priority of [0, 3, 6, 9]) await celery.send(150, { queue: 'mail', priority });
  for (const queue of queues)
    for (const step of ['', '\x06\x163', '\x06\x166', '\x06\x169'])
      await redis.copy(`mail${step}`, `${queue}${step}`);
  const source = sourceOf({ celery: { queues, prioritySteps: [0, 3, 6, 9] } });
  await readSource(redis, source, 60_000);
  // so that the workers are asked again
  await redis.del('millrace:{celery:mail-0}:answers');
  const { commands, roundTrips } = await costOf({ server, redis }, source);
  expect(commands).toContain('PUBLISH');
  expect(commands.length / queues.length).toBeLessThanOrEqual(MOST_COMMANDS / 2);
  expect(roundTrips).toBeLessThanOrEqual(MOST_ROUND_TRIPS);
});
