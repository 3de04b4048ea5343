/**
 * The metrics for HorizontalPodAutoscalers behind the aggregation layer of a real API server, as the chart installs them, and the
 * real HPA controller scaling by them: to zero and back, and not at all while nothing is known.
 */
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { request as requestHttps } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AUTOSCALERS, DEPLOYMENTS, POOLS, type Resource } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/wire.ts';
import { startController, type ControllerProcess } from '../support/controller.ts';
import { startControllerManager } from '../support/controller-manager.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { installChart } from '../support/helm.ts';
import { millrace, type Ended } from '../support/millrace.ts';
import { freePort } from '../support/ports.ts';
import { rightIs } from '../support/rights.ts';
import { poolManifest, startWorld, type Json, type World } from '../support/world.ts';

const bounded = { everyMs: 100 };
const RELEASE = { name: 'try', namespace: 'home' };
const NAME = 'try-millrace';
const GROUP = '/apis/external.metrics.k8s.io/v1beta1';
const SERVICES: Resource<KubeObject> = { group: '', version: 'v1', plural: 'services' };

const stack = new AsyncDisposableStack();
let world: World;
let namespace: string;
/** Two replicas of the controller, with the account and the certificate that the chart has made. */
const controllers: { readonly process: ControllerProcess; readonly port: number }[] = [];

const kubectl = (...args: string[]): Promise<string> => world.server.kubectl(args);

beforeAll(async () => {
  world = stack.use(await startWorld({ aggregation: true }));
  namespace = await world.namespace();
  await installChart(world.server, RELEASE, 'externalMetrics.enabled=true', 'crds.install=false');
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'millrace-external-')));
  const files = { cert: join(folder.path, 'tls.crt'), key: join(folder.path, 'tls.key') };
  for (const path of Object.values(files)) {
    const field = path.endsWith('crt') ? 'tls\\.crt' : 'tls\\.key';
    const data = await kubectl(
      '-n',
      RELEASE.namespace,
      'get',
      'secret',
      `${NAME}-external-metrics`,
      '-o',
      `jsonpath={.data.${field}}`,
    );
    await writeFile(path, Buffer.from(data, 'base64'));
  }
  const token = (await kubectl('-n', RELEASE.namespace, 'create', 'token', NAME)).trim();
  const kubeconfig = await world.server.kubeconfigFor(token);
  for (const name of ['one', 'two']) {
    const port = await freePort();
    const process = stack.use(
      await startController({
        kubeconfig,
        args: [
          '--leader-election',
          '--lease-name',
          NAME,
          '--lease-namespace',
          RELEASE.namespace,
          '--external-metrics-port',
          String(port),
          '--external-metrics-tls-cert-file',
          files.cert,
          '--external-metrics-tls-key-file',
          files.key,
        ],
        env: { POD_NAME: name, POD_IP: '127.0.0.1' },
      }),
    );
    controllers.push({ process, port });
    // the second one knows who leads
    await (name === 'one'
      ? process.leading()
      : eventually(async () => expect((await process.get('/readyz')).status).toBe(200), bounded));
  }
  // there is no network of pods here: the Service leads to this machine
  await world.objects.remove(SERVICES, { namespace: RELEASE.namespace, name: NAME });
  await world.objects.create(SERVICES, RELEASE.namespace, {
    metadata: { name: NAME },
    spec: { type: 'ExternalName', externalName: 'localhost' },
  });
  await route(1);
}, 600_000);
afterAll(() => stack.disposeAsync());

/** Sends the API server's requests to one of the controllers. */
async function route(index: number): Promise<void> {
  const spec = { service: { port: controllers[index]?.port } };
  await kubectl(
    'patch',
    'apiservice',
    'v1beta1.external.metrics.k8s.io',
    '--type=merge',
    '-p',
    JSON.stringify({ spec }),
  );
  // it looks again every now and then
  await eventually(
    async () =>
      expect(
        await kubectl(
          'get',
          'apiservice',
          'v1beta1.external.metrics.k8s.io',
          '-o',
          'jsonpath={.status.conditions[?(@.type=="Available")].status}',
        ),
      ).toBe('True'),
    { withinMs: 60_000, everyMs: 200 },
  );
}

async function createPool(name: string, spec: Json = {}): Promise<void> {
  const scaling = { tasksPerReplica: 2, scaleDown: { window: '0s' } };
  const measured = { mode: 'DryRun', template: undefined, scaleTargetRef: { name: `${name}-workers` } };
  await world.objects.create(
    POOLS,
    namespace,
    poolManifest(name, world.redis, { queue: `${namespace}:${name}`, scaling, ...measured, ...spec }),
  );
}

async function createWorkers(name: string, replicas: number): Promise<void> {
  const labels = { app: name };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'theirs:1' }] } };
  const spec = { replicas, selector: { matchLabels: labels }, template };
  await world.objects.create(DEPLOYMENTS, namespace, { metadata: { name: `${name}-workers` }, spec });
}

