/** Deployments of others: one that a pool adopts is scaled and nothing else; one that it does not own is not touched. */
import { beforeEach, expect, test } from 'vitest';
import { DEPLOYMENTS, objectPath, PODS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { Deployment } from '../../kube/wire.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { replicaSetOf } from '../support/deployments.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';
import { useStage } from '../support/stage.ts';

const stage = useStage();

const bounded = { everyMs: 20 };

/** Of the pool; its queue has the namespace's name. */
let ref: ObjectRef;
/** Of the Deployment that somebody else made. */
let theirs: ObjectRef;

beforeEach(async () => {
  const namespace = await stage.world.namespace();
  ref = { namespace, name: 'tiles' };
  theirs = { namespace, name: 'existing' };
});

const pool = () => stage.world.objects.get(POOLS, ref);
const deployment = (): Promise<Deployment> => stage.world.objects.get(DEPLOYMENTS, theirs);
const replicasAre = (count: number): Promise<void> =>
  eventually(async () => expect((await deployment()).spec?.replicas).toBe(count), bounded);
const isTrue = (type: string): Promise<void> =>
  eventually(async () => expect(conditionText(await pool(), type)).toMatch(/^True/), bounded);

async function createPool(spec: Json): Promise<void> {
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const manifest = poolManifest(ref.name, stage.world.redis, { queue: ref.namespace, scaling, ...spec });
  await stage.world.objects.create(POOLS, ref.namespace, manifest);
}

const adopt = (): Promise<void> => createPool({ template: undefined, scaleTargetRef: { name: theirs.name } });

function createTheirs(name = theirs.name): Promise<Deployment> {
  const labels = { app: 'existing' };
  const env = [{ name: 'MILLRACE_QUEUE', value: 'of-their-own' }];
  const template = {
    metadata: { labels, annotations: { a: 'b' } },
    spec: { containers: [{ name: 'main', image: 'theirs:1', env, ports: [{ containerPort: 80 }] }] },
  };
  const spec = { replicas: 4, selector: { matchLabels: labels }, template };
  const metadata = { name, labels: { app: 'existing', 'app.kubernetes.io/managed-by': 'somebody' } };
  return stage.world.objects.create(DEPLOYMENTS, theirs.namespace, { metadata, spec });
}

/** All of it but the replicas and what the API server counts. */
function rest({ metadata, spec, status }: Deployment): unknown {
  const { generation: _g, resourceVersion: _v, managedFields: _m, ...kept } = metadata;
  return { metadata: kept, spec: { ...spec, replicas: undefined }, status };
}

test('an adopted Deployment gets other replicas and nothing else, and is left alone when the pool goes', async () => {
  const before = await createTheirs();
  await adopt();
  await replicasAre(0);
  await isTrue('Ready');
  await stage.redis.lpush(ref.namespace, 'a', 'b');
  await replicasAre(2);
  await eventually(async () => expect((await pool()).status?.selector).toBe('app=existing'), bounded);

  const after = await deployment();
  expect(rest(after)).toEqual(rest(before));
  const added = after.metadata.managedFields?.filter(({ manager }) => manager?.startsWith('millrace-'));
  expect(added).toEqual([
    expect.objectContaining({ subresource: 'scale', fieldsV1: { 'f:spec': { 'f:replicas': {} } } }),
  ]);

  await stage.world.objects.remove(POOLS, ref);
  await eventually(async () => await expect(pool()).rejects.toMatchObject({ notFound: true }), bounded);
  expect(await deployment()).toEqual(after);
});

/** Server-side apply of the Deployment as others do it, without force. */
function apply(manager: string, spec: Json, annotations: Json = {}): Promise<Deployment> {
  const labels = { app: 'existing' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'theirs:1' }] } };
  return stage.world.transport.call({
    method: 'PATCH',
    path: objectPath(DEPLOYMENTS, theirs),
    query: { fieldManager: manager },
    contentType: 'application/apply-patch+yaml',
    body: {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: theirs.name, annotations },
      spec: { selector: { matchLabels: labels }, template, ...spec },
    },
    what: `apply as ${manager}`,
  });
}

const ownersOf = ({ metadata }: Deployment): string[] =>
  (metadata.managedFields ?? []).flatMap(({ manager = '', fieldsV1 }) =>
    JSON.stringify(fieldsV1).includes('"f:replicas"') ? [manager] : [],
  );

