/** A queue in partitions, served by real workers: on one server here, in a Redis Cluster in test/programs/cluster-partitions.test.ts. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
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

test('what cannot be: partitions and several queues, a number that is none, a name with a hash tag', async () => {
  const start = (queue: string | string[], partitions: number): Promise<void> => {
    const worker = startWorker(server, queueKeys('q', 'r'), { handler: () => 'ok', queue, partitions });
    return worker.ended;
  };
  await expect(start(['a', 'b'], 2)).rejects.toThrow('partitions and several queues exclude each other');
  await expect(start('a', 0)).rejects.toThrow('a queue has 1 to 256 partitions: got 0');
  await expect(start('{eu}a', 2)).rejects.toThrow('"{eu}a" has a hash tag');
});