interface Values {
  readonly items: readonly { readonly metricLabels: Json; readonly value: string }[];
}

const get = async (metric: string, selector = ''): Promise<Values> => {
  const query = selector === '' ? '' : `?labelSelector=${encodeURIComponent(selector)}`;
  return JSON.parse(
    await kubectl('get', '--raw', `${GROUP}/namespaces/${namespace}/${metric}${query}`),
  ) as Values;
};
const valueOf = async (metric: string, pool: string): Promise<string | undefined> =>
  (await get(metric, `pool=${pool}`)).items[0]?.value;

describe('the API', () => {
  test('is discovered, and a standby passes requests on to the leader', async () => {
    const { resources } = JSON.parse(await kubectl('get', '--raw', GROUP)) as { resources: Json[] };
    expect(resources.map(({ name }) => name)).toEqual([
      'millrace_tasks',
      'millrace_desired_replicas',
      'millrace_oldest_wait_seconds',
    ]);
    expect(await kubectl('api-resources', '--api-group=external.metrics.k8s.io')).toContain('millrace_tasks');
  });

  test('has what a pool sees, by its name and its labels', async () => {
    const redis = world.redis.client();
    for (const name of ['red', 'green']) await createPool(name);
    await kubectl('-n', namespace, 'label', 'workerpool', 'red', 'tier=paid');
    await createWorkers('red', 1);
    await redis.lpush(`${namespace}:red`, 'a', 'b', 'c');
    await eventually(async () => expect(await valueOf('millrace_tasks', 'red')).toBe('3'), bounded);
    await eventually(
      async () => expect(await valueOf('millrace_desired_replicas', 'red')).toBe('2'),
      bounded,
    );
    await eventually(async () => expect(await valueOf('millrace_tasks', 'green')).toBe('0'), bounded);
    const waited = async (): Promise<number> =>
      Number((await valueOf('millrace_oldest_wait_seconds', 'red'))?.replace(/m$/, ''));
    await eventually(async () => expect(await waited()).toBeGreaterThan(0), bounded);
    const named = async (selector: string): Promise<unknown[]> =>
      (await get('millrace_tasks', selector)).items.map(({ metricLabels }) => metricLabels['pool']);
    expect(await named('tier=paid')).toEqual(['red']);
    expect(await named('pool in (red,green),!tier')).toEqual(['green']);
    expect(new Set(await named(''))).toEqual(new Set(['green', 'red']));
  });

  test('answers with an error, and its reason, what it does not know', async () => {
    await expect(get('millrace_tasks', 'pool=blue')).rejects.toThrow(
      `no WorkerPool in namespace "${namespace}" matches "pool=blue"`,
    );
    await expect(get('millrace_speed')).rejects.toThrow('there is no metric millrace_speed');
    await expect(get('millrace_tasks', 'pool in red')).rejects.toThrow(
      'not a requirement of a label selector',
    );
    // a pool whose Deployment is not there is measured and not decided
    await expect(get('millrace_desired_replicas', 'pool=green')).rejects.toThrow('green-workers');
    const redis = { url: 'redis://127.0.0.1:1/0' };
    await createPool('lost', { redis });
    await eventually(
      () =>
        expect(get('millrace_tasks', 'pool=lost')).rejects.toThrow(/"lost" is not known: .*127\.0\.0\.1:1/),
      bounded,
    );
  });

  test('is for the API server and for tokens with the right, and for no one else', async () => {
    await kubectl('-n', namespace, 'create', 'serviceaccount', 'reader');
    await kubectl('-n', namespace, 'create', 'serviceaccount', 'stranger');
    const role = ['--verb=get', '--resource=millrace_tasks.external.metrics.k8s.io'];
    await kubectl('-n', namespace, 'create', 'role', 'tasks', ...role);
    const bind = ['--role=tasks', `--serviceaccount=${namespace}:reader`];
    await kubectl('-n', namespace, 'create', 'rolebinding', 'tasks', ...bind);
    const right = {
      verb: 'get',
      namespace,
      group: 'external.metrics.k8s.io',
      resource: 'millrace_tasks',
    };
    await rightIs(world.transport, `system:serviceaccount:${namespace}:reader`, right, true);
    const tokenOf = async (name: string): Promise<string> =>
      (await kubectl('-n', namespace, 'create', 'token', name)).trim();
    const ask = async (metric: string, headers: Record<string, string>): Promise<number | undefined> => {
      const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
      const path = `${GROUP}/namespaces/${namespace}/${metric}?labelSelector=pool%3Dred`;
      const request = requestHttps(
        {
          host: '127.0.0.1',
          port: controllers[0]?.port,
          path,
          headers,
          agent: false,
          rejectUnauthorized: false,
        },
        (response) => void text(response).then(() => resolve(response.statusCode), reject),
      );
      request.once('error', reject).end();
      return promise;
    };
    const reader = { authorization: `Bearer ${await tokenOf('reader')}` };
    expect(await ask('millrace_tasks', reader)).toBe(200);
    expect(await ask('millrace_desired_replicas', reader)).toBe(403);
    expect(await ask('millrace_tasks', { authorization: `Bearer ${await tokenOf('stranger')}` })).toBe(403);
    expect(await ask('millrace_tasks', {})).toBe(401);
    // only the API server's certificate makes these headers true
    const forged = { 'x-remote-user': 'admin', 'x-remote-group': 'system:masters' };
    expect(await ask('millrace_tasks', forged)).toBe(401);
    const as = ['--as', `system:serviceaccount:${namespace}:stranger`];
    const path = `${GROUP}/namespaces/${namespace}/millrace_tasks`;
    await expect(kubectl(...as, 'get', '--raw', path)).rejects.toThrow(/forbidden/i);
  });
});

