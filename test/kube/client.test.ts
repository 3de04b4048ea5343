/** KubeApi against a real API server: the effects of its calls, who owns which field afterwards, and how they fail. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { DeploymentApply, KubeApi } from '../../kube/api.ts';
import { createKubeApi } from '../../kube/client.ts';
import { inCluster } from '../../kube/connection.ts';
import { fromKubeconfig } from '../../kube/kubeconfig.ts';
import type { ObjectRef } from '../../kube/resources.ts';
import type { Transport } from '../../kube/transport.ts';
import { createTransport } from '../../kube/transport.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { startApiServer, type ApiServer } from '../support/apiserver.ts';
import { rightIs } from '../support/rights.ts';

const definition = join(import.meta.dirname, '../../charts/millrace/files/workerpools.yaml');

let server: ApiServer;
let transport: Transport;
let api: KubeApi;
/** Of the test's own object. */
let ref: ObjectRef;

beforeAll(async () => {
  server = await startApiServer();
  transport = createTransport(fromKubeconfig(server.kubeconfig));
  api = createKubeApi(transport);
});
afterAll(async () => {
  transport?.[Symbol.dispose]();
  await server?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  ref = { namespace: await server.namespace('client'), name: 'tiles' };
});

const kubectl = (...args: string[]): Promise<string> => server.kubectl(['-n', ref.namespace, ...args]);

function deployment(container: object = {}): DeploymentApply {
  const labels = { app: 'tiles' };
  return {
    metadata: { ...ref, labels },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { containers: [{ name: 'worker', image: 'worker:1', ...container }] },
      },
    },
  };
}

const facts = async () => {
  const { spec } = await api.deployments.get(ref);
  const worker = spec?.template.spec?.containers[0];
  return { replicas: spec?.replicas, image: worker?.image, env: worker?.env?.map(({ name }) => name) };
};

