/** Tasks that were given up are reported once, whatever the clock of Redis does meanwhile. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { findPoison, type PoisonSeen } from '../../controller/report/poison.ts';
import { deadHeader } from '../../queue/dead-letter-format.ts';
import { noCounters } from '../../queue/pool/sample.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = defineScripts(server.client());
});
afterAll(() => server[Symbol.asyncDispose]());

const HOUR = 3_600_000;
const NOON = 12 * HOUR;

function scene() {
  const keys = freshKeys();
  let seen: PoisonSeen | undefined;
  let failed = 0;
  return {
    /** A task is given up at this time of Redis. */
    giveUp: async (id: string, at: number): Promise<void> => {
      failed++;
      const about = { error: 'delivered 5 times', attempts: 5, worker: 'w', deliveries: 5, id };
      await redis.lpush(keys.dead, `${at} ${deadHeader(about)}\n${id}`);
    },
    /** The tasks that are reported when a sample is taken at this time of Redis. */
    look: async (now: number): Promise<readonly string[]> => {
      const dead = await redis.llen(keys.dead);
      const found = await findPoison(
        () => redis,
        [keys],
        { dead, now, counters: { ...noCounters, failed } },
        seen,
      );
      seen = found.seen;
      return found.news.map((note) => /"(.*?)"/.exec(note)?.[1] ?? note);
    },
  };
}

test('each once, but for those of before', async () => {
  const { giveUp, look } = scene();
  await giveUp('old', NOON);
  expect(await look(NOON + 1)).toEqual([]);
  await giveUp('a', NOON + 2);
  await giveUp('b', NOON + 3);
  expect(await look(NOON + 4)).toEqual(['a', 'b']);
  expect(await look(NOON + 5)).toEqual([]);
  await giveUp('c', NOON + 6);
  expect(await look(NOON + 7)).toEqual(['c']);
});

test('a clock that is set back hides none, and brings none back', async () => {
  const { giveUp, look } = scene();
  await look(NOON);
  await giveUp('a', NOON + 1);
  expect(await look(NOON + 2)).toEqual(['a']);
  expect(await look(NOON - HOUR)).toEqual([]);
  await giveUp('b', NOON - HOUR + 1);
  expect(await look(NOON - HOUR + 2)).toEqual(['b']);
  await giveUp('c', NOON - HOUR + 3);
  expect(await look(NOON - HOUR + 4)).toEqual(['c']);
  expect(await look(NOON + 3)).toEqual([]);
  await giveUp('d', NOON + 4);
  expect(await look(NOON + 5)).toEqual(['d']);
});