describe('a HorizontalPodAutoscaler', () => {
  /** Zero since Kubernetes 1.37. */
  let lowest: number;

  beforeAll(async () => {
    const { minor } = JSON.parse(await kubectl('get', '--raw', '/version')) as { minor: string };
    lowest = Number(minor) >= 37 ? 0 : 1;
    const own = ['horizontal-pod-autoscaler', 'deployment', 'replicaset'];
    stack.use(
      await startControllerManager(
        world.server,
        own.map((name) => `${name}-controller`),
      ),
    );
  });

  async function createAutoscaler(name: string): Promise<void> {
    const metric = { name: 'millrace_tasks', selector: { matchLabels: { pool: name } } };
    const target = { type: 'AverageValue', averageValue: '2' };
    await world.objects.create(AUTOSCALERS, namespace, {
      metadata: { name },
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: `${name}-workers` },
        minReplicas: lowest,
        maxReplicas: 5,
        metrics: [{ type: 'External', external: { metric, target } }],
        behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
      },
    });
  }

  const replicas = async (name: string): Promise<number | undefined> =>
    (await world.objects.get(DEPLOYMENTS, { namespace, name: `${name}-workers` })).spec?.replicas;
  const replicasAre = (name: string, count: number): Promise<void> =>
    eventually(async () => expect(await replicas(name)).toBe(count), bounded);
  const isActive = async (name: string): Promise<string> =>
    await kubectl(
      '-n',
      namespace,
      'get',
      'hpa',
      name,
      '-o',
      'jsonpath={range .status.conditions[?(@.type=="ScalingActive")]}{.reason}: {.message}',
    );
  const doctor = (): Promise<Ended> =>
    millrace(['doctor', '-n', namespace], { env: { KUBECONFIG: world.server.kubeconfig } });

  test('goes to zero, to what the tasks need, and back, and holds while Redis is away', async () => {
    const redis = world.redis.client();
    await createWorkers('mail', 1);
    await createPool('mail');
    await createAutoscaler('mail');
    await replicasAre('mail', lowest);
    await redis.lpush(`${namespace}:mail`, 'a', 'b', 'c', 'd', 'e', 'f');
    await replicasAre('mail', 3);
    // its metrics may have been late just now, which doctor then reports instead
    await eventually(
      async () =>
        expect((await doctor()).stdout).toContain(
          `autoscaler ${namespace}/mail: it scales Deployment "mail-workers"`,
        ),
      bounded,
    );
    world.redis.stop();
    try {
      await eventually(
        async () => expect(await isActive('mail')).toMatch(/^FailedGetExternalMetric: .*"mail" is not known/),
        bounded,
      );
      await throughout(2_000, async () => expect(await replicas('mail')).toBe(3));
    } finally {
      world.redis.cont();
    }
    await redis.del(`${namespace}:mail`);
    await replicasAre('mail', lowest);
    // the pool has written nothing; its status follows a moment after the metrics
    await eventually(async () => {
      const { status } = await world.objects.get(POOLS, { namespace, name: 'mail' });
      expect(status?.conditions?.find(({ type }) => type === 'Ready')).toMatchObject({ reason: 'DryRun' });
    }, bounded);
  });

  test('whose Deployment began at zero never wakes it, which doctor finds', async () => {
    await createWorkers('late', 0);
    await createPool('late');
    await world.redis.client().lpush(`${namespace}:late`, 'a', 'b', 'c');
    await createAutoscaler('late');
    await eventually(async () => expect(await isActive('late')).toMatch(/^ScalingDisabled: /), bounded);
    const { stdout } = await doctor();
    const [, remedy = ''] =
      /^warn {2}autoscaler \S+late: .* never wakes one that was not\n +→ kubectl (.*), once$/m.exec(stdout) ??
      [];
    expect(remedy).toBe(`-n ${namespace} scale deployment late-workers --replicas 1`);
    await kubectl(...remedy.split(' '));
    await replicasAre('late', 2);
  });
});
