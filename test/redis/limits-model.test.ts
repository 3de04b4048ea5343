/**
 * Random histories of a queue with limits: workers take, settle in any way, die and are recovered, and limits change. After each step no
 * more is in flight than the limits allow, what counts for a key is what is in flight of it, and each task is in exactly one place.
 */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as fc from 'fast-check';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { removeLimits, setLimits } from '../../queue/limits/limits.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { reap } from '../../queue/workers/reap.ts';
import type { Delivery } from '../../queue/workers/turn.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, type HandWorker } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = defineScripts(openRedis(server.address));
});
afterAll(async () => {
  await closeRedis(redis);
  await server[Symbol.asyncDispose]();
});

type Step =
  | { readonly kind: 'push'; readonly key: string; readonly count: number }
  | {
      readonly kind: 'turn';
      readonly worker: number;
      readonly want: number;
      readonly settle: readonly ('result' | 'release' | 'retry' | 'dead')[];
    }
  | { readonly kind: 'die' | 'leave' | 'move'; readonly worker: number }
  | { readonly kind: 'limit'; readonly all: number; readonly each: number };

const WORKERS = 3;
const worker = fc.integer({ min: 0, max: WORKERS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('push' as const),
    key: fc.constantFrom('a', 'b', 'c', ''),
    count: fc.integer({ min: 1, max: 4 }),
  }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('turn' as const),
      worker,
      want: fc.integer({ min: 0, max: 4 }),
      settle: fc.array(fc.constantFrom('result', 'result', 'release', 'retry', 'dead'), { maxLength: 4 }),
    }),
  },
  fc.record({ kind: fc.constantFrom('die' as const, 'leave' as const, 'move' as const), worker }),
  fc.record({
    kind: fc.constant('limit' as const),
    all: fc.integer({ min: 1, max: 6 }),
    each: fc.integer({ min: 1, max: 3 }),
  }),
);

interface World {
  readonly keys: QueueKeys;
  readonly hands: { hand: HandWorker; held: Delivery[] }[];
  pushed: number;
  ended: number;
  limits: { all: number; each: number };
}

async function begin(keys: QueueKeys): Promise<World['hands'][number]> {
  return { hand: await startHandWorker(redis, keys), held: [] };
}

async function take(world: World, next: Step): Promise<void> {
  const { keys, hands } = world;
  if (next.kind === 'push') {
    for (let i = 0; i < next.count; i++) {
      const n = world.pushed++;
      await redis.lpush(keys.queue, next.key === '' ? `plain ${n}` : JSON.stringify({ key: next.key, n }));
    }
    return;
  }
  if (next.kind === 'limit') {
    world.limits = { all: next.all, each: next.each };
    const perKey = { field: 'key', concurrency: next.each };
    await setLimits(redis, keys, { concurrency: next.all, perKey }, 'test');
    return;
  }
  const at = hands[next.worker];
  if (!at) return;
  if (next.kind === 'move') {
    await redis.lmove(keys.queue, keys.wake(at.hand.id), 'RIGHT', 'LEFT');
    return;
  }
  if (next.kind !== 'turn') {
    await reap(redis, keys, at.hand.id, 'any', next.kind === 'die' ? 'displaced' : 'leave', 0);
    hands[next.worker] = await begin(keys);
    return;
  }
  const settling = at.held.splice(0, next.settle.length);
  const of = (
    what: Step & { kind: 'turn' } extends { settle: readonly (infer T)[] } ? T : never,
  ): Delivery[] => settling.filter((_, i) => next.settle[i] === what);
  const past = { attempts: 1, deliveries: 0 };
  const reply = await at.hand.turn({
    want: next.want,
    settled: {
      results: of('result').map((task) => done(task)),
      released: of('release').map(({ receipt }) => receipt),
      retries: of('retry').map(({ receipt }) => ({ receipt, delayMs: 0, past })),
      dead: of('dead').map(({ receipt }) => ({ receipt, header: '{"error":"x","attempts":1}' })),
    },
  });
  world.ended += of('result').length + of('dead').length;
  at.held.push(...reply.tasks);
}

const keyOf = (raw: string): string | undefined =>
  raw.startsWith('{') ? (JSON.parse(raw) as { key: string }).key : undefined;

async function check(world: World, before: number): Promise<void> {
  const { keys, hands, limits } = world;
  const flying = (await Promise.all(hands.map(({ hand }) => redis.hvals(keys.inflight(hand.id))))).flat();
  // a limit that was lowered interrupts nothing
  expect(flying.length).toBeLessThanOrEqual(Math.max(limits.all, before));
  const counts: Record<string, string> = {};
  for (const raw of flying) {
    const key = keyOf(raw);
    if (key !== undefined) counts[key] = String(Number(counts[key] ?? 0) + 1);
  }
  expect(await redis.hgetall(keys.limitRunning)).toEqual(counts);
  expect(await redis.hlen(keys.limitSlots)).toBe(flying.filter((raw) => keyOf(raw) !== undefined).length);
  const heldKeys = await redis.zrange(keys.held, '0', '-1', 'WITHSCORES');
  const lists = ['a', 'b', 'c'];
  const lengths = await Promise.all(lists.map(async (key) => redis.llen(keys.heldTasks(key))));
  const held = lengths.reduce((sum, length) => sum + length, 0);
  expect(Object.fromEntries(lists.flatMap((key, i) => (lengths[i] ? [[key, lengths[i]]] : [])))).toEqual(
    Object.fromEntries(heldKeys.flatMap((key, i) => (i % 2 === 0 ? [[key, Number(heldKeys[i + 1])]] : []))),
  );
  expect(Number((await redis.hget(keys.limitState, 'held')) ?? 0)).toBe(held);
  const woken = await Promise.all(hands.map(async ({ hand }) => redis.llen(keys.wake(hand.id))));
  const places = [
    await redis.llen(keys.queue),
    await redis.zcard(keys.delayed),
    held,
    flying.length,
    ...woken,
  ];
  expect(places.reduce((sum, count) => sum + count, 0) + world.ended).toBe(world.pushed);
}

test('limits hold, nothing is lost, and no slot leaks, whatever happens', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const keys = freshKeys();
      const hands = await Promise.all(Array.from({ length: WORKERS }, async () => begin(keys)));
      const world: World = { keys, hands, pushed: 0, ended: 0, limits: { all: 2, each: 1 } };
      await take(world, { kind: 'limit', ...world.limits });
      for (const next of steps) {
        const flying = world.hands.reduce((sum, { held }) => sum + held.length, 0);
        await take(world, next);
        await check(world, flying);
      }
      // all of it comes through
      for (let i = 0; i < 500 && world.ended < world.pushed; i++)
        for (let of = 0; of < WORKERS; of++)
          await take(world, {
            kind: 'turn',
            worker: of,
            want: 4,
            settle: ['result', 'result', 'result', 'result'],
          });
      expect(world.ended).toBe(world.pushed);
      await removeLimits(redis, keys, 'test');
      expect(await redis.keys(`millrace:{${keys.queue}}:*limit*`)).toEqual([]);
    }),
    { numRuns: 40 },
  );
});
