/** A pool whose queues are in a Redis Cluster: on several primaries, with the results on another one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import { queueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { startCluster, type RedisCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { useStage } from '../support/stage.ts';
import { startWorker } from '../support/workers.ts';
import { conditionText, poolManifest } from '../support/world.ts';

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

const statusShows = (expected: object, name = 'tiles'): Promise<void> =>
  eventually(async () => {
    const { status } = await stage.world.objects.get(POOLS, { namespace, name });
    expect(status).toMatchObject(expected);
  });

const redisReads = (name: string, text: RegExp): Promise<void> =>
  eventually(async () => {
    const pool = await stage.world.objects.get(POOLS, { namespace, name });
    expect(conditionText(pool, 'RedisReachable')).toMatch(text);
  });

const change = async (name: string, spec: object): Promise<void> =>
  void (await stage.world.objects.patch(POOLS, { namespace, name }, { spec }));

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

test('partitions on several primaries are one queue; while a node is gone nothing changes, and nothing is lost', async () => {
  const lists = partitionKeys('parts', 'parts-results', 6);
  const owners = await Promise.all(lists.map(({ queue }) => cluster.ownerOf(queue)));
  expect(new Set(owners).size).toBeGreaterThan(1);
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const redis = { cluster: { nodes: nodes() } };
  const spec = { partitions: 6, scaling, redis, result: 'parts-results' };
  await stage.world.objects.create(POOLS, namespace, poolManifest('parts', stage.world.redis, spec));
  await statusShows({ desiredReplicas: 0, wake: 'Tracking', queue: 'parts', partitions: [6] }, 'parts');
  for (const [i, { queue }] of lists.entries()) await push(queue, `task-${i}`);
  await statusShows({ desiredReplicas: 6, waiting: 6 }, 'parts');

  const [node] = owners;
  await node?.client().save();
  await node?.kill();
  await redisReads('parts', new RegExp(`^False Unreachable .*127\\.0\\.0\\.1:${node?.port}`));
  await change('parts', { partitions: 2 });
  await statusShows({ desiredReplicas: 6, partitions: [2, 6], workerPartitions: '6' }, 'parts');
  await node?.start();
  await statusShows({ desiredReplicas: 6, waiting: 6, workerPartitions: '2,6' }, 'parts');

  await using worker = startWorker(cluster, queueKeys('parts', 'parts-results'), {
    partitions: [2, 6],
    handler: (task) => `done ${String(task)}`,
  });
  await worker.ready();
  await statusShows({ desiredReplicas: 0, waiting: 0, inFlight: 0, workerPartitions: '2' }, 'parts');
  for (const [i, { result }] of lists.entries())
    expect(await (await cluster.clientOf(result)).hgetall(result)).toEqual({
      [`task-${i}`]: `done task-${i}`,
    });
});

test('a single server that is named as a cluster, and the reverse: the condition says so, replicas are held', async () => {
  const single = stage.world.redis;
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  await stage.world.objects.create(
    POOLS,
    namespace,
    poolManifest('wrong', single, { partitions: 3, scaling, result: 'wrong-results' }),
  );
  await stage.redis.lpush('wrong:{1}', 'a', 'b', 'c');
  await statusShows({ desiredReplicas: 3, waiting: 3 }, 'wrong');
  const [node = ''] = nodes();
  const wrong: [redis: object, text: RegExp][] = [
    [
      { url: null, cluster: { nodes: [`${single.host}:${single.port}`] } },
      /is no node of a Redis Cluster: give its URL instead/,
    ],
    [
      { url: `redis://${node}`, cluster: null },
      /:\d+ is a node of a Redis Cluster, which must be named as one/,
    ],
    [
      { url: `redis://${node}/4` },
      /has no database 4: it is a node of a Redis Cluster, which must be named as one/,
    ],
  ];
  for (const [redis, text] of wrong) {
    await change('wrong', { redis });
    await redisReads('wrong', text);
    await statusShows({ desiredReplicas: 3, partitions: [3] }, 'wrong');
  }
  await change('wrong', { redis: { url: single.url } });
  await redisReads('wrong', /^True/);
  await statusShows({ desiredReplicas: 3, waiting: 3, partitions: [3] }, 'wrong');
});
