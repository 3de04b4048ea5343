/** What only asynq does. */
import { expect, test } from 'vitest';
import { createAsk } from '../../queue/sources/ask.ts';
import { readSource } from '../../queue/sources/read.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { asynqCase } from './asynq.ts';

const source = sourceOf(asynqCase.settings);

test('a group is one task, and one that failed is delayed until its retry, when it counts again', async () => {
  await using server = await startRedis();
  await using library = await asynqCase.open(server);
  const redis = server.client();
  const sample = async (): Promise<unknown> => (await readSource(redis, source, 0)).sample;
  await library.group(3);
  await eventually(async () => expect(await sample()).toMatchObject({ waiting: 1 }));
  await library.push(1);
  await library.work('pod-1');
  await library.fail();
  await eventually(async () =>
    expect(await sample()).toMatchObject({
      waiting: 1,
      inFlight: 0,
      delayed: 1,
      due: 0,
      counters: { completed: 1 },
    }),
  );
  const [task = '', score = ''] = await redis.zrange('asynq:{mail}:retry', '0', '0', 'WITHSCORES');
  expect(await sample()).toMatchObject({ nextDue: Number(score) * 1_000 });
  // its time has come
  await redis.zadd('asynq:{mail}:retry', 1, task);
  expect(await sample()).toMatchObject({ delayed: 1, due: 1 });
});

test('a server of other queues is none of these workers, and a task of a server that is gone is held by nobody', async () => {
  await using server = await startRedis();
  await using library = await asynqCase.open(server);
  const { holding } = source;
  if (holding.by !== 'worker') throw new Error('asynq names its workers');
  const redis = server.client();
  const found = async (): Promise<unknown> => {
    const { workers, unnamed } = await holding.readWorkers(createAsk(redis), redis);
    return { busy: workers.map(({ hosts, tasks }) => [hosts[0], tasks]), unnamed };
  };
  await library.workOn('other-1', 'other');
  const worker = await library.work('pod-1');
  await library.push(1);
  // its own word comes later than the lease
  await eventually(async () => expect(await found()).toEqual({ busy: [['pod-1', 0]], unnamed: 1 }));
  await eventually(async () => expect(await found()).toEqual({ busy: [['pod-1', 1]], unnamed: 0 }));
  await worker.kill();
  await eventually(async () => expect(await found()).toEqual({ busy: [], unnamed: 1 }));
  // as after half a minute
  const [task = ''] = await redis.zrange('asynq:{mail}:lease', '0', '0');
  await redis.zadd('asynq:{mail}:lease', 1, task);
  expect(await found()).toEqual({ busy: [], unnamed: 0 });
});

test('keys of a version that had no leases are not counted', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.sadd('asynq:queues', 'mail');
  await redis.zadd('asynq:{mail}:deadlines', 1, 'a task');
  await expect(readSource(redis, source, 0)).rejects.toMatchObject({ kind: 'UnknownLayout' });
});