test("replicas without an owner are claimed immediately, so that another manager's apply conflicts", async () => {
  await apply('gitops', {});
  expect(ownersOf(await deployment())).toEqual([]);
  // as many as there are: nothing is to be scaled
  await stage.redis.lpush(ref.namespace, 'a');
  await adopt();
  await isTrue('Ready');
  // beside it stands "before-first-apply", as the API server calls what was there before the first apply of /scale
  await eventually(async () => expect(ownersOf(await deployment())).toContain('millrace-scaler'), bounded);
  await expect(apply('gitops', { replicas: 2 })).rejects.toMatchObject({
    conflict: true,
    message: expect.stringMatching(/"millrace-scaler" with subresource "scale".*\.spec\.replicas/s),
  });
  await apply('gitops', {}, { revision: '2' });
  expect((await deployment()).spec?.replicas).toBe(1);
});

test('a manager that applies replicas is named, until it applies without them; they do not fall to 1', async () => {
  await apply('helm', { replicas: 4 });
  await stage.redis.lpush(ref.namespace, 'a', 'b', 'c', 'd');
  await adopt();
  await eventually(
    async () =>
      expect(conditionText(await pool(), 'ReplicasApplied')).toBe(
        'True OtherManager The manifest that "helm" applies to Deployment "existing" sets spec.replicas, which this pool scales: an apply is ' +
          'refused with a conflict or, if forced, sets its number until the pool sets its own again. Remove replicas from that manifest.',
      ),
    bounded,
  );
  expect(ownersOf(await deployment()).toSorted()).toEqual(['helm', 'millrace-scaler']);

  // the pool's number, not theirs: the field is no longer theirs, but their manifest is as it was
  await stage.redis.lpush(ref.namespace, 'e', 'f');
  await replicasAre(6);
  expect(ownersOf(await deployment())).toEqual(['millrace-scaler']);
  await expect(apply('helm', { replicas: 4 }, { revision: '2' })).rejects.toMatchObject({ conflict: true });
  await stage.redis.lpush(ref.namespace, 'g');
  await replicasAre(7);
  const named = conditionText(await pool(), 'ReplicasApplied');
  expect(named).toMatch(/^True OtherManager The manifest that "helm" applies/);

  // another controller goes on with that: the Deployment no longer shows who applied replicas
  await stage.restartController();
  await stage.redis.lpush(ref.namespace, 'h');
  await eventually(async () => expect((await pool()).status?.desiredReplicas).toBe(8), bounded);
  expect(conditionText(await pool(), 'ReplicasApplied')).toBe(named);

  await apply('helm', {}, { revision: '3' });
  await eventually(
    async () => expect(conditionText(await pool(), 'ReplicasApplied')).toBeUndefined(),
    bounded,
  );
  expect((await pool()).status?.replicasApplier).toBeUndefined();
  expect((await deployment()).spec?.replicas).toBe(8);
});

test('an apply without replicas before the pool wrote any leaves the number', async () => {
  await apply('helm', { replicas: 4 });
  await stage.redis.lpush(ref.namespace, 'a', 'b', 'c', 'd');
  await adopt();
  await eventually(async () => expect(ownersOf(await deployment())).toContain('millrace-scaler'), bounded);
  expect((await apply('helm', {})).spec?.replicas).toBe(4);
});

test('a paused pool claims nothing', async () => {
  await apply('gitops', {});
  await createPool({ template: undefined, scaleTargetRef: { name: theirs.name }, mode: 'Paused' });
  await isTrue('Ready');
  expect(ownersOf(await deployment())).toEqual([]);
});

test('a Deployment to adopt that is missing is named, and adopted when it appears', async () => {
  await adopt();
  await stage.redis.lpush(ref.namespace, 'a');
  await eventually(
    async () =>
      expect(conditionText(await pool(), 'Ready')).toBe(
        `False NoTarget Deployment "existing" does not exist in namespace "${ref.namespace}": ` +
          'create it, or correct scaleTargetRef.name.',
      ),
    bounded,
  );
  await isTrue('RedisReachable');
  await createTheirs();
  await replicasAre(1);
  await isTrue('Ready');
});

