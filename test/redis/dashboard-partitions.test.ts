/** A queue in partitions on a pool's page: one queue, each worker once. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDetailsReader } from '../../controller/dashboard/read/details.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { promptly, startWorker } from '../support/workers.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server[Symbol.asyncDispose]());

test('workers, tasks, dead letters and a pause are those of one queue', async () => {
  const keys = freshKeys();
  const { queue, result } = keys;
  const redis = server.client();
  const lists = partitionKeys(queue, result, 2);
  const finish = Promise.withResolvers<string>();
  await using worker = startWorker(server, keys, {
    partitions: 2,
    concurrency: 2,
    retry: { ...promptly, attempts: 1 },
    handler: (task) => (String(task).startsWith('bad') ? Promise.reject(new Error('bad')) : finish.promise),
  });
  await worker.ready();
  for (const [i, list] of lists.entries()) await redis.lpush(list.queue, `bad-${i}`);
  await eventually(async () => {
    const dead = await Promise.all(lists.map((list) => redis.llen(list.dead)));
    expect(dead).toEqual([1, 1]);
  });
  for (const [i, list] of lists.entries()) await redis.lpush(list.queue, `slow-${i}`);
  await using handle = openQueue({ redis: server.address, queue, result, partitions: 2 });
  await eventually(async () => expect((await handle.inspect()).inFlight).toBe(2));
  await handle.pause('for a while');
  const place = { redisOf: () => redis, queues: lists, records: keys };
  const { workers, dead, pauses } = await createDetailsReader(true).read(place, 'shop/tiles');
  expect(workers).toMatchObject({ all: 1, list: [{ id: worker.id, queue, inFlight: 2 }] });
  expect(workers.list[0]?.tasks.map(({ text }) => text).toSorted()).toEqual(['slow-0', 'slow-1']);
  expect(new Set(dead.list.map((letter) => letter.text))).toEqual(new Set(['bad-0', 'bad-1']));
  expect(dead.list.map((letter) => letter.queue)).toEqual([queue, queue]);
  expect(pauses).toMatchObject([{ queue, reason: 'for a while' }]);
  finish.resolve('done');
});