describe('deployments', () => {
  test('start with the replicas given, and keep them through every apply', async () => {
    const created = await api.deployments.create(deployment(), 0);
    expect(created.spec?.replicas).toBe(0);
    await api.deployments.apply(deployment({ image: 'worker:2' }));
    expect(await facts()).toMatchObject({ replicas: 0, image: 'worker:2' });

    await kubectl('scale', 'deployment/tiles', '--replicas=3');
    await api.deployments.apply(deployment({ image: 'worker:3' }));
    expect(await facts()).toMatchObject({ replicas: 3, image: 'worker:3' });

    await api.deployments.setReplicas(ref, 5);
    const whole = { ...deployment().spec, replicas: 9 };
    await api.deployments.apply({ ...deployment(), spec: whole });
    expect(await facts()).toMatchObject({ replicas: 5, image: 'worker:1' });
  });

  test('keep the replicas that nobody has set since their creation, which is one request', async () => {
    const requests: string[] = [];
    const counted: Transport = {
      ...transport,
      call: (request, options) => {
        requests.push(request.what);
        return transport.call(request, options);
      },
    };
    await createKubeApi(counted).deployments.create(deployment(), 0);
    expect(requests).toHaveLength(1);
    expect(await facts()).toMatchObject({ replicas: 0 });
    for (const image of ['worker:2', 'worker:3']) {
      await api.deployments.apply(deployment({ image }));
      expect(await facts()).toMatchObject({ replicas: 0, image });
    }
  });

  test('get back what others changed, lose fields that are no longer set, and keep those of others', async () => {
    await api.deployments.create(deployment({ env: [{ name: 'A' }, { name: 'B' }] }), 1);
    await kubectl('set', 'image', 'deployment/tiles', 'worker=other:1');
    await kubectl('annotate', 'deployment/tiles', 'owner=somebody');
    await api.deployments.apply(deployment({ env: [{ name: 'A' }] }));
    expect(await facts()).toEqual({ replicas: 1, image: 'worker:1', env: ['A'] });
    expect((await api.deployments.get(ref)).metadata.annotations).toMatchObject({ owner: 'somebody' });
  });

  test('scale through /scale, owned or adopted', async () => {
    await kubectl('create', 'deployment', 'tiles', '--image=any', '--replicas=2');
    const scaled = await api.deployments.setReplicas(ref, 7);
    expect(scaled.spec).toEqual({ replicas: 7 });
    expect(await facts()).toMatchObject({ replicas: 7 });
  });

  test('scale only from the version that was read, where one is given', async () => {
    const { metadata } = await api.deployments.create(deployment(), 3);
    // the same number, but by a manager of its own: a new version
    await api.deployments.setReplicas(ref, 3);
    const read = (await api.deployments.get(ref)).metadata;
    const old = api.deployments.setReplicas(ref, 1, { resourceVersion: metadata.resourceVersion });
    await expect(old).rejects.toMatchObject({ conflict: true });
    expect(await facts()).toMatchObject({ replicas: 3 });
    await api.deployments.setReplicas(ref, 2, { resourceVersion: read.resourceVersion });
    expect(await facts()).toMatchObject({ replicas: 2 });
    // what counts pods is a change, too
    const after = (await api.deployments.get(ref)).metadata;
    await kubectl(
      'patch',
      'deployment/tiles',
      '--subresource=status',
      '--type=merge',
      '-p',
      '{"status":{"replicas":2}}',
    );
    const late = api.deployments.setReplicas(ref, 0, { resourceVersion: after.resourceVersion });
    await expect(late).rejects.toMatchObject({ conflict: true });
    expect(await facts()).toMatchObject({ replicas: 2 });
  });

  test('are deleted only as the incarnation that was meant', async () => {
    const { metadata } = await api.deployments.create(deployment(), 0);
    const deletion = { uid: metadata.uid ?? '', propagationPolicy: 'Background' } as const;
    await expect(api.deployments.delete(ref, { ...deletion, uid: 'another' })).rejects.toMatchObject({
      conflict: true,
    });
    await api.deployments.delete(ref, deletion);
    await expect(api.deployments.get(ref)).rejects.toMatchObject({ notFound: true });
  });

  test('wait for their pods when deleted in the foreground', async () => {
    const { metadata } = await api.deployments.create(deployment(), 0);
    await api.deployments.delete(ref, { uid: metadata.uid ?? '', propagationPolicy: 'Foreground' });
    expect((await api.deployments.get(ref)).metadata.finalizers).toEqual(['foregroundDeletion']);
  });
});

test('pods get a deletion cost, and lose it', async () => {
  await kubectl('run', 'tiles', '--image=any');
  const cost = async () =>
    (await kubectl('get', 'pod/tiles', '-o', 'jsonpath={.metadata.annotations}')) || '{}';
  await api.pods.setDeletionCost(ref, -100);
  expect(JSON.parse(await cost())).toEqual({ 'controller.kubernetes.io/pod-deletion-cost': '-100' });
  await api.pods.setDeletionCost(ref, null);
  expect(JSON.parse(await cost())).toEqual({});
  // another one of that name is none of ours
  const other = '11111111-2222-4333-8444-555555555555';
  await expect(api.pods.setDeletionCost(ref, -1, { uid: other })).rejects.toMatchObject({ status: 422 });
  const uid = await kubectl('get', 'pod/tiles', '-o', 'jsonpath={.metadata.uid}');
  await api.pods.setDeletionCost(ref, -1, { uid });
  expect(JSON.parse(await cost())).toEqual({ 'controller.kubernetes.io/pod-deletion-cost': '-1' });
});

test('secrets are read', async () => {
  await kubectl('create', 'secret', 'generic', 'tiles', '--from-literal=password=s3cret');
  expect((await api.secrets.get(ref)).data).toEqual({ password: Buffer.from('s3cret').toString('base64') });
});

