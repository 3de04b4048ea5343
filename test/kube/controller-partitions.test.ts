/** A pool whose queue is in partitions: one queue to people, served until it is empty by whatever number it had before. */
import { beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { queueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { useStage } from '../support/stage.ts';
import { startWorker } from '../support/workers.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';

const stage = useStage({ deployments: true });
let namespace: string;
beforeAll(async () => {
  namespace = await stage.world.namespace();
});

const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };

async function create(name: string, spec: Json): Promise<void> {
  await stage.world.objects.create(
    POOLS,
    namespace,
    poolManifest(name, stage.world.redis, { scaling, result: `${name}-results`, ...spec }),
  );
}

async function change(name: string, spec: Json): Promise<void> {
  await stage.world.objects.patch(POOLS, { namespace, name }, { spec });
}

const get = (name: string): Promise<WorkerPool> => stage.world.objects.get(POOLS, { namespace, name });

const statusShows = (name: string, expected: object): Promise<void> =>
  eventually(async () => expect((await get(name)).status).toMatchObject(expected));

/** `undefined`: the variable is not there. */
const workersAreTold = (name: string, partitions: string | undefined): Promise<void> =>
  eventually(async () => {
    const { spec } = await stage.world.objects.get(DEPLOYMENTS, { namespace, name });
    const env = spec?.template.spec?.containers[0]?.env ?? [];
    expect(env.find((variable) => variable.name === 'MILLRACE_PARTITIONS')?.value).toBe(partitions);
  });

const leftReads = (name: string, text: RegExp): Promise<void> =>
  eventually(async () => expect(conditionText(await get(name), 'PartitionsLeft')).toMatch(text));

test('a push to any of them wakes the pool; it is one queue, whose workers are told the number', async () => {
  await create('tiles', { partitions: 3 });
  await statusShows('tiles', { queue: 'tiles', desiredReplicas: 0, wake: 'Tracking', partitions: [3] });
  await workersAreTold('tiles', '3');
  await stage.redis.lpush('tiles:{2}', 'a');
  await statusShows('tiles', { desiredReplicas: 1, waiting: 1 });
  await stage.redis.lpush('tiles:{0}', 'b', 'c');
  await statusShows('tiles', { desiredReplicas: 3, waiting: 3, workerPartitions: '3' });
  // the plain list is no longer read
  await stage.redis.lpush('tiles', 'd');
  await change('tiles', { partitions: 4 });
  await workersAreTold('tiles', '4');
  await statusShows('tiles', { waiting: 3, partitions: [4] });
});

test('a list that cannot be read is named, and replicas are held', async () => {
  await stage.redis.set('tiles:{3}', 'no list');
  await statusShows('tiles', { desiredReplicas: 3 });
  await eventually(async () =>
    expect(conditionText(await get('tiles'), 'RedisReachable')).toMatch(
      /^False WrongKeyType The key "tiles:\{3\}" is not a list/,
    ),
  );
  await change('tiles', { partitions: 2 });
  await workersAreTold('tiles', '4');
  await statusShows('tiles', { desiredReplicas: 3, partitions: [2, 4] });
  await stage.redis.del('tiles:{3}');
  await statusShows('tiles', { partitions: [2, 4], workerPartitions: '2,4' });
  await leftReads('tiles', /^True TasksWait 1 waiting in tiles:\{2\}, which partitions: 2 does not name/);
});

test('fewer of them: what is no longer named is served until it is empty and its workers have gone', async () => {
  await create('less', { partitions: 4 });
  await statusShows('less', { partitions: [4] });
  await stage.redis.lpush('less:{3}', 'slow');
  await stage.redis.zadd('millrace:{2}[less:{2}]:delayed', Date.now() + 1e9, '1:0:0:later');
  await stage.redis.lpush('millrace:{1}[less:{1}]:dead', 'x');
  await change('less', { partitions: 1 });
  await leftReads(
    'less',
    /^True TasksWait 1 waiting, 1 delayed in less:\{2\} to less:\{3\}, which partitions: 1 does not name: .* 1 dead letter and the results there are kept: millrace dead list, requeue or drop with --partitions 4\.$/,
  );
  await workersAreTold('less', '1,4');
  await stage.redis.del('millrace:{2}[less:{2}]:delayed');
  const gate = Promise.withResolvers<void>();
  await using worker = startWorker(stage.world.redis, queueKeys('less', 'less-results'), {
    partitions: [1, 4],
    handler: () => gate.promise.then(() => 'done'),
  });
  await leftReads('less', /^True TasksWait 1 in flight in less:\{3\}/);
  gate.resolve();
  await leftReads('less', /^True WorkersLeave 1 worker still takes from less:\{0\} to less:\{3\}/);
  await workersAreTold('less', undefined);
  expect(await stage.redis.hget('less-results:{3}', 'slow')).toBe('done');
  // a client that has not learned of it yet
  await worker.stop();
  await eventually(async () => {
    const { status } = await get('less');
    expect(status?.partitions).toBeUndefined();
    expect(status?.conditions?.map(({ type }) => type)).not.toContain('PartitionsLeft');
  });
  expect(await stage.redis.llen('millrace:{1}[less:{1}]:dead')).toBe(1);
});

test('from one list to several: the pool keeps its history, and workers take from both', async () => {
  await create('more', {});
  await stage.redis.lpush('more', 'a');
  await statusShows('more', { desiredReplicas: 1 });
  await workersAreTold('more', undefined);
  await change('more', { partitions: 2 });
  await leftReads('more', /^True TasksWait 1 waiting in more, which partitions: 2 does not name/);
  await workersAreTold('more', '1,2');
  await stage.redis.lpush('more:{1}', 'b');
  await statusShows('more', { desiredReplicas: 2, waiting: 2, partitions: [1, 2], workerPartitions: '1,2' });
  await stage.redis.del('more');
  await workersAreTold('more', '2');
  await statusShows('more', { desiredReplicas: 1, partitions: [2] });
  const decisions = `millrace:{more}:decisions:${namespace}/more`;
  await eventually(async () =>
    expect((await stage.redis.lrange(decisions, 0, -1)).length).toBeGreaterThan(2),
  );
  expect(await stage.redis.keys('millrace:{*}[[]more:*:decisions:*')).toEqual([]);
});

test('partitions that are added while all are paused are paused, too', async () => {
  await create('paused', { partitions: 2 });
  await statusShows('paused', { partitions: [2] });
  await using queue = openQueue({ redis: stage.world.redis.url, queue: 'paused', partitions: 2 });
  await queue.pause('a long night');
  await stage.redis.lpush('paused:{0}', 'a');
  await stage.redis.lpush('paused:{3}', 'b');
  await statusShows('paused', { desiredReplicas: 0 });
  await change('paused', { partitions: 4 });
  await workersAreTold('paused', '4');
  await eventually(async () =>
    expect(conditionText(await get('paused'), 'QueuePaused')).toMatch(/^True AllQueues/),
  );
  for (const keys of partitionKeys('paused', 'paused-results', 4))
    expect(await stage.redis.get(keys.paused)).toMatch(/^\d+ a long night$/);
  await statusShows('paused', { desiredReplicas: 0, waiting: 2, partitions: [4] });
  // those of a pool that is not paused are not
  await queue.resume();
  await change('paused', { partitions: 5 });
  await workersAreTold('paused', '5');
  expect(await stage.redis.exists(partitionKeys('paused', 'paused-results', 5)[4]?.paused ?? '')).toBe(0);
});
