/** The queue library on a real Redis: what a program does that hands out tasks. */
import { expect, test } from 'vitest';
import { openQueue } from '../../queue/queue.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import run from '../fixtures/tasks.ts';
import { eventually, sooner } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { startHandWorker, texts } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

test.concurrent('a task of each kind, its id, and what a plain client would see', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.url });
  const bytes = new Uint8Array([0xff, 0x00]);
  const ids = [
    await queue.enqueue('text'),
    await queue.enqueue('{"id":"in text"}'),
    await queue.enqueue({ id: 'given', n: 1 }),
    await queue.enqueue({ id: 7 }),
    await queue.enqueue([1, 2]),
    await queue.enqueue(bytes),
  ];
  expect(ids).toEqual(['text', 'in text', 'given', '7', '[1,2]', Buffer.from(bytes)]);
  const made = await queue.enqueue({ n: 2 });
  expect(made).toMatch(/^[\da-f]{8}-[\da-f-]{27}$/);
  const raw = await redis.lrangeBuffer('task_queue', 0, -1);
  expect(raw.toReversed().map(String)).toEqual([
    'text',
    '{"id":"in text"}',
    '{"id":"given","n":1}',
    '{"id":7}',
    '[1,2]',
    Buffer.from(bytes).toString(),
    `{"id":"${made}","n":2}`,
  ]);
  expect(raw[1]).toEqual(Buffer.from(bytes));
  await expect(queue.enqueue(undefined)).rejects.toThrow(
    'a task cannot be undefined: pass text, bytes or a JSON value',
  );
  await expect(queue.enqueue(() => 1)).rejects.toThrow(TypeError);
});

test.concurrent('many tasks: in their order, from anything that can be iterated, in few round trips', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.url, queue: 'q', result: 'r' });
  const tasks = Array.from({ length: 5_500 }, (_, i) => `task ${i}`);
  expect(await queue.enqueueMany(tasks)).toEqual(tasks);
  expect(await redis.lrange('q', 0, -1)).toEqual(tasks.toReversed());
  const pushes = /cmdstat_lpush:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1];
  expect(Number(pushes)).toBe(6);
  async function* slowly(): AsyncGenerator<string> {
    for (const task of ['x', 'y']) {
      await new Promise(setImmediate);
      yield task;
    }
  }
  expect(await queue.enqueueMany(slowly())).toEqual(['x', 'y']);
  expect(await queue.enqueueMany([])).toEqual([]);
  expect(await redis.llen('q')).toBe(5_502);
  // large ones go in batches of about 1 MB
  await queue.enqueueMany(Array.from({ length: 5 }, (_, i) => `${i}${'x'.repeat(600_000)}`));
  expect(await redis.llen('q')).toBe(5_507);
});

test.concurrent('delayed tasks wait until they are due, and no longer', async () => {
  await using server = await startRedis({ ownClock: true });
  const redis = server.client();
  await using queue = openQueue({ redis: server.url });
  const hour = 3_600_000;
  await queue.enqueueMany(['later', 'later', '|1|1|'], { delayMs: 2 * hour });
  await queue.enqueue('tomorrow', { at: new Date(Date.now() + 24 * hour) });
  await queue.enqueue('now', { delayMs: 0 });
  await queue.enqueue('past', { at: new Date(0) });
  expect(await queue.inspect()).toMatchObject({ waiting: 2, delayed: 4, due: 0 });
  const dueAt = Number((await redis.zrange(queue.keys.delayed, '0', '0', 'WITHSCORES'))[1]);
  const worker = await startHandWorker(redis, queue.keys);
  const early = await worker.turn({ want: 10 });
  expect(texts(early.tasks)).toEqual(['now', 'past']);
  expect(early.now + (early.dueInMs ?? 0)).toBe(dueAt);
  await server.setClock(hour);
  expect((await worker.turn({ want: 10 })).tasks).toEqual([]);
  await server.setClock(2 * hour);
  const due = await worker.turn({ want: 10 });
  expect(due.now).toBeGreaterThanOrEqual(dueAt);
  expect(texts(due.tasks).toSorted()).toEqual(['later', 'later', '|1|1|'].toSorted());
  expect(due.tasks.map(({ past }) => past)).toEqual(due.tasks.map(() => ({ attempts: 0, deliveries: 0 })));
  await expect(queue.enqueue('a', { delayMs: Number.NaN })).rejects.toThrow(
    'a task cannot be delayed by NaN ms',
  );
});

