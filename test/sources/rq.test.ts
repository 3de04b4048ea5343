/** What only RQ does: registries of jobs that no list has, jobs that wait for others, worker pools, and jobs that are stopped. */
import { expect, test } from 'vitest';
import { occupancyOf } from '../../controller/act/source-occupancy.ts';
import type { Member } from '../../controller/act/target.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import type { SourceWorkers } from '../../queue/sources/source.ts';
import { eventually } from '../support/eventually.ts';
import { openScene, type Scene } from './cases.ts';
import { rqCase } from './rq.ts';

async function workersOf({ redis, source: { holding } }: Scene): Promise<SourceWorkers> {
  if (holding.by !== 'worker') throw new Error('RQ knows its workers');
  return holding.readWorkers(createAsk(redis), redis);
}

test.concurrent('jobs that wait for others, for a rate limit, for a retry or a repetition', async () => {
  await using scene = await openScene(rqCase);
  const { library, redis, sees } = scene;
  // one that is held and one that waits for it, one that is canceled, one that is to be repeated, one that fails and is to be retried
  await library.run('kinds');
  await sees({ waiting: 3, inFlight: 0, delayed: 0 });
  // two processes of the command worker-pool
  const pool = library.start('pool', '2');
  await sees({ waiting: 0, inFlight: 1, delayed: 2, due: 0 });
  // a worker says that it runs a job until some time after that job has ended
  await eventually(async () => {
    const { workers, unnamed } = await workersOf(scene);
    expect(workers.map(({ tasks }) => tasks).toSorted((a, b) => a - b)).toEqual([0, 1]);
    expect(unnamed).toBe(0);
  });
  // what waits for the slot of another asks for nothing
  await library.run('limited', '3');
  await sees({ waiting: 0, inFlight: 2, delayed: 2 });
  // the one that is held ends, and the one that waited for it runs
  await library.release(1);
  await eventually(async () => expect(await redis.zcard('rq:finished:mail')).toBe(2));
  await sees({ waiting: 0, inFlight: 2 });
  await library.run('stop');
  await eventually(async () => expect(await redis.zcard('rq:failed:mail')).toBeGreaterThan(0));
  await library.release(4);
  await sees({ waiting: 0, inFlight: 0, delayed: 2, due: 0 });
  await pool.stop();
});

test.concurrent('a job that a process left ready when it died is due, until a worker starts', async () => {
  await using scene = await openScene(rqCase);
  const { library, sees } = scene;
  await library.run('ready');
  await sees({ waiting: 0, inFlight: 0, delayed: 1, due: 1 });
  await library.work('pod-1');
  await library.release(1);
  await sees({ waiting: 0, inFlight: 0, delayed: 0, due: 0 });
});

test.concurrent('a worker is found by the address of its pod, where that has another host name', async () => {
  await using scene = await openScene(rqCase);
  const { library, sees } = scene;
  await library.push(1);
  await library.work('another-name');
  await sees({ waiting: 0, inFlight: 1 });
  const pod: Member = { id: 'pod-1', addresses: ['127.0.0.1'], ready: true, created: 0, going: false };
  await eventually(async () =>
    expect(occupancyOf([pod], await workersOf(scene)).get('pod-1')).toMatchObject({ tasks: 1, idle: false }),
  );
  await library.release(1);
  await eventually(async () =>
    expect(occupancyOf([pod], await workersOf(scene)).get('pod-1')).toMatchObject({ tasks: 0, idle: true }),
  );
});
