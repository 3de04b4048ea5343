/**
 * The chart's admission policies on a real API server, with the real RBAC: what somebody may write who may write pools and
 * little else; and that the controller works under its own account, which can do nothing beside its work.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { fromKubeconfig } from '../../kube/kubeconfig.ts';
import { DEPLOYMENTS, PODS, POOLS, type Resource, type Subresource } from '../../kube/resources.ts';
import { createTransport, type Transport } from '../../kube/transport.ts';
import { startApiServer, type ApiServer } from '../support/apiserver.ts';
import { metric, startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { CHART, installChart } from '../support/helm.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { connectObjects, playDeployments, type Json, type Objects } from '../support/world.ts';

const HOME = 'millrace-system';
const CONTROLLER = `system:serviceaccount:${HOME}:millrace`;
const soon = { withinMs: 20_000, everyMs: 100 };

let server: ApiServer;
let redis: RedisServer;
let transport: Transport;
let objects: Objects;
let namespace: string;

beforeAll(async () => {
  server = await startApiServer();
  redis = await startRedis();
  transport = createTransport(fromKubeconfig(server.kubeconfig));
  objects = connectObjects(transport);
  await installChart(server, { name: 'millrace', namespace: HOME });
  await server.kubectl(['wait', '--for=condition=Established', 'crd/workerpools.millrace.dev']);
  // policies are compiled some time after they are stored
  const trial = await team();
  const open = pool({ template: undefined, scaleTargetRef: { name: 'none' } });
  await eventually(async () => {
    expect(await tryTo('mallory', 'create', trial, open)).toMatch(/you may not scale/);
    expect(await tryTo(CONTROLLER, 'create', trial, deployment('stray'))).toMatch(/owns/);
    expect(await apply(undefined, trial, pool({ redis: { url: 'redis://:a@redis' } }))).toMatch(/Warning/);
  }, soon);
}, 600_000);
afterAll(async () => {
  transport?.[Symbol.dispose]();
  await redis?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  namespace = await team();
});

/** A namespace in which mallory may write pools and read nothing else, and ada may what the cluster's role `edit` allows. */
async function team(): Promise<string> {
  const name = await server.namespace('team');
  const grant = (...args: string[]): Promise<string> =>
    server.kubectl(['-n', name, 'create', ...args, '--save-config=false']);
  await grant(
    'role',
    'pools',
    '--verb=*',
    '--resource=workerpools.millrace.dev,workerpools.millrace.dev/scale',
  );
  await grant('rolebinding', 'pools', '--role=pools', '--user=mallory');
  await grant('rolebinding', 'edit', '--clusterrole=edit', '--user=ada');
  // the controller that aggregates ClusterRoles does not run here
  await grant('rolebinding', 'pools-edit', '--role=pools', '--user=ada');
  await grant(
    'role',
    'more',
    '--verb=get,create,patch',
    '--resource=secrets,deployments.apps,deployments.apps/scale',
  );
  await grant('rolebinding', 'more', '--role=more', '--user=ada');
  return name;
}

const container = { name: 'worker', image: 'worker:1' };
const ofSecret = (name: string): Json => ({ secretKeyRef: { name, key: 'value' } });

function pool(spec: Json, name = 'tiles'): Json {
  const template = { spec: { containers: [container] } };
  const whole = { redis: { url: 'redis://redis:6379' }, template, ...spec };
  return { apiVersion: 'millrace.dev/v1alpha1', kind: 'WorkerPool', metadata: { name }, spec: whole };
}

function deployment(name: string, more: Json = {}): Json {
  const labels = { app: name };
  const spec = {
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers: [container] } },
  };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, ...more }, spec };
}

/** What kubectl says as `who`, an admin without one; refusals and warnings in its words. */
async function as(who: string | undefined, args: string[], input?: Json): Promise<string> {
  const whole = [...args, ...(who === undefined ? [] : ['--as', who]), ...(input ? ['-f', '-'] : [])];
  const options = input ? { input: JSON.stringify(input) } : {};
  return await server.kubectl(whole, options).catch((error: Error) => error.message);
}