const createPool = async (): Promise<WorkerPool> => {
  const pool = {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: ref,
    spec: {
      redis: { url: 'redis://redis' },
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'x' },
    },
  };
  return JSON.parse(
    await server.kubectl(['create', '-f', '-', '-o', 'json'], { input: JSON.stringify(pool) }),
  );
};

describe('pools', () => {
  beforeAll(async () => {
    await server.kubectl(['apply', '-f', definition]);
    await server.kubectl([
      'wait',
      '--for=condition=Established',
      'crd/workerpools.millrace.dev',
      '--timeout=120s',
    ]);
  });

  test('take a status piece by piece, and nothing but a status', async () => {
    const { spec } = await createPool();
    await api.pools.patchStatus(ref, { waiting: 412, inFlight: 4 });
    await api.pools.patchStatus(ref, { waiting: 0, lastDecision: '3→0: nothing to do', inFlight: null });
    const pool: WorkerPool = JSON.parse(await kubectl('get', 'wp/tiles', '-o', 'json'));
    expect(pool.status).toEqual({ waiting: 0, lastDecision: '3→0: nothing to do' });
    expect(pool.spec).toEqual(spec);
  });

  test('take the same status twice without a new version', async () => {
    await createPool();
    const first = await api.pools.patchStatus(ref, { waiting: 1 });
    const second = await api.pools.patchStatus(ref, { waiting: 1 });
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  });

  test('take finalizers only at the version that they were decided on', async () => {
    const { metadata } = await createPool();
    const version = metadata.resourceVersion ?? '';
    const held = await api.pools.setFinalizers(ref, ['millrace.dev/drain'], version);
    expect(held.metadata.finalizers).toEqual(['millrace.dev/drain']);
    await expect(api.pools.setFinalizers(ref, [], version)).rejects.toMatchObject({ conflict: true });
    const free = await api.pools.setFinalizers(ref, [], held.metadata.resourceVersion ?? '');
    expect(free.metadata.finalizers ?? []).toEqual([]);
  });
});

test('a lease is updated only at the version that was read', async () => {
  const lease = await api.leases.create({ metadata: ref, spec: { holderIdentity: 'a' } });
  await expect(api.leases.create({ metadata: ref })).rejects.toMatchObject({ alreadyExists: true });
  await api.leases.update({ ...lease, spec: { holderIdentity: 'b' } });
  await expect(api.leases.update({ ...lease, spec: { holderIdentity: 'c' } })).rejects.toMatchObject({
    conflict: true,
  });
  expect((await api.leases.get(ref)).spec?.holderIdentity).toBe('b');
});

const missing = (what: string) =>
  new RegExp(`^${what} client-\\w+/tiles: 404 NotFound: .*"tiles" not found$`);

describe('an error names the call, its object and the reason', () => {
  const cases: [what: string, call: () => Promise<unknown>, message: RegExp][] = [
    ['a Deployment', () => api.deployments.get(ref), missing('get deployments')],
    ['a scale', () => api.deployments.setReplicas(ref, 1), missing('patch deployments/scale')],
    ['a pod', () => api.pods.setDeletionCost(ref, 1), missing('patch pods')],
    ['a secret', () => api.secrets.get(ref), missing('get secrets')],
    [
      'an invalid Deployment',
      () => api.deployments.create({ ...deployment(), spec: { ...deployment().spec, selector: {} } }, 0),
      /^patch deployments client-\w+\/tiles: 422 Invalid: Deployment.apps "tiles" is invalid: .*selector/,
    ],
  ];
  test.each(cases)('%s', async (_what, call, message) => {
    await expect(call()).rejects.toThrow(message);
  });

  test('a frozen server', async () => {
    server.freeze();
    try {
      const call = api.deployments.get(ref, { timeoutMs: 100 });
      await expect(call).rejects.toThrow(/^get deployments .*: Timeout: no answer within 100 ms$/);
    } finally {
      server.thaw();
    }
    await expect(api.deployments.get(ref)).rejects.toMatchObject({ notFound: true });
  });

  test('a server that is not there', async () => {
    using nobody = createTransport({
      ...fromKubeconfig(server.kubeconfig),
      server: 'https://127.0.0.1:1',
    });
    await expect(createKubeApi(nobody).secrets.get(ref)).rejects.toThrow(
      /^get secrets .*: Unreachable: connect ECONNREFUSED 127.0.0.1:1$/,
    );
  });
});