test('a Deployment of the same name that has no owner or another one is not touched', async () => {
  theirs = ref;
  const before = await createTheirs();
  await createPool({ minReplicas: 2 });
  await stage.redis.lpush(ref.namespace, 'a');
  await eventually(
    async () =>
      expect(conditionText(await pool(), 'Ready')).toBe(
        'False NoTarget Deployment "tiles" exists and does not belong to this pool: ' +
          'rename the pool, or scale that one with scaleTargetRef.',
      ),
    bounded,
  );
  await throughout(1_500, async () => expect(await deployment()).toEqual(before));
  await stage.world.objects.remove(POOLS, ref);
  await eventually(async () => await expect(pool()).rejects.toMatchObject({ notFound: true }), bounded);
  expect(await deployment()).toEqual(before);
});

test('pods that drain are counted as Kubernetes does since 1.35; before, those of a pool are, and an adopted one’s are not', async () => {
  await createTheirs();
  await adopt();
  await replicasAre(0);
  const status = { replicas: 0, readyReplicas: 0, terminatingReplicas: 2 };
  const { terminatingReplicas } =
    (await stage.world.objects.patch(DEPLOYMENTS, theirs, { status }, 'status')).status ?? {};
  // a server that does not know the field drops it
  await stage.redis.lpush(ref.namespace, 'a');
  await replicasAre(1);
  await eventually(async () => {
    const pool_ = (await pool()).status;
    expect(pool_?.desiredReplicas).toBe(1);
    expect(pool_?.terminatingReplicas).toBe(terminatingReplicas);
  }, bounded);
});

test('pods of a pool that drain are counted where Kubernetes does not', async () => {
  await createPool({ minReplicas: 1 });
  theirs = ref;
  await replicasAre(1);
  const name = { namespace: ref.namespace, name: 'tiles-abc' };
  const made = await replicaSetOf(stage.world.objects, await deployment());
  const metadata = { name: name.name, finalizers: ['example.com/drains'], ...made };
  await stage.world.objects.create(PODS, ref.namespace, {
    metadata,
    spec: { containers: [{ name: 'worker', image: 'worker:1' }] },
  });
  const draining = async (): Promise<number | undefined> => (await pool()).status?.terminatingReplicas;
  await eventually(async () => expect(await draining()).toBe(0), bounded);
  await stage.world.objects.remove(PODS, name);
  await eventually(async () => expect(await draining()).toBe(1), bounded);
  // it has ended, though something keeps it
  await stage.world.objects.patch(PODS, name, { status: { phase: 'Succeeded' } }, 'status');
  await eventually(async () => expect(await draining()).toBe(0), bounded);
  await stage.world.objects.patch(PODS, name, { metadata: { finalizers: null } });
});

test('workers that crash: the status has their last output', async () => {
  await createPool({ minReplicas: 1 });
  theirs = ref;
  await replicasAre(1);
  const pod = { namespace: ref.namespace, name: 'tiles-abc' };
  const container = { name: 'worker', image: 'worker:1', imageID: '' };
  await stage.world.objects.create(PODS, ref.namespace, {
    metadata: { name: pod.name, ...(await replicaSetOf(stage.world.objects, await deployment())) },
    spec: { containers: [{ name: 'worker', image: 'worker:1' }] },
  });
  const message = 'starting\nmillrace-worker: cannot load /app/tasks.ts: there is no such file\n';
  const kubelet = (status: Json): Promise<unknown> =>
    stage.world.objects.patch(PODS, pod, { status }, 'status');
  const waiting = { reason: 'CrashLoopBackOff', message: 'back-off 10s' };
  const lastState = { terminated: { exitCode: 1, reason: 'Error', message } };
  const broken = { ...container, ready: false, restartCount: 3, state: { waiting }, lastState };
  await kubelet({ phase: 'Running', containerStatuses: [broken] });
  await eventually(
    async () =>
      expect(conditionText(await pool(), 'Ready')).toBe(
        'False WorkersFailing Container "worker" of pod tiles-abc crashes (exit code 1, restarted 3 times): ' +
          'millrace-worker: cannot load /app/tasks.ts: there is no such file.',
      ),
    bounded,
  );

  const running = { startedAt: new Date().toISOString() };
  await kubelet({
    containerStatuses: [{ ...container, ready: true, restartCount: 4, state: { running }, lastState }],
  });
  await isTrue('Ready');
});