/** Warnings are errors for kubectl's exit code, and so in what is returned; the object is stored all the same. */
const apply = (who: string | undefined, where: string, object: Json): Promise<string> =>
  as(who, ['apply', '--server-side', '--force-conflicts', '--warnings-as-errors', '-n', where], object);

const tryTo = (who: string, verb: string, where: string, object: Json): Promise<string> =>
  as(who, [verb, '--dry-run=server', '-n', where], object);

/** Where `spec.redis` can name a Secret, as the definition has it. */
function secretPlaces(): string[] {
  const { spec } = parse(readFileSync(join(CHART, 'files/workerpools.yaml'), 'utf8'));
  const found = (schema: Json | undefined, path: string): string[] => {
    const properties = (schema?.['properties'] ?? {}) as Record<string, Json>;
    if ('secretKeyRef' in properties) return [path];
    return Object.entries(properties).flatMap(([name, one]) =>
      found(one, path === '' ? name : `${path}.${name}`),
    );
  };
  return found(spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.redis, '');
}

/** `{a: {b: value}}` of `a.b`. */
const nested = (path: string, value: unknown): Json =>
  path
    .split('.')
    .toReversed()
    .reduce<unknown>((inner, key) => ({ [key]: inner }), value) as Json;

/** The rest that a pool needs with a Secret in this place. */
const around: Record<string, Json> = {
  passwordFrom: { url: 'redis://redis:6379' },
  'sentinel.passwordFrom': {},
  'tls.caFrom': { url: 'rediss://redis:6379' },
  'tls.certFrom': { url: 'rediss://redis:6379', tls: { keyFrom: ofSecret('mine') } },
  'tls.keyFrom': { url: 'rediss://redis:6379', tls: { certFrom: ofSecret('mine') } },
};

function redisWith(path: string, secret: string): Json {
  const [first = ''] = path.split('.');
  const before = around[path] ?? {};
  const made = nested(path, ofSecret(secret));
  const rest = path.startsWith('sentinel') ? { name: 'main', nodes: ['sentinel:26379'] } : {};
  const inner = { ...rest, ...(before[first] as Json), ...(made[first] as Json) };
  return { ...before, [first]: inner };
}

describe('who writes a pool', () => {
  test.each(secretPlaces())('must be allowed to get the Secret of redis.%s', async (path) => {
    await server.kubectl([
      '-n',
      namespace,
      'create',
      'role',
      'mine',
      '--verb=get',
      '--resource=secrets',
      '--resource-name=mine',
    ]);
    await server.kubectl(['-n', namespace, 'create', 'rolebinding', 'mine', '--role=mine', '--user=mallory']);
    await server.kubectl(['-n', namespace, 'create', 'deployment', 'there', '--image=worker:1']);
    await server.kubectl([
      '-n',
      namespace,
      'create',
      'role',
      'there',
      '--verb=patch',
      '--resource=deployments.apps/scale',
      '--resource-name=there',
    ]);
    await server.kubectl([
      '-n',
      namespace,
      'create',
      'rolebinding',
      'there',
      '--role=there',
      '--user=mallory',
    ]);
    const target = { template: undefined, scaleTargetRef: { name: 'there' } };
    const named = (secret: string): Json => pool({ ...target, redis: redisWith(path, secret) });
    const refused = await apply('mallory', namespace, named('admin-token'));
    expect(refused).toContain(`spec.redis.${path} names the Secret "admin-token"`);
    expect(refused).toContain(`have somebody apply the pool who may get secrets in namespace "${namespace}"`);
    expect(await apply('mallory', namespace, named('mine'))).toMatch(/serverside-applied/);
    expect(await apply('mallory', namespace, named('admin-token'))).toContain('you may not get it');
    expect(await apply('ada', namespace, named('admin-token'))).toMatch(/serverside-applied/);
  });

  test('must be allowed to create Deployments for a template', async () => {
    const refused = await apply('mallory', namespace, pool({}));
    expect(refused).toContain('become a Deployment, which you may not create');
    expect(refused).toContain(`who may create deployments in namespace "${namespace}"`);
    expect(await apply('ada', namespace, pool({}))).toMatch(/serverside-applied/);
  });

  test('must be allowed to scale the Deployment of scaleTargetRef', async () => {
    const adopting = pool({ template: undefined, scaleTargetRef: { name: 'api' } });
    const refused = await apply('mallory', namespace, adopting);
    expect(refused).toContain('names the Deployment "api", which you may not scale');
    expect(await apply('ada', namespace, adopting)).toMatch(/serverside-applied/);
  });

  test('is warned of a password in the URL', async () => {
    const said = await apply('ada', namespace, pool({ redis: { url: 'redis://:s3cret@redis:6379' } }));
    expect(said).toContain('spec.redis.url holds a password');
    expect(said).not.toContain('s3cret');
    expect(await as(undefined, ['get', 'wp', 'tiles', '-n', namespace, '-o', 'name'])).toContain('tiles');
  });
});