test.concurrent('a delayed task is run on time by a worker that has nothing else to do', async () => {
  await using server = await startRedis();
  const redis = server.client();
  /** When Redis ran scripts, ms by its own clock. */
  const scripts: number[] = [];
  // while nobody else is connected: ioredis takes a command that comes in one packet with the OK for a reply, and breaks
  const monitor = await redis.monitor();
  monitor.on('monitor', (time: string, [command]: string[]) => {
    if (command?.toLowerCase() === 'evalsha') scripts.push(Number(time) * 1_000);
  });
  await using queue = openQueue({ redis: server.url });
  await using worker = startWorker(server, queue.keys, { handler: run });
  await worker.ready();
  try {
    // how long after a look Redis was asked for the task: a worker looks once a second in any case, and one that knows
    // when the task falls due does not wait for that
    await sooner(900, async (round) => {
      const id = `${round}`;
      const asked = performance.now();
      await queue.enqueue({ id }, { delayMs: 1_300 });
      const dueAt = Number((await redis.zrange(queue.keys.delayed, '0', '0', 'WITHSCORES'))[1]);
      expect(await queue.result(id)).toBe('{"attempt":1}');
      expect(performance.now() - asked).toBeGreaterThanOrEqual(1_290);
      const took = scripts.findIndex((at) => at >= dueAt);
      return (scripts[took] ?? Infinity) - (scripts[took - 1] ?? 0);
    });
  } finally {
    monitor.disconnect();
  }
});

test.concurrent('inspect and dead show the state', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using queue = openQueue({ redis: server.url });
  const gate = Promise.withResolvers<void>();
  const handler = (task: unknown): unknown => {
    if (task === 'bad') throw Object.assign(new Error('it cannot work'), { retry: false });
    return gate.promise;
  };
  await using worker = startWorker(server, queue.keys, {
    handler,
    concurrency: 2,
    id: 'pod-1',
    pool: 'ns/p',
  });
  const before = Date.now();
  await queue.enqueue('bad');
  await expect(queue.result('bad')).rejects.toThrow(
    'task bad failed for good: not to be retried: it cannot work',
  );
  await queue.enqueueMany(['a', 'b', 'c']);
  await eventually(async () =>
    expect(await queue.inspect()).toMatchObject({
      waiting: 1,
      inFlight: 2,
      busy: 1,
      dead: 1,
      workers: 1,
      workerList: [
        {
          id: 'pod-1',
          state: 'busy',
          inFlight: 2,
          concurrency: 2,
          version: 'test',
        },
      ],
    }),
  );
  const dead = await queue.dead();
  expect(dead).toHaveLength(1);
  expect(dead[0]).toMatchObject({ error: 'not to be retried: it cannot work', attempts: 1, worker: 'pod-1' });
  expect(dead[0]?.at).toBeGreaterThanOrEqual(before);
  expect(dead[0]?.at).toBeLessThanOrEqual(Date.now());
  expect(await queue.dead(0)).toEqual([]);
  gate.resolve();
  await worker.stop();
  expect((await sampleQueue(redis, queue.keys)).workers).toBe(0);
});

test.concurrent('a wrong key type, a name too few, an address that cannot be', async () => {
  await using server = await startRedis();
  await server.client().set('task_queue', 'text');
  await using queue = openQueue({ redis: server.url });
  await expect(queue.enqueue('a')).rejects.toThrow('the key "task_queue" is not a list');
  await expect(queue.inspect()).rejects.toThrow(/the key "task_queue" is not a list/);
  expect(() => openQueue({ redis: server.url, queue: '' })).toThrow(RangeError);
  expect(() => openQueue({ redis: 'http://localhost' })).toThrow(RangeError);
});

test.concurrent('a queue that is closed while Redis is away closes all the same', async () => {
  await using server = await startRedis();
  await sooner(1_000, async () => {
    const queue = openQueue({ redis: server.url });
    await queue.enqueue('a');
    await server.kill();
    const waiting = queue.enqueue('b');
    waiting.catch(() => undefined);
    const began = performance.now();
    await queue.close();
    const took = performance.now() - began;
    await expect(waiting).rejects.toThrow('Connection is closed');
    await expect(queue.enqueue('c')).rejects.toThrow('Connection is closed');
    await server.start();
    return took;
  });
});
