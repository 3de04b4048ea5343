/** Tasks that are held for something that knows nothing of Redis: taken once, found again by anybody, settled once. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { queueKeys } from '../../queue/keys.ts';
import {
  cancelNames,
  findCancelled,
  holdTask,
  readHeldTask,
  settleHeldTask,
  type HeldTask,
} from '../../queue/outcomes/held-task.ts';
import type { Finished, Outcome } from '../../queue/outcomes/outcome.ts';
import { openQueue } from '../../queue/queue.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { listWorkers } from '../../queue/workers/list-workers.ts';
import { taskId } from '../../queue/task.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

let server: RedisServer;
let plain: Redis;
/** As the controller's, which refuses long replies. */
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  plain = server.client();
  redis = defineScripts(openBounded({ url: server.url }));
});
afterAll(async () => {
  redis.disconnect();
  await server[Symbol.asyncDispose]();
});

const LEASE_MS = 3_600_000;
let queues = 0;
const nextQueue = () => queueKeys(`held-${++queues}`, `held-${queues}:result`);

function finished(held: HeldTask, outcome: Outcome): Finished {
  const { delivery } = held;
  if (!delivery) throw new Error('nothing is held');
  return {
    delivery,
    id: taskId(delivery.raw),
    attempt: delivery.past.attempts + 1,
    outcome,
    serviceMs: 5_000,
  };
}

async function hold(keys: ReturnType<typeof nextQueue>, name = 'job/x'): Promise<HeldTask> {
  expect(await holdTask(redis, keys, name, LEASE_MS, { pool: 'shop/videos', concurrency: 1 })).toBe(true);
  const held = await readHeldTask(redis, keys, name, 100_000);
  if (!held?.delivery) throw new Error('nothing is held');
  return held;
}

test('a task is held as by a worker, under a name that is taken by then', async () => {
  const keys = nextQueue();
  await plain.lpush(keys.queue, 'first', 'second');
  const held = await hold(keys);
  expect(held.delivery?.raw.toString()).toBe('first');
  expect(await plain.lrange(keys.queue, 0, -1)).toEqual(['second']);
  expect(await listWorkers(redis, keys)).toMatchObject([
    { id: 'job/x', pool: 'shop/videos', state: 'busy', inFlight: 1, concurrency: 1 },
  ]);
  expect(await holdTask(redis, keys, 'job/x', LEASE_MS, {})).toBe(false);
  expect(await plain.lrange(keys.queue, 0, -1)).toEqual(['second']);
});

test('an empty queue and a paused one leave nothing behind', async () => {
  const keys = nextQueue();
  expect(await holdTask(redis, keys, 'job/x', LEASE_MS, {})).toBe(false);
  await plain.lpush(keys.queue, 'a');
  await plain.set(keys.paused, 'for a test');
  expect(await holdTask(redis, keys, 'job/x', LEASE_MS, {})).toBe(false);
  expect(await plain.lrange(keys.queue, 0, -1)).toEqual(['a']);
  expect(await plain.zcard(keys.workers)).toBe(0);
  expect(await readHeldTask(redis, keys, 'job/x', 100)).toBeUndefined();
});

test('two that read the same record its end once, and the worker is gone', async () => {
  const keys = nextQueue();
  await plain.lpush(keys.queue, '{"id":"a"}');
  const held = await hold(keys);
  const again = await readHeldTask(redis, keys, 'job/x', 100);
  const result = (value: string): Finished => finished(held, { kind: 'result', value });
  const settled = await Promise.all([
    settleHeldTask(redis, keys, held, result('one'), LEASE_MS),
    settleHeldTask(redis, keys, again ?? held, result('two'), LEASE_MS),
  ]);
  expect(settled).toContain(true);
  expect(await plain.hget(keys.result, 'a')).toBe('one');
  expect(await plain.hmget(keys.stats, 'completed', 'taken')).toEqual(['1', '1']);
  expect(await plain.zcard(keys.workers)).toBe(0);
  expect(await plain.exists(keys.worker('job/x'), keys.inflight('job/x'))).toBe(0);
  expect(await settleHeldTask(redis, keys, held, result('three'), LEASE_MS)).toBe(false);
  expect(await plain.hget(keys.result, 'a')).toBe('one');
});

test('a retry is delivered with its past, a release without one, a dead letter with its error', async () => {
  const keys = nextQueue();
  await plain.lpush(keys.queue, '{"id":"a"}');
  const retry = { kind: 'retry', delayMs: 0, error: 'exit code 1' } as const;
  const first = await hold(keys);
  await settleHeldTask(redis, keys, first, finished(first, retry), LEASE_MS);
  const second = await hold(keys, 'job/y');
  expect(second.delivery?.past).toMatchObject({ attempts: 1, deliveries: 0 });
  await settleHeldTask(redis, keys, second, finished(second, { kind: 'release' }), LEASE_MS);
  const third = await hold(keys, 'job/z');
  expect(third.delivery?.past).toMatchObject({ attempts: 1, deliveries: 0 });
  await settleHeldTask(redis, keys, third, finished(third, { kind: 'dead', error: 'gave up' }), LEASE_MS);
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  await expect(queue.result('a')).rejects.toThrow('gave up');
});

test('a task longer than what is read is held all the same', async () => {
  const keys = nextQueue();
  await plain.lpush(keys.queue, 'x'.repeat(3_000_000));
  await holdTask(redis, keys, 'job/x', LEASE_MS, {});
  const held = await readHeldTask(redis, keys, 'job/x', 1_000);
  expect(held).toMatchObject({ isCut: true });
  expect(held?.delivery?.raw.length).toBe(1_000);
});

test('a part of a batch is counted, and cancelled with its batch', async () => {
  const keys = nextQueue();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  const batch = await queue.batch([{ n: 1 }, { n: 2 }], { then: { kind: 'join' } });
  const held = await hold(keys);
  const raw = held.delivery?.raw ?? Buffer.alloc(0);
  expect(await findCancelled(redis, keys, cancelNames(raw))).toEqual([false, false]);
  await queue.batch.cancel(batch.id);
  expect(await findCancelled(redis, keys, cancelNames(raw))).toContain(true);
});