/** A folder as it is mounted, with the token of a service account that may read Secrets. */
async function mount() {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-mount-'));
  await kubectl('create', 'serviceaccount', 'reader');
  await kubectl('create', 'role', 'reader', '--verb=get', '--resource=secrets');
  await kubectl(
    'create',
    'rolebinding',
    'reader',
    '--role=reader',
    `--serviceaccount=${ref.namespace}:reader`,
  );
  const right = { verb: 'get', namespace: ref.namespace, resource: 'secrets' };
  await rightIs(transport, `system:serviceaccount:${ref.namespace}:reader`, right, true);
  const write = (file: string, text: string): Promise<void> => writeFile(join(folder, file), text);
  await write('ca.crt', Buffer.from(server.caData, 'base64').toString());
  await write('namespace', ref.namespace);
  await write('token', await kubectl('create', 'token', 'reader'));
  const { hostname, port } = new URL(server.server);
  const time = { now: 0 };
  const connection = await inCluster({ host: hostname, port, folder, now: () => time.now });
  const pod = createTransport(connection);
  return {
    connection,
    api: createKubeApi(pod),
    write,
    time,
    async [Symbol.asyncDispose]() {
      pod[Symbol.dispose]();
      await rm(folder, { recursive: true });
    },
  };
}

describe('in a pod', () => {
  test('the service account has its own rights', async () => {
    await using pod = await mount();
    expect(pod.connection.namespace).toBe(ref.namespace);
    await expect(pod.api.secrets.get(ref)).rejects.toMatchObject({ notFound: true });
    await expect(pod.api.deployments.get(ref)).rejects.toThrow(
      /403 Forbidden: .*cannot get resource "deployments"/,
    );
  });

  test('a rotated token is taken after a minute', async () => {
    await using pod = await mount();
    await expect(pod.api.secrets.get(ref)).rejects.toMatchObject({ status: 404 });
    await pod.write('token', server.token);
    pod.time.now = 60_000;
    await expect(pod.api.deployments.get(ref)).rejects.toMatchObject({ status: 403 });
    pod.time.now = 60_001;
    await expect(pod.api.deployments.get(ref)).rejects.toMatchObject({ status: 404 });
  });

  test('a refused token is re-read immediately', async () => {
    await using pod = await mount();
    await pod.write('token', 'expired');
    await expect(pod.api.secrets.get(ref)).rejects.toMatchObject({ status: 401 });
    await pod.write('token', server.token);
    await expect(pod.api.secrets.get(ref)).rejects.toMatchObject({ status: 404 });
  });

  test('a new CA is taken with the token', async () => {
    await using pod = await mount();
    await expect(pod.api.secrets.get(ref)).rejects.toMatchObject({ status: 404 });
    await pod.write('ca.crt', '');
    pod.time.now = 60_001;
    await expect(pod.api.secrets.get(ref)).rejects.toThrow(/Unreachable: .*certificate/);
  });

  test('a mount that is not there is named', async () => {
    const { hostname, port } = new URL(server.server);
    using pod = createTransport(await inCluster({ host: hostname, port, folder: '/nonexistent' }));
    await expect(createKubeApi(pod).secrets.get(ref)).rejects.toThrow(
      /^get secrets .*: NoCredentials: cannot read \/nonexistent\/token: is the pod's service account token mounted\?$/,
    );
  });
});
