/** A pool whose queues are in a Redis Cluster: on several primaries, with the results on another one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import { queueKeys } from '../../queue/keys.ts';
import { startCluster, type RedisCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { useStage } from '../support/stage.ts';
import { startWorker } from '../support/workers.ts';
import { poolManifest } from '../support/world.ts';

let cluster: RedisCluster;
// before the controller, so that it ends after it
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster[Symbol.asyncDispose]());

const stage = useStage({ deployments: true });
let namespace: string;
beforeAll(async () => {
  namespace = await stage.world.namespace();
});

const nodes = (): readonly string[] => cluster.address.cluster?.nodes ?? [];

async function push(queue: string, ...tasks: readonly string[]): Promise<void> {
  await (await cluster.clientOf(queue)).lpush(queue, ...tasks);
}

const statusShows = (expected: object): Promise<void> =>
  eventually(async () => {
    const { status } = await stage.world.objects.get(POOLS, { namespace, name: 'tiles' });
    expect(status).toMatchObject(expected);
  });

test('a push to any of its queues wakes the pool, whose workers are told of the cluster', async () => {
  // on three primaries
  const queues = ['urgent', 'normal', 'bulk-1'];
  const owners = await Promise.all(queues.map((queue) => cluster.ownerOf(queue)));
  expect(new Set(owners).size).toBeGreaterThan(1);
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const redis = { cluster: { nodes: nodes() } };
  await stage.world.objects.create(
    POOLS,
    namespace,
    poolManifest('tiles', stage.world.redis, { queues, scaling, redis, result: 'result' }),
  );
  await statusShows({ desiredReplicas: 0, wake: 'Tracking' });
  const { spec } = await stage.world.objects.get(DEPLOYMENTS, { namespace, name: 'tiles' });
  const env = spec?.template.spec?.containers[0]?.env ?? [];
  expect(env.find(({ name }) => name === 'MILLRACE_REDIS_CLUSTER')?.value).toBe(nodes().join(','));
  await push('bulk-1', 'a');
  await statusShows({ desiredReplicas: 1, waiting: 1 });
  await push('urgent', 'b', 'c');
  await statusShows({ desiredReplicas: 3, waiting: 3 });

  await using worker = startWorker(cluster, queueKeys('urgent', 'result'), {
    queue: queues,
    handler: (task) => `done ${String(task)}`,
  });
  await worker.ready();
  await statusShows({ desiredReplicas: 0, waiting: 0, inFlight: 0 });
  const results = await cluster.clientOf('result');
  expect(await results.hgetall('result')).toEqual({ a: 'done a', b: 'done b', c: 'done c' });
});

test('a slot that moves while the pool sleeps does not keep it from waking', async () => {
  await statusShows({ desiredReplicas: 0, waiting: 0 });
  await cluster.moveSlot('urgent');
  await push('urgent', 'd');
  await statusShows({ desiredReplicas: 1, waiting: 1 });
});
