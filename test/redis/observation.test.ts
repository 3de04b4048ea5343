/** What a pool of real workers on a real Redis is seen to do: sums that add up, waits from when the wake rang. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { createLocalTarget } from '../../cli/dev/local-target.ts';
import { startPoolLoop } from '../../cli/dev/pool-loop.ts';
import { workerProgram } from '../../cli/dev/worker-program.ts';
import type { Observation } from '../../controller/observe/observation.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { promptly, resultsOf, TASKS } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

test('arrived, taken and finished tasks add up, and a replica that becomes ready is reported once', async () => {
  const keys = freshKeys();
  const { queue, result } = keys;
  const settings = { redis: server.address, queue, result, concurrency: 1, graceMs: 10_000, retry: promptly };
  const seen: Observation[] = [];
  const errors: string[] = [];
  await using target = createLocalTarget({
    graceMs: 10_000,
    worker: (id) => workerProgram({ ...settings, module: TASKS }, id, process.env),
  });
  await using _loop = startPoolLoop({
    redis: server.address,
    queues: [keys],
    target,
    pollMs: 100,
    policy: {
      minReplicas: 0,
      maxReplicas: 1,
      tasksPerReplica: 1,
      windowMs: 60_000,
      fallback: undefined,
      paused: false,
    },
    log: pino({ level: 'silent' }),
    onStep: () => undefined,
    observed: (observation) => void seen.push(observation),
    onError: (error) => void errors.push(error.message),
  });
  await eventually(() => expect(seen.at(-1)?.known).toBe(true));
  const pushed = performance.timeOrigin + performance.now();
  await redis.lpush(queue, ...['a', 'b', 'c'].map((id) => JSON.stringify({ id, sleepMs: 300 })));
  await resultsOf(redis, result, 3);
  const sum = (of: (one: Observation) => number): number => seen.reduce((total, one) => total + of(one), 0);
  await eventually(() => expect(sum((one) => one.completed)).toBe(3));
  expect([sum((one) => one.arrived), sum((one) => one.taken), sum((one) => one.failed)]).toEqual([3, 3, 0]);
  expect(sum((one) => one.serviceMs)).toBeGreaterThan(890);
  const starts = seen.flatMap((one) => one.startsMs);
  expect(starts).toHaveLength(1);
  const waits = seen.flatMap((one) => one.waits);
  expect(waits.reduce((total, { tasks }) => total + tasks, 0)).toBe(3);
  // none waited for longer than the whole test
  const longest = performance.timeOrigin + performance.now() - pushed;
  for (const { waitMs } of waits) expect(waitMs).toBeLessThan(longest);
  expect(Math.max(...waits.map(({ waitMs }) => waitMs))).toBeGreaterThan(0);
  expect(errors).toEqual([]);
});