describe('somebody with less rights, on a pool of an admin,', () => {
  const redisOfPool = { url: 'redis://redis:6379', passwordFrom: ofSecret('admin-token') };
  beforeEach(async () => {
    expect(await apply(undefined, namespace, pool({ redis: redisOfPool }))).toMatch(/serverside-applied/);
    const adopting = { template: undefined, scaleTargetRef: { name: 'api' } };
    expect(await apply(undefined, namespace, pool(adopting, 'adopting'))).toMatch(/serverside-applied/);
  });
  const patch = (name: string, change: Json): Promise<string> =>
    as('mallory', ['patch', 'wp', name, '-n', namespace, '--type=merge', '-p', JSON.stringify(change)]);

  test.each([
    ['scales', ['scale', 'wp', 'tiles', '--replicas=2'], /scaled/],
    ['annotates', ['annotate', 'wp', 'tiles', 'millrace.dev/paused=true'], /annotated/],
    ['labels', ['label', 'wp', 'adopting', 'team=maps'], /labeled/],
    [
      'sets a bound',
      ['patch', 'wp', 'tiles', '--type=merge', '-p', '{"spec":{"maxReplicas":20}}'],
      /patched/,
    ],
    ['deletes', ['delete', 'wp', 'adopting', '--wait=false'], /deleted/],
  ])('%s it', async (_what, args, said) => {
    expect(await as('mallory', [...args, '-n', namespace])).toMatch(said);
  });

  test.each<[what: string, pool: string, change: Json, said: string]>([
    [
      'sends its password elsewhere',
      'tiles',
      { spec: { redis: { url: 'redis://evil:6379' } } },
      'names the Secret "admin-token"',
    ],
    ['names another Secret', 'tiles', { spec: { redis: { passwordFrom: ofSecret('b') } } }, 'the Secret "b"'],
    [
      'gives its workers another Redis',
      'adopting',
      { spec: { redis: { url: 'redis://evil:6379', passwordFrom: ofSecret('b') } } },
      'the Secret "b"',
    ],
    [
      'runs another image',
      'tiles',
      { spec: { template: { spec: { containers: [{ ...container, image: 'evil:1' }] } } } },
      'which you may not create',
    ],
    ['scales another Deployment', 'adopting', { spec: { scaleTargetRef: { name: 'b' } } }, 'Deployment "b"'],
  ])('is refused where it %s', async (_what, name, change, said) => {
    expect(await patch(name, change)).toContain(said);
  });
});

