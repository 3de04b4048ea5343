/** Two pools for one Deployment, or for one queue: one is active, the other one reports it, changes nothing, and takes over. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AUTOSCALERS, DEPLOYMENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { playPodWorkers, type PodWorkers } from '../support/pod-workers.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';
import { useStage } from '../support/stage.ts';

const stage = useStage();
const bounded = { everyMs: 20 };
const labels = { app: 'existing' };

let namespace: string;
let theirs: ObjectRef;
let pods: PodWorkers | undefined;

beforeEach(async () => {
  namespace = await stage.world.namespace();
  theirs = { namespace, name: 'existing' };
});
afterEach(async () => {
  await pods?.[Symbol.asyncDispose]();
  pods = undefined;
});

async function createTheirs(replicas: number): Promise<void> {
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'theirs:1' }] } };
  const spec = { replicas, selector: { matchLabels: labels }, template };
  await stage.world.objects.create(DEPLOYMENTS, namespace, { metadata: { name: theirs.name }, spec });
}

async function createPool(name: string, queue: string, spec: Json = {}): Promise<void> {
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const adopting = { template: undefined, scaleTargetRef: { name: theirs.name } };
  const manifest = poolManifest(name, stage.world.redis, { queue, scaling, ...adopting, ...spec });
  await stage.world.objects.create(POOLS, namespace, manifest);
}

const says = (name: string, type: string, text: RegExp): Promise<void> =>
  eventually(async () => {
    const pool = await stage.world.objects.get(POOLS, { namespace, name });
    expect(conditionText(pool, type)).toMatch(text);
  }, bounded);
const replicas = async (): Promise<number | undefined> =>
  (await stage.world.objects.get(DEPLOYMENTS, theirs)).spec?.replicas;
const replicasAre = (count: number): Promise<void> =>
  eventually(async () => expect(await replicas()).toBe(count), bounded);
/** As the HorizontalPodAutoscaler controller writes. */
const overwrite = (count: number): Promise<unknown> =>
  stage.world.transport.call({
    method: 'PATCH',
    path: `/apis/apps/v1/namespaces/${namespace}/deployments/${theirs.name}/scale`,
    query: { fieldManager: 'kube-controller-manager' },
    contentType: 'application/merge-patch+json',
    body: { spec: { replicas: count } },
    what: 'scale as an autoscaler',
  });

test('of two pools the older one scales; no pod is stopped that works for the other one’s queue; the other takes over', async () => {
  const [one, two] = [namespace, `${namespace}b`];
  await stage.redis.lpush(two, 'x');
  await createTheirs(1);
  const playing = { world: stage.world, deployment: theirs, queues: [one, two] as const, result: 'res' };
  pods = await playPodWorkers(playing);
  await pods.run('x');
  await stage.redis.lpush(one, 'a', 'b', 'c', 'd');
  await createPool('pa', one);
  // four pods for four tasks, but x, which the pool does not see, has one of them
  await pods.run('a', 'b', 'c', 'x');
  await createPool('pb', two);
  await says(
    'pb',
    'Ready',
    /^False TargetTaken Deployment "existing" is scaled by pool "pa", which is older,/,
  );
  await says('pa', 'Ready', /^True/);
  pods.finish('a');
  await pods.run('b', 'c', 'd', 'x');
  await throughout(1_500, async () => expect(await replicas()).toBeGreaterThanOrEqual(3));
  pods.finish('b', 'c', 'd');
  // all are to go, and the one that runs x is waited for
  await replicasAre(1);
  expect(pods.stopped.flatMap(({ tasks }) => tasks)).toEqual([]);
  expect([...pods.running.keys()]).toEqual(['x']);
  await stage.world.objects.remove(POOLS, { namespace, name: 'pa' });
  await says('pb', 'Ready', /^True Scaling/);
  await stage.redis.lpush(two, 'y', 'z');
  await replicasAre(3);
  pods.finish('x', 'y', 'z');
  await replicasAre(0);
  expect(pods.stopped.flatMap(({ tasks }) => tasks)).toEqual([]);
});

