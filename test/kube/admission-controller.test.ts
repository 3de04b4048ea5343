/**
 * The chart's admission policy for the controller's own account, on a real API server with real RBAC: the account can do
 * nothing but the controller's work, and the controller works with it.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fromKubeconfig } from '../../kube/kubeconfig.ts';
import { DEPLOYMENTS, JOBS, PODS, POOLS, type Resource, type Subresource } from '../../kube/resources.ts';
import { createTransport, type Transport } from '../../kube/transport.ts';
import {
  container,
  CONTROLLER,
  deployment,
  HOME,
  ofSecret,
  pool,
  SOON,
  startAdmissionWorld,
  type AdmissionWorld,
} from '../support/admission-world.ts';
import { metric, startController } from '../support/controller.ts';
import { playDeployments } from '../support/deployments.ts';
import { eventually } from '../support/eventually.ts';
import { connectObjects, type Json } from '../support/objects.ts';
import { startRedis } from '../support/redis.ts';

let world: AdmissionWorld;
let namespace: string;
beforeAll(async () => {
  world = await startAdmissionWorld();
}, 600_000);
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(async () => {
  namespace = await world.team();
});

describe('the account of the controller', () => {
  const owner = (name: string): Json => ({
    ownerReferences: [
      { apiVersion: 'millrace.dev/v1alpha1', kind: 'WorkerPool', name, uid: 'u', controller: true },
    ],
  });
  let own: Transport;
  beforeAll(async () => {
    const token = (await world.server.kubectl(['create', 'token', 'millrace', '-n', HOME])).trim();
    own = createTransport(fromKubeconfig(await world.server.kubeconfigFor(token)));
  });
  afterAll(() => own[Symbol.dispose]());
  /** `done`, or what the API server said. Not by kubectl, which reads before it writes. */
  const patch = (
    resource: Resource<unknown>,
    name: string,
    change: Json,
    subresource?: Subresource,
    where = namespace,
  ): Promise<string> =>
    connectObjects(own)
      .patch(resource, { namespace: where, name }, change, subresource)
      .then(
        () => 'done',
        (error: Error) => error.message,
      );

  test('changes nothing of a pod but its deletion cost', async () => {
    const metadata = { name: 'pod', labels: { a: 'b' }, annotations: { keep: 'me' } };
    await world.as(undefined, ['create', '-n', namespace], {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata,
      spec: { containers: [container] },
    });
    const cost = { 'controller.kubernetes.io/pod-deletion-cost': '-100' };
    expect(await patch(PODS, 'pod', { metadata: { annotations: cost } })).toBe('done');
    expect(await patch(PODS, 'pod', { metadata: { annotations: { keep: 'me', ...cost } } })).toBe('done');
    const none = { 'controller.kubernetes.io/pod-deletion-cost': null };
    expect(await patch(PODS, 'pod', { metadata: { annotations: none } })).toBe('done');
    const refused = 'of a pod, the controller of Millrace may only change the annotation';
    for (const change of [
      { metadata: { annotations: { keep: null } } },
      { metadata: { annotations: { keep: 'you', ...cost } } },
      { metadata: { annotations: { more: 'of it' } } },
      { metadata: { labels: { a: 'c' } } },
      { metadata: { finalizers: ['example.com/stay'] } },
      { spec: { containers: [{ ...container, image: 'evil:1' }] } },
      { spec: { activeDeadlineSeconds: 1 } },
    ])
      expect(await patch(PODS, 'pod', change), JSON.stringify(change)).toContain(refused);
  });

  test('resizes pods of pools only, and only what they request', async () => {
    const resources = { requests: { cpu: '500m' }, limits: { cpu: '1', memory: '1Gi' } };
    for (const [name, labels] of Object.entries({ own: { 'millrace.dev/pool': 'tiles' }, other: { a: 'b' } }))
      await world.as(undefined, ['create', '-n', namespace], {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, labels },
        spec: {
          containers: [{ ...container, resources }],
          initContainers: [{ ...container, name: 'side', restartPolicy: 'Always', resources }],
        },
      });
    const resize = (name: string, to: Json): Promise<string> =>
      patch(PODS, name, { spec: { containers: [{ ...container, resources: to }] } }, 'resize');
    const refused = 'may resize only pods of a WorkerPool, and change only what their containers request';
    const less = { ...resources, requests: { cpu: '10m', memory: '1Gi' } };
    expect(await resize('own', less)).toBe('done');
    const side = { ...container, name: 'side', restartPolicy: 'Always', resources: less };
    expect(await patch(PODS, 'own', { spec: { initContainers: [side] } }, 'resize')).toContain(refused);
    expect(await resize('other', less)).toContain(refused);
    expect(await resize('own', { ...less, limits: { cpu: '2', memory: '1Gi' } })).toContain(refused);
    expect(await resize('own', { ...less, limits: { memory: '1Gi' } })).not.toBe('done');
  });

  test('creates, changes and deletes Deployments of pools only', async () => {
    const refused = 'only Deployments that a WorkerPool of their name owns';
    expect(await world.tryTo(CONTROLLER, 'create', namespace, deployment('own', owner('own')))).toMatch(
      /created/,
    );
    expect(await world.tryTo(CONTROLLER, 'create', namespace, deployment('a', owner('b')))).toContain(
      refused,
    );
    expect(await world.tryTo(CONTROLLER, 'create', namespace, deployment('a'))).toContain(refused);
    await world.as(undefined, ['create', '-n', namespace], deployment('api'));
    const change = { spec: { minReadySeconds: 1 } };
    expect(await patch(DEPLOYMENTS, 'api', change)).toContain(refused);
    expect(await patch(DEPLOYMENTS, 'api', { metadata: owner('api') })).toContain(refused);
    const remove = connectObjects(own).remove(DEPLOYMENTS, { namespace, name: 'api' });
    await expect(remove).rejects.toThrow(refused);
    expect(await patch(DEPLOYMENTS, 'api', { spec: { replicas: 3 } }, 'scale')).toBe('done');
  });

  test('creates, changes and deletes Jobs of pools only, and never the pods of one', async () => {
    const job = (name: string, more: Json = {}): Json => ({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name, ...more },
      spec: { template: { spec: { containers: [container], restartPolicy: 'Never' } } },
    });
    const refused = 'only Jobs that a WorkerPool owns';
    expect(await world.tryTo(CONTROLLER, 'create', namespace, job('own', owner('tiles')))).toMatch(/created/);
    await world.as(undefined, ['create', '-n', namespace], job('own', owner('tiles')));
    expect(await patch(JOBS, 'own', { spec: { ttlSecondsAfterFinished: 60 } })).toBe('done');
    for (const change of [{ metadata: { labels: { a: 'b' } } }, { metadata: { ownerReferences: null } }])
      expect(await patch(JOBS, 'own', change), JSON.stringify(change)).toMatch(
        /the controller of Millrace may/,
      );
    await connectObjects(own).remove(JOBS, { namespace, name: 'own' });
    expect(await world.tryTo(CONTROLLER, 'create', namespace, job('a'))).toContain(refused);
    expect(await world.tryTo(CONTROLLER, 'create', 'kube-system', job('a', owner('tiles')))).toContain(
      'may not touch Jobs in namespace kube-system',
    );
    await world.as(undefined, ['create', '-n', namespace], job('backup'));
    expect(await patch(JOBS, 'backup', { spec: { suspend: true } })).toContain(refused);
    await expect(connectObjects(own).remove(JOBS, { namespace, name: 'backup' })).rejects.toThrow(refused);
  });

  test('touches no Deployment of kube-system, and not itself', async () => {
    const where = 'may not touch Deployments in namespace kube-system';
    await world.as(undefined, ['create', '-n', 'kube-system'], deployment('dns'));
    expect(await world.tryTo(CONTROLLER, 'create', 'kube-system', deployment('own', owner('own')))).toContain(
      where,
    );
    const none = { spec: { replicas: 0 } };
    expect(await patch(DEPLOYMENTS, 'dns', none, 'scale', 'kube-system')).toContain(where);
    expect(await patch(DEPLOYMENTS, 'millrace', none, 'scale', HOME)).toContain('may not touch itself');
  });

  test('changes neither the spec nor the annotations of a pool, and no Lease but its own', async () => {
    await world.apply(undefined, namespace, pool({}));
    const refused = 'of a WorkerPool, the controller of Millrace may only change finalizers and the status';
    for (const change of [
      { spec: { maxReplicas: 3 } },
      { metadata: { annotations: { 'millrace.dev/paused': 'true' } } },
      { metadata: { labels: { a: 'b' } } },
    ])
      expect(await patch(POOLS, 'tiles', change), JSON.stringify(change)).toContain(refused);
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'other' } };
    expect(await world.tryTo(CONTROLLER, 'create', HOME, lease)).toContain('cannot create resource "leases"');
  });

  test('is all that the controller needs: a pool wakes, sleeps, is changed and goes', async () => {
    const token = (await world.server.kubectl(['create', 'token', 'millrace', '-n', HOME])).trim();
    await using redis = await startRedis();
    const ending = new AbortController();
    await playDeployments(world.transport, ending.signal);
    await using controller = await startController({
      kubeconfig: await world.server.kubeconfigFor(token),
      args: ['--leader-election', '--lease-name', 'millrace', '--lease-namespace', HOME],
    });
    await controller.leading();
    await world.server.kubectl([
      '-n',
      namespace,
      'create',
      'secret',
      'generic',
      'redis',
      `--from-literal=value=${redis.url}`,
    ]);
    const spec = {
      redis: { urlFrom: ofSecret('redis') },
      queue: namespace,
      result: `${namespace}:r`,
      scaling: { tasksPerReplica: 1, scaleDown: { window: '0s' } },
    };
    const ref = { namespace, name: 'tiles' };
    expect(await world.apply('ada', namespace, pool(spec))).toMatch(/serverside-applied/);
    const replicas = async (): Promise<unknown> => (await world.objects.get(DEPLOYMENTS, ref)).spec?.replicas;
    const client = redis.client();
    await eventually(async () => expect(await replicas()).toBe(0), SOON);
    await client.lpush(namespace, 'a', 'b', 'c');
    await eventually(async () => expect(await replicas()).toBe(3), SOON);
    await client.del(namespace);
    await eventually(async () => expect(await replicas()).toBe(0), SOON);
    const image = { ...container, image: 'worker:2' };
    expect(
      await world.apply('ada', namespace, pool({ ...spec, template: { spec: { containers: [image] } } })),
    ).toMatch(/applied/);
    await eventually(
      async () =>
        expect((await world.objects.get(DEPLOYMENTS, ref)).spec?.template.spec?.containers[0]?.image).toBe(
          'worker:2',
        ),
      SOON,
    );
    await world.server.kubectl(['delete', 'wp', 'tiles', '-n', namespace, '--wait=false']);
    // the garbage collector, which does not run here, would end this once the pods are gone
    await eventually(
      async () =>
        expect((await world.objects.get(DEPLOYMENTS, ref)).metadata.finalizers).toEqual([
          'foregroundDeletion',
        ]),
      SOON,
    );
    await world.objects.patch(DEPLOYMENTS, ref, { metadata: { finalizers: null } });
    await eventually(async () => expect(await world.objects.list(POOLS, namespace)).toEqual([]), SOON);
    ending.abort();
    // the digits may also be those of a time
    const forbidden = controller
      .log()
      .filter((line) => /\b403\b|forbidden/i.test(JSON.stringify({ ...line, time: '' })));
    expect(forbidden).toEqual([]);
    expect(metric((await controller.get('/metrics')).body, 'millrace_leader')).toBe(1);
  });
});
