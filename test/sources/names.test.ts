/** Libraries whose keys have other names than by default, as their users can choose: with real workers, each is read as ever. */
import { expect, test } from 'vitest';
import { checkSource } from '../../cli/doctor/source.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import { readSource } from '../../queue/sources/read.ts';
import type { SourceWorkers } from '../../queue/sources/source.ts';
import { sourceOf, type SourceSettings } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { openBullMqAs } from './bullmq.ts';
import { openCelery } from './celery.ts';
import type { Library } from './library.ts';
import { openRq } from './rq.ts';

const rows: readonly [string, SourceSettings, (server: RedisServer) => Promise<Library>][] = [
  [
    'BullMQ with a hash tag',
    { bullmq: { queues: ['mail'], prefix: '{bull}' } },
    (server) => Promise.resolve(openBullMqAs(server, '{bull}')),
  ],
  ['RQ with a prefix', { rq: { queues: ['mail'], prefix: 'shop' } }, (server) => openRq(server, 'shop')],
];

test.for(rows)('%s', async ([, settings, open]) => {
  await using server = await startRedis();
  await using library = await open(server);
  const redis = server.client();
  const source = sourceOf(settings);
  const sees = (parts: object): Promise<void> =>
    eventually(async () => expect((await readSource(redis, source, 0)).sample).toMatchObject(parts));
  await library.push(2);
  await sees({ waiting: 2, inFlight: 0 });
  await library.pause?.(true);
  await sees({ paused: true });
  await library.pause?.(false);
  await library.work('pod-1');
  await sees({ waiting: 1, inFlight: 1 });
  const { holding } = source;
  if (holding.by !== 'worker') throw new Error('its workers are known');
  await eventually(async () => {
    const { workers } = await holding.readWorkers(createAsk(redis), redis);
    expect(workers).toMatchObject([{ hosts: expect.arrayContaining(['pod-1']) as unknown, tasks: 1 }]);
  });
  await library.release(2);
});

test('Celery with a separator and ten priorities: each is counted, and otherwise doctor says what is not', async () => {
  await using server = await startRedis();
  const steps = Array.from({ length: 10 }, (_, i) => i);
  await using celery = await openCelery(server, { separator: ':', steps });
  const redis = server.client();
  for (const priority of [0, 1, 5, 9]) await celery.send(2, { priority });
  const settings = { queues: ['mail'], prioritySteps: steps, separator: ':' };
  const warnings = async (celerySettings: object): Promise<string[]> =>
    (await checkSource(redis, { celery: { ...settings, ...celerySettings } }, ['celery:mail']))
      .filter(({ level }) => level !== 'ok')
      .map(({ note }) => note);
  expect((await readSource(redis, sourceOf({ celery: settings }), 0)).sample.waiting).toBe(8);
  const unread = (key: string): unknown =>
    expect.stringContaining(`the key ${key} is there, and is not among`);
  expect(await warnings({})).not.toContainEqual(unread(''));
  expect(await warnings({ prioritySteps: [0, 3, 6, 9] })).toContainEqual(unread('"mail:1"'));
  expect(await warnings({ separator: undefined })).toContainEqual(unread('"mail:1"'));
  await celery.work('pod-1');
  await eventually(async () =>
    expect((await readSource(redis, sourceOf({ celery: settings }), 0)).sample).toMatchObject({
      waiting: 6,
      inFlight: 2,
    }),
  );
  await celery.release(8);
});

test('Celery with a queue whose name is not in ASCII, and has quotes: what its workers have fetched is counted', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server, { acksLate: true });
  const redis = server.client();
  const queue = 'b\u00fccher "neu"';
  const source = sourceOf({ celery: { queues: [queue], prioritySteps: [0, 3, 6, 9] } });
  await celery.work('pod-1', '-Q', queue);
  await celery.send(2, { queue });
  await eventually(async () =>
    expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 1, inFlight: 1 }),
  );
  await celery.release(2);
  await eventually(async () =>
    expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 0, inFlight: 0 }),
  );
});

test('Celery with pickled tasks, in which its workers answer too: what runs is counted, and a worker is drained', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server, { serializer: 'pickle' });
  const redis = server.client();
  const source = sourceOf({ celery: { queues: ['mail'], prioritySteps: [0, 3, 6, 9] } });
  await celery.work('pod-1');
  await celery.send(1, { args: ['ü', { a: [1, null] }] });
  await eventually(async () =>
    expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 0, inFlight: 1 }),
  );
  const { holding } = source;
  if (holding.by !== 'worker') throw new Error('its workers are known');
  const found = async (): Promise<SourceWorkers> => holding.readWorkers(createAsk(redis), redis);
  const worker = { id: 'celery@pod-1', hosts: ['pod-1'] };
  await eventually(async () => {
    const { workers } = await found();
    expect(workers).toMatchObject([{ ...worker, tasks: 1, quiet: false }]);
    await holding.orders?.drain(redis, workers);
  });
  await celery.release(1);
  await eventually(async () =>
    expect((await found()).workers).toMatchObject([{ ...worker, tasks: 0, quiet: true }]),
  );
});