describe('the account of the controller', () => {
  const owner = (name: string): Json => ({
    ownerReferences: [
      { apiVersion: 'millrace.dev/v1alpha1', kind: 'WorkerPool', name, uid: 'u', controller: true },
    ],
  });
  let own: Transport;
  beforeAll(async () => {
    const token = (await server.kubectl(['create', 'token', 'millrace', '-n', HOME])).trim();
    own = createTransport(fromKubeconfig(await server.kubeconfigFor(token)));
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
    await as(undefined, ['create', '-n', namespace], {
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

  test('creates, changes and deletes Deployments of pools only', async () => {
    const refused = 'only Deployments that a WorkerPool of their name owns';
    expect(await tryTo(CONTROLLER, 'create', namespace, deployment('own', owner('own')))).toMatch(/created/);
    expect(await tryTo(CONTROLLER, 'create', namespace, deployment('a', owner('b')))).toContain(refused);
    expect(await tryTo(CONTROLLER, 'create', namespace, deployment('a'))).toContain(refused);
    await as(undefined, ['create', '-n', namespace], deployment('api'));
    const change = { spec: { minReadySeconds: 1 } };
    expect(await patch(DEPLOYMENTS, 'api', change)).toContain(refused);
    expect(await patch(DEPLOYMENTS, 'api', { metadata: owner('api') })).toContain(refused);
    const remove = connectObjects(own).remove(DEPLOYMENTS, { namespace, name: 'api' });
    await expect(remove).rejects.toThrow(refused);
    expect(await patch(DEPLOYMENTS, 'api', { spec: { replicas: 3 } }, 'scale')).toBe('done');
  });

  test('touches no Deployment of kube-system, and not itself', async () => {
    const where = 'may not touch Deployments in namespace kube-system';
    await as(undefined, ['create', '-n', 'kube-system'], deployment('dns'));
    expect(await tryTo(CONTROLLER, 'create', 'kube-system', deployment('own', owner('own')))).toContain(
      where,
    );
    const none = { spec: { replicas: 0 } };
    expect(await patch(DEPLOYMENTS, 'dns', none, 'scale', 'kube-system')).toContain(where);
    expect(await patch(DEPLOYMENTS, 'millrace', none, 'scale', HOME)).toContain('may not touch itself');
  });

  test('changes neither the spec nor the annotations of a pool, and no Lease but its own', async () => {
    await apply(undefined, namespace, pool({}));
    const refused = 'of a WorkerPool, the controller of Millrace may only change finalizers and the status';
    for (const change of [
      { spec: { maxReplicas: 3 } },
      { metadata: { annotations: { 'millrace.dev/paused': 'true' } } },
      { metadata: { labels: { a: 'b' } } },
    ])
      expect(await patch(POOLS, 'tiles', change), JSON.stringify(change)).toContain(refused);
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'other' } };
    expect(await tryTo(CONTROLLER, 'create', HOME, lease)).toContain('cannot create resource "leases"');
  });

  test(
    'is all that the controller needs: a pool wakes, sleeps, is changed and goes',
    { timeout: 120_000 },
    async () => {
      const token = (await server.kubectl(['create', 'token', 'millrace', '-n', HOME])).trim();
      const ending = new AbortController();
      await playDeployments(transport, ending.signal);
      await using controller = await startController({
        kubeconfig: await server.kubeconfigFor(token),
        args: ['--leader-election', '--lease-name', 'millrace', '--lease-namespace', HOME],
      });
      await controller.leading();
      await server.kubectl([
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
      expect(await apply('ada', namespace, pool(spec))).toMatch(/serverside-applied/);
      const replicas = async (): Promise<unknown> => (await objects.get(DEPLOYMENTS, ref)).spec?.replicas;
      const client = redis.client();
      await eventually(async () => expect(await replicas()).toBe(0), soon);
      await client.lpush(namespace, 'a', 'b', 'c');
      await eventually(async () => expect(await replicas()).toBe(3), soon);
      await client.del(namespace);
      await eventually(async () => expect(await replicas()).toBe(0), soon);
      const image = { ...container, image: 'worker:2' };
      expect(
        await apply('ada', namespace, pool({ ...spec, template: { spec: { containers: [image] } } })),
      ).toMatch(/applied/);
      await eventually(
        async () =>
          expect((await objects.get(DEPLOYMENTS, ref)).spec?.template.spec?.containers[0]?.image).toBe(
            'worker:2',
          ),
        soon,
      );
      await server.kubectl(['delete', 'wp', 'tiles', '-n', namespace, '--wait=false']);
      // the garbage collector, which does not run here, would end this once the pods are gone
      await eventually(
        async () =>
          expect((await objects.get(DEPLOYMENTS, ref)).metadata.finalizers).toEqual(['foregroundDeletion']),
        soon,
      );
      await objects.patch(DEPLOYMENTS, ref, { metadata: { finalizers: null } });
      await eventually(async () => expect(await objects.list(POOLS, namespace)).toEqual([]), soon);
      ending.abort();
      // the digits may also be those of a time
      const forbidden = controller
        .log()
        .filter((line) => /\b403\b|forbidden/i.test(JSON.stringify({ ...line, time: '' })));
      expect(forbidden).toEqual([]);
      expect(metric((await controller.get('/metrics')).body, 'millrace_leader')).toBe(1);
    },
  );
});
