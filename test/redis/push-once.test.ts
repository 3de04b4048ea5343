/** A push is made once, whatever becomes of the connection; and what an id of bytes means. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { script } from '../../queue/scripts/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { startWorker } from '../support/workers.ts';

/** Calls `push` while replies do not arrive, waits until it was made, and cuts the connection. */
async function lose(
  server: RedisServer,
  push: (queue: Queue) => Promise<unknown>,
  made: (redis: Redis) => Promise<unknown>,
): Promise<void> {
  await using proxy = await startTcpProxy(server.port);
  await using queue = openQueue({ redis: `redis://127.0.0.1:${proxy.port}` });
  await queue.enqueue('before');
  proxy.stall('replies');
  const pushing = push(queue);
  await eventually(async () => expect(await made(server.client())).toBeTruthy());
  proxy.cut();
  proxy.resume();
  await pushing;
}

test('one whose reply was lost', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await lose(
    server,
    (queue) => queue.enqueue({ n: 1 }),
    async () => (await redis.llen('task_queue')) > 1,
  );
  expect(await redis.llen('task_queue')).toBe(2);
});

test('many at the same time, of which some were made', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const tasks = Array.from({ length: 3_000 }, (_, i) => `t${i}`);
  const many = async (queue: Queue): Promise<void> => {
    await Promise.all([queue.enqueueMany(tasks), ...tasks.map((task) => queue.enqueue(`single ${task}`))]);
  };
  await lose(server, many, async () => (await redis.llen('task_queue')) > 1_500);
  const all = await redis.lrange('task_queue', 0, -1);
  expect(all.toSorted()).toEqual(['before', ...tasks, ...tasks.map((task) => `single ${task}`)].toSorted());
});

test('a delayed one', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const { delayed } = queueKeys('task_queue', 'result');
  const later = (queue: Queue): Promise<unknown> => queue.enqueue({ n: 1 }, { delayMs: 60_000 });
  await lose(server, later, () => redis.zcard(delayed));
  expect(await redis.zcard(delayed)).toBe(1);
});

/** The script as it arrives: with any number, as often as one likes. */
function pushes(redis: Redis, keys: QueueKeys): (number: number, floor: number) => Promise<unknown> {
  const own = keys.pushes(randomUUID());
  return (number, floor) =>
    script(redis, 'push')(
      keys.queue,
      keys.delayed,
      keys.result,
      keys.errors,
      keys.cancelled,
      own,
      number,
      floor,
      3_600,
      '',
      1,
      0,
      `id ${number}`,
      `task ${number}`,
    );
}

test('in any order, and late: what a connection that was given up brings after all is not made again', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = queueKeys('q', 'r');
  const push = pushes(redis, keys);
  expect(await push(1, 0)).toBe(1);
  expect(await push(3, 0)).toBe(1); // a script that was not known is sent after those that follow
  expect(await push(2, 0)).toBe(1);
  expect(await push(3, 0)).toBe(0);
  expect(await push(4, 3)).toBe(1);
  expect(await push(1, 0)).toBe(0); // long answered
  expect(await push(4, 3)).toBe(0);
  expect(await redis.lrange('q', 0, -1)).toEqual(['task 4', 'task 2', 'task 3', 'task 1']);
  for (let number = 5; number <= 3_000; number++) await push(number, Math.floor((number - 1) / 100) * 100);
  const [own = ''] = await redis.keys('*pushes*');
  expect(await redis.hlen(own)).toBeLessThan(120);
  expect(await redis.ttl(own)).toBeGreaterThan(1_000);
  expect(await redis.llen('q')).toBe(3_000);
});

test('a client that is closed leaves nothing', async () => {
  await using server = await startRedis();
  const redis = server.client();
  {
    await using queue = openQueue({ redis: server.address });
    for (let i = 0; i < 100; i++) await queue.enqueue(`t${i}`);
    const [own = ''] = await redis.keys('*pushes*');
    expect(await redis.hlen(own)).toBeLessThan(70);
  }
  expect(await redis.keys('*')).toEqual(['task_queue']);
});

test('an id that is used again has a result of its own', async () => {
  await using server = await startRedis();
  const keys = queueKeys('task_queue', 'result');
  await using queue = openQueue({ redis: server.address });
  let runs = 0;
  await using worker = startWorker(server, keys, { handler: () => `run ${++runs}` });
  await worker.ready();
  expect(await queue.result(await queue.enqueue({ id: 'a' }))).toBe('run 1');
  expect(await queue.result(await queue.enqueue({ id: 'a' }))).toBe('run 2');
  await queue.enqueueMany([{ id: 'a' }, { id: 'b' }]);
  expect(await queue.result('a')).toBe('run 3');
  expect(await queue.cancel('a')).toBe('finished');
});

test('a result key of another type does not prevent pushes', async () => {
  await using server = await startRedis();
  await server.client().set('result', 'a text');
  await using queue = openQueue({ redis: server.address });
  await queue.enqueue('a');
  expect(await server.client().llen('task_queue')).toBe(1);
});

test('tasks that are no text: each has its id and its result', async () => {
  await using server = await startRedis();
  const keys = queueKeys('task_queue', 'result');
  await using queue = openQueue({ redis: server.address });
  const seen: unknown[] = [];
  await using worker = startWorker(server, keys, {
    handler: (_task, { id, raw }) => {
      seen.push(id);
      return raw.toString('hex');
    },
  });
  await worker.ready();
  const tasks = [Buffer.from([0xff, 1]), Buffer.from([0xfe, 1]), Buffer.alloc(100, 0xfd)];
  const [one, two, three] = [await queue.enqueue(tasks[0]), ...(await queue.enqueueMany(tasks.slice(1)))];
  expect([one, two, three]).toEqual(tasks);
  expect(await queue.result(one)).toBe('ff01');
  expect(await queue.result(two ?? '')).toBe('fe01');
  expect(await queue.result(three ?? '')).toBe('fd'.repeat(100));
  expect(seen).toEqual(tasks);
  expect(await queue.enqueue(Buffer.from('text'))).toBe('text');
});
