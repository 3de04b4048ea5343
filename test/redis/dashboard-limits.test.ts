/** Limits on a pool's page: what is read of them, and what is shown to whom. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { readLimits } from '../../controller/dashboard/read/limits.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { setLimits } from '../../queue/limits/limits.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { monitor } from '../support/monitor.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, startHandWorker } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;
/** The controller's. */
let bounded: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = defineScripts(server.client());
  bounded = defineScripts(openBounded(server.address));
});
afterAll(async () => {
  bounded?.disconnect();
  await server[Symbol.asyncDispose]();
});

const place = (...queues: QueueKeys[]) => ({ redisOf: () => bounded, queues });

async function pushed(keys: QueueKeys, customers: readonly string[]): Promise<void> {
  await redis.lpush(keys.queue, ...customers.map((customer, n) => JSON.stringify({ customer, n })));
}

test('each limit with what waits for it; keys are values of tasks, and shown with leave', async () => {
  const keys = freshKeys();
  const perKey = { field: 'customer', rate: '2/d', concurrency: 1 };
  await setLimits(redis, keys, { rate: '1/d', burst: 3, concurrency: 5, perKey }, 'pool shop/mail');
  await pushed(keys, ['acme', 'acme', 'acme', 'globex', 'initech', 'hooli']);
  const worker = await startHandWorker(redis, keys);
  expect((await worker.turn({ want: 9 })).tasks).toHaveLength(3);

  const [shown, ...others] = await readLimits(place(freshKeys(), keys), true);
  expect(others).toEqual([]);
  expect(shown).toEqual({
    queue: keys.queue,
    by: 'pool shop/mail',
    at: expect.closeTo(Date.now(), -5),
    limits: [
      { kind: 'rate', text: '1/d (burst 3)', used: 3, most: 3, held: 1 },
      { kind: 'concurrency', text: '5 at once', used: 3, most: 5, held: 0 },
      {
        kind: 'perKey',
        text: 'for each customer 2/d and 1 at once',
        used: 1,
        most: null,
        held: 2,
      },
    ],
    keys: [{ key: 'acme', held: 2, running: 1, most: 1, nextAt: null }],
  });
  const hidden = await readLimits(place(keys), false);
  expect(hidden).toEqual([{ ...shown, keys: [] }]);
  expect(JSON.stringify(hidden)).not.toContain('acme');
});

test('thousands of keys cost one script, and are ten rows; one without limits, two commands', async () => {
  const keys = freshKeys();
  await setLimits(redis, keys, { perKey: { field: 'customer', concurrency: 1 } }, 'test');
  const long = 'x'.repeat(150);
  const customers = Array.from({ length: 500 }, (_, i) => `${i}${long}\u202e`);
  await pushed(keys, [...customers, ...customers, ...customers]);
  const worker = await startHandWorker(redis, keys);
  for (let i = 0; i < 10; i++) await worker.turn({ want: 100 });
  const plain = freshKeys();
  await readLimits(place(keys, plain), true);
  using seen = await monitor({ host: '127.0.0.1', port: server.port });
  const [view, ...others] = await readLimits(place(keys, plain), true);
  expect(others).toEqual([]);
  expect(view?.keys).toHaveLength(10);
  expect(view?.keys[0]).toMatchObject({ held: expect.any(Number), most: 1, running: 1 });
  expect(Math.max(...(view?.keys ?? []).map(({ key }) => key.length))).toBeLessThanOrEqual(81);
  expect(JSON.stringify(view)).not.toContain('\u202e');
  const commands = (await seen.commands(redis)).filter(({ name }) => name !== 'ECHO');
  expect(commands.filter(({ name }) => name === 'EVALSHA')).toHaveLength(2);
  expect(commands.length).toBeLessThan(100);
  expect(await readLimits(place(keys), false)).toMatchObject([{ limits: [{ used: 500 }], keys: [] }]);
  const less = (await seen.commands(redis)).filter(({ name }) => name !== 'ECHO');
  expect(less.length - commands.length).toBeLessThanOrEqual(20);
});

test('a queue in partitions is not asked', async () => {
  const keys = freshKeys();
  const asked = { redisOf: () => Promise.reject(new Error('asked')) as never, queues: [keys], records: keys };
  expect(await readLimits(asked, true)).toEqual([]);
});
