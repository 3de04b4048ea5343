/** A queue in partitions, served by real workers: on one server here, in a Redis Cluster in test/programs/cluster-partitions.test.ts. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { reap } from '../../queue/workers/reap.ts';
import { register } from '../../queue/workers/register.ts';
import { turn } from '../../queue/workers/turn.ts';
import { sleep } from '../../runtime/timers.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, nothing } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

test('a worker serves all lists, in order within each, and the plain list beside them', async () => {
  const plain = queueKeys('tiles', 'tile-results');
  const lists = [plain, ...partitionKeys('tiles', 'tile-results', 3)];
  const begun: string[] = [];
  const handler = (task: unknown): string => {
    begun.push(String(task));
    return 'ok';
  };
  const count = 400;
  const tasksOf = (i: number): string[] => Array.from({ length: count }, (_, n) => `${i}-${n}`);
  for (const [i, { queue }] of lists.entries()) await redis.lpush(queue, ...tasksOf(i));
  await using worker = startWorker(server, plain, { handler, partitions: [1, 3], concurrency: 4 });
  await worker.ready();
  for (const [i, { result }] of lists.entries()) {
    await resultsOf(redis, result, count);
    expect(begun.filter((task) => task.startsWith(`${i}-`))).toEqual(tasksOf(i));
  }
  await redis.lpush(lists[2]?.queue ?? '', 'late');
  await eventually(() => expect(begun).toContain('late'));
});

test('one task beside a list of thousands is begun long before these are through', async () => {
  const plain = freshKeys();
  const lists = partitionKeys(plain.queue, plain.result, 4);
  const [, full, , other] = lists as [QueueKeys, QueueKeys, QueueKeys, QueueKeys];
  const begun: string[] = [];
  await redis.lpush(full.queue, ...Array.from({ length: 20_000 }, (_, n) => `full-${n}`));
  await redis.lpush(other.queue, 'other');
  const handler = async (task: unknown): Promise<string> => {
    begun.push(String(task));
    await sleep(1);
    return 'ok';
  };
  await using worker = startWorker(server, plain, { handler, partitions: 4 });
  await worker.ready();
  await resultsOf(redis, other.result, 1);
  expect(begun.indexOf('other')).toBeLessThan(10_000);
  // and one that comes meanwhile is found, too
  await redis.lpush(other.queue, 'late');
  await resultsOf(redis, other.result, 2);
  expect(await redis.llen(full.queue)).toBeGreaterThan(0);
});

test('suspects of two lists: neither waits for the other, and all tasks are done', async () => {
  const plain = freshKeys();
  const lists = partitionKeys(plain.queue, plain.result, 2);
  const tasks = (i: number): string[] => Array.from({ length: 4 }, (_, n) => `${i}-${n}`);
  for (const [i, keys] of lists.entries()) {
    const epoch = (await register(redis, keys, 'lost', 60_000, {})) ?? 0;
    await redis.lpush(keys.queue, ...tasks(i));
    await turn(redis, keys, {
      worker: 'lost',
      epoch,
      turn: 1,
      seen: 0,
      settled: nothing,
      want: 4,
      leaseMs: 60_000,
      state: 'busy',
    });
    await reap(redis, keys, 'lost', epoch, 'lost');
    await redis.lpush(keys.queue, ...Array.from({ length: 20 }, (_, n) => `${i}-plain-${n}`));
  }
  const handler = async (): Promise<string> => {
    await sleep(2);
    return 'ok';
  };
  await using worker = startWorker(server, plain, { handler, partitions: 2, concurrency: 3 });
  await worker.ready();
  for (const { result } of lists) expect(Object.keys(await resultsOf(redis, result, 24))).toHaveLength(24);
});

test('what cannot be: partitions and several queues, a number that is none, a name with a hash tag', async () => {
  const start = (queue: string | string[], partitions: number): Promise<void> => {
    const worker = startWorker(server, queueKeys('q', 'r'), { handler: () => 'ok', queue, partitions });
    return worker.ended;
  };
  await expect(start(['a', 'b'], 2)).rejects.toThrow('partitions and several queues exclude each other');
  await expect(start('a', 0)).rejects.toThrow('a queue has 1 to 256 partitions: got 0');
  await expect(start('{eu}a', 2)).rejects.toThrow('"{eu}a" has a hash tag');
});