test('a Deployment that a pool made is no other pool’s', async () => {
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const own = poolManifest('own', stage.world.redis, { queue: namespace, scaling, minReplicas: 2 });
  await stage.world.objects.create(POOLS, namespace, own);
  theirs = { namespace, name: 'own' };
  await replicasAre(2);
  await createPool('other', `${namespace}b`);
  await says('other', 'Ready', /^False TargetTaken Deployment "own" is scaled by pool "own", which owns it,/);
  await stage.redis.lpush(`${namespace}b`, 'a', 'b', 'c', 'd', 'e');
  await throughout(1_500, async () => expect(await replicas()).toBe(2));
});

describe('a HorizontalPodAutoscaler', () => {
  test('on the Deployment has it, until it is gone', async () => {
    await createTheirs(4);
    const hpa = { namespace, name: 'keda-hpa-existing' };
    const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: theirs.name };
    await stage.world.objects.create(AUTOSCALERS, namespace, {
      metadata: { name: hpa.name, labels: { 'scaledobject.keda.sh/name': 'theirs' } },
      spec: { scaleTargetRef, maxReplicas: 9 },
    });
    await createPool('p', namespace);
    const taken =
      /^False TargetTaken .* scaled by HorizontalPodAutoscaler "keda-hpa-existing" of ScaledObject "theirs"/;
    await says('p', 'Ready', taken);
    await throughout(1_000, async () => expect(await replicas()).toBe(4));
    await stage.world.objects.remove(AUTOSCALERS, hpa);
    await replicasAre(0);
    await says('p', 'Ready', /^True/);
  });

  test('that is added to a Deployment at 0 will not scale it up, which the pool reports', async () => {
    await createTheirs(1);
    await createPool('p', namespace);
    await replicasAre(0);
    const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: theirs.name };
    await stage.world.objects.create(AUTOSCALERS, namespace, {
      metadata: { name: 'web' },
      spec: { scaleTargetRef, maxReplicas: 9 },
    });
    await says(
      'p',
      'Ready',
      /wakes only what it put to sleep itself: to keep that one, scale the Deployment to 1/,
    );
    await stage.world.objects.patch(DEPLOYMENTS, theirs, { spec: { replicas: 1 } }, 'scale');
    await says('p', 'Ready', /^False TargetTaken .* the pool then resumes by itself\.$/);
  });

  test('that cannot be listed is noticed when it takes over the replicas', async () => {
    await createTheirs(2);
    await overwrite(3); // long ago: that it once was there keeps nobody away
    await createPool('p', namespace);
    await replicasAre(0);
    await overwrite(5);
    await says(
      'p',
      'Ready',
      /^False TargetTaken .* an autoscaler \("kube-controller-manager" sets its replicas\)/,
    );
    await throughout(1_500, async () => expect(await replicas()).toBe(5));
  });

  test('a person who scales by hand is no autoscaler', async () => {
    await createTheirs(1);
    await createPool('p', namespace);
    await replicasAre(0);
    await stage.world.objects.patch(DEPLOYMENTS, theirs, { spec: { replicas: 3 } }, 'scale');
    await replicasAre(0);
    await says('p', 'Ready', /^True/);
  });
});

test('two pools on one queue, each with a Deployment of its own, report it', async () => {
  for (const name of ['pa', 'pb'])
    await createPool(name, namespace, { template: podTemplate, scaleTargetRef: undefined });
  await says(
    'pa',
    'QueueShared',
    /^True OtherPools .*\("pb"\): each of them has replicas for all tasks in it/,
  );
  await says('pb', 'QueueShared', /^True OtherPools .*\("pa"\)/);
  await stage.world.objects.remove(POOLS, { namespace, name: 'pb' });
  await eventually(async () => {
    const pool = await stage.world.objects.get(POOLS, { namespace, name: 'pa' });
    expect(conditionText(pool, 'QueueShared')).toBeUndefined();
  }, bounded);
});

const podTemplate = { spec: { containers: [{ name: 'worker', image: 'worker:1' }] } };
