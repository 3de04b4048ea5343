/** A pool with a Deployment of its own: what the controller applies, what it leaves to others, and edits. */
import { beforeEach, describe, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { Deployment } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';

const bounded = { everyMs: 20 };

const stage = useStage({ deployments: true });
/** Of the test's own pool and of its Deployment; the queue has the namespace's name. */
let ref: ObjectRef;

beforeEach(async () => {
  ref = { namespace: await stage.world.namespace(), name: 'tiles' };
});

const pool = (): Promise<WorkerPool> => stage.world.objects.get(POOLS, ref);
const deployment = (): Promise<Deployment> => stage.world.objects.get(DEPLOYMENTS, ref);
const worker = ({ spec }: Deployment) => spec?.template.spec?.containers[0];
const edit = (spec: Json): Promise<WorkerPool> => stage.world.objects.patch(POOLS, ref, { spec });
const handEdit = (change: Json): Promise<Deployment> => stage.world.objects.patch(DEPLOYMENTS, ref, change);
const push = (count: number): Promise<number> =>
  stage.redis.lpush(ref.namespace, ...Array.from({ length: count }, (_, i) => `task${i}`));

/** Creates the pool and waits until it stands. */
async function start(spec: Json = {}): Promise<void> {
  const manifest = poolManifest(ref.name, stage.world.redis, { queue: ref.namespace, ...spec });
  await stage.world.objects.create(POOLS, ref.namespace, manifest);
  await eventually(async () => expect(conditionText(await pool(), 'Ready')).toMatch(/^True/), bounded);
}

const replicasAre = (count: number): Promise<void> =>
  eventually(async () => expect((await deployment()).spec?.replicas).toBe(count), bounded);

test('a container that is not to be restarted is what this version of Kubernetes makes of it', async () => {
  const { serverVersion } = JSON.parse(await stage.world.server.kubectl(['version', '--output', 'json']));
  const minor = Number(serverVersion.minor);
  const container = { name: 'worker', image: 'worker:1', restartPolicy: 'Never' };
  const manifest = poolManifest(ref.name, stage.world.redis, {
    template: { spec: { containers: [container] } },
  });
  await stage.world.objects.create(POOLS, ref.namespace, manifest);
  await eventually(async () => {
    const ready = conditionText(await pool(), 'Ready');
    // 1.34 has the field behind a gate, and drops it
    if (minor < 34) expect(ready).toMatch(/^False .*restartPolicy.*non-init containers/);
    else {
      expect(ready).toMatch(/^True/);
      expect(worker(await deployment())?.restartPolicy).toBe(minor === 34 ? undefined : 'Never');
    }
  }, bounded);
  // one that is refused would be applied again and again
  if (minor < 34) await stage.world.objects.remove(POOLS, ref);
});

describe('a template that is none', () => {
  const container = { name: 'worker', image: 'worker:1' };
  const deep = JSON.parse(`${'{"a":['.repeat(1_000)}1${']}'.repeat(1_000)}`) as Json;

  test.each<[string, Json, RegExp]>([
    [
      'a field that is misspelled',
      { containers: [{ ...container, imagePullPolcy: 'Always' }] },
      /^False ApiServerFailed Patch deployments \S+\/tiles: 500 .*\.imagePullPolcy: field not declared in schema; retrying\.$/,
    ],
    [
      'a map instead of a list',
      { containers: [{ ...container, env: { A: 'b' } }] },
      /^False InvalidSpec template\.spec\.containers\[0\]\.env is not a list: /,
    ],
    [
      'thousands of levels',
      { containers: [{ ...container, deep }] },
      /^False InvalidSpec Template is nested more than 100 levels deep: no pod is\.$/,
    ],
  ])('%s: the status says so, and once it is corrected, the pool stands', async (_, spec, why) => {
    const manifest = poolManifest(ref.name, stage.world.redis, { template: { spec } });
    await stage.world.objects.create(POOLS, ref.namespace, manifest);
    await eventually(async () => expect(conditionText(await pool(), 'Ready')).toMatch(why), bounded);
    await edit({ template: { spec: { containers: [{ ...container, imagePullPolcy: null }] } } });
    await eventually(async () => expect(conditionText(await pool(), 'Ready')).toMatch(/^True/), bounded);
  });
});

test('the Deployment belongs to the pool, gets the address of the queue, and starts at minReplicas', async () => {
  await start({ minReplicas: 2 });
  const { metadata, spec } = await deployment();
  expect(metadata.ownerReferences).toEqual([
    expect.objectContaining({ kind: 'WorkerPool', name: 'tiles', controller: true }),
  ]);
  expect(metadata.ownerReferences?.[0]?.uid).toBe((await pool()).metadata.uid);
  expect(spec?.replicas).toBe(2);
  const env = worker(await deployment())?.env ?? [];
  expect(env).toContainEqual({ name: 'MILLRACE_REDIS_URL', value: stage.world.redis.url });
  expect(env).toContainEqual({ name: 'MILLRACE_QUEUE', value: ref.namespace });
  const { status, metadata: own } = await pool();
  expect(status).toMatchObject({ observedGeneration: own.generation, selector: 'millrace.dev/pool=tiles' });
});

test('an edit of the template rolls out, and replicas stay as they are', async () => {
  await start({ scaling: { tasksPerReplica: 1 } });
  await push(3);
  await replicasAre(3);
  const before = await deployment();
  const container = { name: 'worker', image: 'worker:2', args: ['--verbose'] };
  await edit({ template: { spec: { containers: [container] } } });
  await eventually(async () => expect(worker(await deployment())?.image).toBe('worker:2'), bounded);
  const { metadata, spec } = await deployment();
  expect(spec?.replicas).toBe(3);
  expect(worker({ metadata, spec } as Deployment)?.args).toEqual(['--verbose']);
  // one apply, which left the replicas out
  expect(metadata.generation).toBe((before.metadata.generation ?? 0) + 1);
  await eventually(
    async () => expect((await pool()).status?.observedGeneration).toBe((await pool()).metadata.generation),
    bounded,
  );
});

test('kubectl wait for Ready speaks of the spec as it is now', async () => {
  await start();
  const { metadata } = await edit({
    template: { spec: { containers: [{ name: 'worker', image: 'worker:3' }] } },
  });
  const wait = ['wait', 'wp/tiles', '-n', ref.namespace, '--for=condition=Ready', '--timeout=120s'];
  expect(await stage.world.server.kubectl(wait)).toContain('condition met');
  expect(worker(await deployment())?.image).toBe('worker:3');
  for (const { type, observedGeneration } of (await pool()).status?.conditions ?? [])
    expect(observedGeneration, type).toBe(metadata.generation);
});

test('kubectl scale sets a floor, and gives it back', async () => {
  await start({ scaling: { scaleDown: { window: '0s' } } });
  const scale = (replicas: number): Promise<string> =>
    stage.world.server.kubectl(['scale', 'wp/tiles', '-n', ref.namespace, `--replicas=${replicas}`]);
  await scale(3);
  await replicasAre(3);
  await eventually(async () => expect((await pool()).status?.replicas).toBe(3), bounded);
  await scale(0);
  await replicasAre(0);
});

describe('by hand', () => {
  const container = { name: 'worker', image: 'worker:1' };
  const ours: [what: string, change: Json, holds: (now: Deployment) => unknown, value: unknown][] = [
    [
      'the image',
      { spec: { template: { spec: { containers: [{ ...container, image: 'evil:1' }] } } } },
      (now) => worker(now)?.image,
      'worker:1',
    ],
    [
      'the environment',
      { spec: { template: { spec: { containers: [{ ...container, env: [] }] } } } },
      (now) => worker(now)?.env?.some(({ name }) => name === 'MILLRACE_QUEUE'),
      true,
    ],
    [
      'the label that the controller finds it by',
      { metadata: { labels: { 'app.kubernetes.io/managed-by': 'me' } } },
      (now) => now.metadata.labels?.['app.kubernetes.io/managed-by'],
      'millrace',
    ],
    [
      'a label of the pods',
      { spec: { template: { metadata: { labels: { 'app.kubernetes.io/managed-by': null } } } } },
      (now) => now.spec?.template.metadata?.labels?.['app.kubernetes.io/managed-by'],
      'millrace',
    ],
  ];
  test.each(ours)('%s is put back', async (_what, change, holds, value) => {
    await start();
    const edited = await handEdit(change);
    expect(holds(edited)).not.toEqual(value);
    await eventually(async () => expect(holds(await deployment())).toEqual(value), bounded);
  });

  test('foreign fields stay, through a rollout too', async () => {
    await start();
    await handEdit({
      metadata: { annotations: { owner: 'me' }, labels: { team: 'maps' } },
      spec: { paused: true, template: { metadata: { annotations: { checked: 'yes' } } } },
    });
    await edit({ template: { spec: { containers: [{ ...container, image: 'worker:2' }] } } });
    await eventually(async () => expect(worker(await deployment())?.image).toBe('worker:2'), bounded);
    const { metadata, spec } = await deployment();
    expect(metadata).toMatchObject({ annotations: { owner: 'me' }, labels: { team: 'maps' } });
    expect(spec?.paused).toBe(true);
    expect(spec?.template.metadata?.annotations).toEqual({ checked: 'yes' });
  });

  test.each([
    [0, 2],
    [7, 2],
  ])('%i replicas become %i again', async (replicas, wanted) => {
    await start({ minReplicas: 2, scaling: { scaleDown: { window: '0s' } } });
    await handEdit({ spec: { replicas } });
    await replicasAre(wanted);
  });

  test('a Deployment that was deleted is made again', async () => {
    await start({ minReplicas: 1 });
    const { uid } = (await deployment()).metadata;
    await stage.world.objects.remove(DEPLOYMENTS, ref);
    await eventually(async () => expect((await deployment()).metadata.uid).not.toBe(uid), bounded);
    await replicasAre(1);
  });
});

describe('edits of the pool', () => {
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '10m' } };

  test('minReplicas and maxReplicas apply immediately, regardless of the window', async () => {
    await start({ scaling });
    await push(8);
    await replicasAre(8);
    await edit({ maxReplicas: 5 });
    await replicasAre(5);
    await edit({ maxReplicas: 9, minReplicas: 9 });
    await replicasAre(9);
    await eventually(
      async () =>
        expect(conditionText(await pool(), 'ScalingLimited')).toMatch(/^True MinReplicas .*minReplicas 9/),
      bounded,
    );
  });

  test.each(['Paused', 'DryRun'])('%s touches nothing, and Active goes on', async (mode) => {
    await start({ scaling });
    await edit({ mode });
    await eventually(
      async () => expect(conditionText(await pool(), 'Ready')).toMatch(`True ${mode}`),
      bounded,
    );
    const { generation } = (await deployment()).metadata;
    await push(4);
    await eventually(async () => expect((await pool()).status?.waiting).toBe(4), bounded);
    await throughout(1_500, async () => expect((await deployment()).metadata.generation).toBe(generation));
    if (mode === 'DryRun') expect((await pool()).status?.desiredReplicas).toBe(4);
    await edit({ mode: 'Active' });
    await replicasAre(4);
  });

  test('a changed Redis is used from then on, and the workers get it', async () => {
    await using other = await startRedis();
    await start({ scaling });
    const client = other.client();
    await edit({ redis: { url: other.url } });
    const env = async () => worker(await deployment())?.env;
    await eventually(
      async () => expect(await env()).toContainEqual({ name: 'MILLRACE_REDIS_URL', value: other.url }),
      bounded,
    );
    await client.lpush(ref.namespace, 'a', 'b');
    await replicasAre(2);
    await push(5);
    await eventually(async () => expect((await pool()).status?.waiting).toBe(2), bounded);
    await throughout(500, async () => expect((await deployment()).spec?.replicas).toBe(2));
    // the other one goes away at the end of this test: nobody may hold on to it
    await stage.world.objects.remove(POOLS, ref);
    await eventually(
      async () => expect((await deployment()).metadata.deletionTimestamp).toBeDefined(),
      bounded,
    );
    await stage.world.objects.patch(DEPLOYMENTS, ref, { metadata: { finalizers: null } });
    await eventually(async () => await expect(pool()).rejects.toMatchObject({ notFound: true }), bounded);
  });

  test('kubectl scale raises the floor, kubectl wait sees Ready', async () => {
    await start();
    const kubectl = (...args: string[]): Promise<string> =>
      stage.world.server.kubectl(['-n', ref.namespace, ...args]);
    await kubectl('scale', 'wp/tiles', '--replicas=3');
    await replicasAre(3);
    expect((await pool()).spec.minReplicas).toBe(3);
    expect(await kubectl('wait', '--for=condition=Ready', 'wp/tiles', '--timeout=120s')).toContain(
      'condition met',
    );
    await eventually(
      async () =>
        expect(await stage.world.objects.get(POOLS, ref, 'scale')).toMatchObject({
          spec: { replicas: 3 },
          status: { replicas: 3, selector: 'millrace.dev/pool=tiles' },
        }),
      bounded,
    );
  });
});

test('a new controller applies nothing unchanged, and reverts edits that were made while there was none', async () => {
  const applies = async (): Promise<number> => {
    const page = await stage.world.server.kubectl(['get', '--raw', '/metrics']);
    const lines = page.split('\n').filter((line) => /^apiserver_request_total\{.*verb="APPLY"/.test(line));
    const own = lines.filter((line) => /resource="deployments"/.test(line) && /subresource=""/.test(line));
    return own.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
  await start({ scaling: { tasksPerReplica: 1 } });
  await eventually(async () => expect((await pool()).status?.applied).toMatch(/^.{16}\..{16}$/), bounded);
  await stage.controller.stop();
  const before = await applies();
  await stage.startController();
  await push(1);
  await replicasAre(1);
  expect(await applies()).toBe(before);
  await stage.controller.stop();
  await handEdit({ spec: { template: { spec: { containers: [{ name: 'worker', image: 'evil:1' }] } } } });
  await stage.startController();
  await eventually(async () => expect(worker(await deployment())?.image).toBe('worker:1'), bounded);
  expect((await deployment()).spec?.replicas).toBe(1);
  // counted after it was answered
  await eventually(async () => expect(await applies()).toBeGreaterThan(before), bounded);
});
