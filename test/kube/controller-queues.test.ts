/** A pool with several queues: all of them wake it, all count, and those that are paused do not. */
import { beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import { openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { poolManifest } from '../support/world.ts';
import { useStage } from '../support/stage.ts';

const stage = useStage({ deployments: true });
let namespace: string;

beforeAll(async () => {
  namespace = await stage.world.namespace();
});

const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
const queues = ['urgent', 'normal', 'bulk'];

const statusShows = (name: string, expected: object): Promise<void> =>
  eventually(async () => {
    const { status } = await stage.world.objects.get(POOLS, { namespace, name });
    expect(status).toMatchObject(expected);
  });

test('a push to any of its queues wakes the pool, and what waits in all of them counts', async () => {
  await stage.world.objects.create(
    POOLS,
    namespace,
    poolManifest('tiles', stage.world.redis, { queues, scaling }),
  );
  await statusShows('tiles', { queue: 'urgent,normal,bulk', desiredReplicas: 0, wake: 'Tracking' });
  const { spec } = await stage.world.objects.get(DEPLOYMENTS, { namespace, name: 'tiles' });
  const env = spec?.template.spec?.containers[0]?.env ?? [];
  expect(env.find(({ name }) => name === 'MILLRACE_QUEUES')?.value).toBe('["urgent","normal","bulk"]');
  await stage.redis.lpush('bulk', 'a');
  await statusShows('tiles', { desiredReplicas: 1, waiting: 1 });
  await stage.redis.lpush('urgent', 'b', 'c');
  await statusShows('tiles', { desiredReplicas: 3, waiting: 3 });
  await stage.redis.del('bulk', 'urgent');
  await statusShows('tiles', { desiredReplicas: 0, waiting: 0 });
});

test('a paused queue requires no workers, and reports that; when resumed it does', async () => {
  const address = { redis: stage.world.redis.address, result: 'result' };
  await using bulk = openQueue({ ...address, queue: 'paused-bulk' });
  await bulk.pause('maintenance');
  await stage.world.objects.create(
    POOLS,
    namespace,
    poolManifest('paused', stage.world.redis, { queues: ['paused-urgent', 'paused-bulk'], scaling }),
  );
  await bulk.enqueueMany(['a', 'b', 'c']);
  await statusShows('paused', { desiredReplicas: 0, waiting: 3 });
  await stage.redis.lpush('paused-urgent', 'x');
  await statusShows('paused', {
    desiredReplicas: 1,
    waiting: 4,
    lastDecision: '0→1: 1 waiting, 0 in flight, 1 task a replica; a queue is paused',
  });
  await bulk.resume();
  await statusShows('paused', { desiredReplicas: 4 });
});

test('queues can be added and reordered, and not be taken away', async () => {
  const ref = { namespace, name: 'tiles' };
  const change = (to: object): Promise<unknown> => stage.world.objects.patch(POOLS, ref, { spec: to });
  await change({ queues: ['rush', 'normal', 'urgent', 'bulk'] });
  await statusShows('tiles', { queue: 'rush,normal,urgent,bulk' });
  await stage.redis.lpush('rush', 'a');
  await statusShows('tiles', { desiredReplicas: 1 });
  for (const less of [{ queues: ['rush', 'normal', 'urgent'] }, { queues: null }])
    await expect(change(less)).rejects.toThrow('a queue cannot be taken from a pool');
});
