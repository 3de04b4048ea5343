/**
 * The chart as Helm renders it, with every switch, and as a real API server takes it: installed, seen by RBAC, and
 * uninstalled without the definition (and with it everybody's pools) going too.
 */
import { execFile } from 'node:child_process';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { renderManifests } from '../../scripts/manifests.ts';
import { startApiServer } from '../support/apiserver.ts';
import { CHART, findHelm } from '../support/helm.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const chart = CHART;

/** As much of a manifest as these tests look at. */
interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string; annotations?: Record<string, string> };
  spec: PodTemplate & { replicas: number; template: { spec: PodSpec } };
  data?: Record<string, string>;
  rules?: { apiGroups: string[]; resources: string[]; verbs: string[]; resourceNames?: string[] }[];
}
interface PodSpec {
  containers: {
    name: string;
    image: string;
    args: string[];
    securityContext: object;
    imagePullPolicy: string;
  }[];
  securityContext: object;
}
type PodTemplate = PodSpec;

let helmPath: string;
beforeAll(async () => {
  helmPath = await findHelm();
}, 600_000);

async function helm(...args: string[]): Promise<string> {
  return (await run(helmPath, args)).stdout;
}

/** The manifests that the chart makes of these values, in the namespace `home`. */
async function template(...set: string[]): Promise<Manifest[]> {
  const values = set.flatMap((value) => ['--set', value]);
  const text = await helm('template', 'try', chart, '--namespace', 'home', ...values);
  return parseAllDocuments(text).flatMap((document): Manifest[] => document.toJS() ?? []);
}

const named = (manifests: Manifest[], kind: string): string[] =>
  manifests.filter((m) => m.kind === kind).map((m) => [m.metadata.namespace, m.metadata.name].join('/'));

const only = (manifests: Manifest[], kind: string, name?: string): Manifest => {
  const found = manifests.filter((m) => m.kind === kind && (name === undefined || m.metadata.name === name));
  if (found.length !== 1 || !found[0]) throw new Error(`${found.length} manifests of ${kind} ${name ?? ''}`);
  return found[0];
};

const monitoring = ['serviceMonitor', 'podMonitor', 'alerts', 'dashboard'].flatMap((what) => [
  `monitoring.${what}.enabled=true`,
  `monitoring.${what}.labels.release=prometheus`,
]);

describe('lint', () => {
  const modes = [
    [],
    monitoring,
    ['redis.enabled=true', 'networkPolicy.enabled=true'],
    ['watch.namespaces={a,b}', 'replicas=2', 'crds.install=false'],
  ];
  test.each(modes.map((set) => [set.join(' ') || 'defaults', set] as const))('%s', async (_name, set) => {
    const said = await helm('lint', '--strict', chart, ...set.flatMap((value) => ['--set', value]));
    expect(said).toContain('0 chart(s) failed');
  });
});

/** When a hook has its turn, and where. */
const turn = ({ kind, metadata }: Manifest): string =>
  `${metadata.annotations?.['helm.sh/hook-weight']} ${kind} ${metadata.namespace}`;

describe('what is installed', () => {
  test('by default: for the whole cluster, one replica, no Redis, no test', async () => {
    const manifests = await template();
    expect(manifests.map((m) => `${m.kind} ${m.metadata.name}`).toSorted()).toEqual([
      'ClusterRole try-millrace',
      'ClusterRole try-millrace-edit',
      'ClusterRole try-millrace-view',
      'ClusterRoleBinding try-millrace',
      'CustomResourceDefinition workerpools.millrace.dev',
      'Deployment try-millrace',
      'Lease try-millrace',
      'Role try-millrace-leader-election',
      'RoleBinding try-millrace-leader-election',
      'Service try-millrace',
      'ServiceAccount try-millrace',
      'ValidatingAdmissionPolicy try-millrace-advice',
      'ValidatingAdmissionPolicy try-millrace-controller',
      'ValidatingAdmissionPolicy try-millrace-pools',
      'ValidatingAdmissionPolicyBinding try-millrace-advice',
      'ValidatingAdmissionPolicyBinding try-millrace-controller',
      'ValidatingAdmissionPolicyBinding try-millrace-pools',
    ]);
    const definition = only(manifests, 'CustomResourceDefinition');
    expect(definition.metadata.annotations).toMatchObject({ 'helm.sh/resource-policy': 'keep' });
    const [controller] = only(manifests, 'Deployment').spec.template.spec.containers;
    expect(controller).toMatchObject({ image: 'millrace/controller:0.1.0', imagePullPolicy: 'IfNotPresent' });
    expect(controller?.args.some((flag) => flag.startsWith('--namespace'))).toBe(false);
  });

  test('for some namespaces: roles there, and nothing beyond them', async () => {
    const manifests = await template(
      'watch.namespaces={a,b}',
      'admission.enabled=false',
      'crds.install=false',
    );
    expect(named(manifests, 'Role').toSorted()).toEqual([
      'a/try-millrace',
      'b/try-millrace',
      'home/try-millrace-leader-election',
    ]);
    expect(named(manifests, 'RoleBinding').toSorted()).toEqual(named(manifests, 'Role').toSorted());
    expect(manifests.filter((m) => m.metadata.namespace === undefined)).toEqual([]);
    const [controller] = only(manifests, 'Deployment').spec.template.spec.containers;
    expect(controller?.args).toContain('--namespace=a,b');
  });

  test('two replicas: with a disruption budget, spread over nodes', async () => {
    const manifests = await template('replicas=2');
    expect(only(manifests, 'Deployment').spec.replicas).toBe(2);
    expect(only(manifests, 'Deployment').spec.template.spec).toHaveProperty('topologySpreadConstraints');
    expect(only(manifests, 'PodDisruptionBudget').spec).toMatchObject({ maxUnavailable: 1 });
  });

  test('the test is a hook, beside the Redis that it uses', async () => {
    const manifests = await template('redis.enabled=true', 'watch.namespaces={a}');
    const hooks = manifests.filter((m) => m.metadata.annotations?.['helm.sh/hook'] === 'test');
    expect(hooks.map(turn).toSorted()).toEqual([
      '-1 Secret a',
      '-1 Secret home',
      '0 WorkerPool a',
      '1 Pod home',
    ]);
    expect(only(manifests, 'WorkerPool').spec).toMatchObject({
      redis: { urlFrom: { secretKeyRef: { name: 'try-millrace-test', key: 'url' } } },
    });
    expect(named(manifests, 'Service')).toContain('home/try-millrace-redis');
    const known = await template('redis.enabled=true', 'redis.password=s3cretpassword');
    expect(only(known, 'Secret', 'try-millrace-test')).toMatchObject({
      stringData: { url: 'redis://default:s3cretpassword@try-millrace-redis.home:6379/0' },
    });
    expect(only(known, 'Secret', 'try-millrace-redis')).toMatchObject({
      stringData: { password: 's3cretpassword', 'redis.conf': 'requirepass s3cretpassword' },
    });
    const elsewhere = await template('test.redisUrl=rediss://:s3cret@other:6380/1');
    expect(only(elsewhere, 'Secret')).toMatchObject({ stringData: { url: 'rediss://:s3cret@other:6380/1' } });
    const shown = elsewhere.filter((m) => m.kind !== 'Secret' && JSON.stringify(m).includes('s3cret'));
    expect(shown).toEqual([]);
    const unread = await template('test.redisUrl=redis://other', 'rbac.secrets=none');
    expect(only(unread, 'WorkerPool').spec).toMatchObject({ redis: { url: 'redis://other' } });
    expect(named(elsewhere, 'Deployment')).toEqual(['home/try-millrace']);
  });

  test('with monitoring: what the Prometheus operator and Grafana look for, each with the labels that were asked for', async () => {
    const manifests = await template(...monitoring, 'watch.namespaces={a,b}');
    const kinds = ['ServiceMonitor', 'PodMonitor', 'PrometheusRule', 'ConfigMap'];
    const found = kinds.map((kind) => only(manifests, kind));
    for (const { metadata } of found) expect(metadata).toMatchObject({ labels: { release: 'prometheus' } });
    const [service, pods, rules, dashboard] = found;
    const controller = { 'app.kubernetes.io/component': 'controller' };
    expect(service?.spec).toMatchObject({
      selector: { matchLabels: controller },
      endpoints: [{ port: 'http', honorLabels: true }],
    });
    expect(only(manifests, 'Service').metadata).toMatchObject({ labels: controller });
    expect(only(manifests, 'Service').spec).toMatchObject({ ports: [{ name: 'http' }] });
    expect(pods?.spec).toMatchObject({ namespaceSelector: { matchNames: ['a', 'b'] } });
    // as they are in the files, with what is for Prometheus to fill in
    expect(rules?.spec).toEqual(parse(await readFile(join(chart, 'alerts/rules.yaml'), 'utf8')));
    expect(JSON.stringify(rules?.spec)).toContain('{{ $labels.pool }}');
    expect(dashboard?.metadata).toMatchObject({ labels: { grafana_dashboard: '1' } });
    expect(dashboard?.data?.['millrace.json']).toBe(
      await readFile(join(chart, 'dashboards/millrace.json'), 'utf8'),
    );
  });

  test('with network policies: the controller reaches what it needs, and the Redis is reached by workers and clients', async () => {
    expect(named(await template('redis.enabled=true'), 'NetworkPolicy')).toEqual([]);
    const set = ['redis.enabled=true', 'networkPolicy.enabled=true', 'networkPolicy.redisPorts={6379}'];
    const manifests = await template(...set);
    const [controller] = [only(manifests, 'NetworkPolicy', 'try-millrace')];
    expect(controller.spec).toMatchObject({
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ from: [{ podSelector: {} }, { namespaceSelector: {} }] }],
      egress: [
        { ports: [{ port: 53 }, { port: 53 }] },
        { ports: [{ port: 443 }, { port: 6443 }] },
        { ports: [{ port: 6379 }] },
        { to: [{ podSelector: {} }] },
      ],
    });
    expect(only(manifests, 'NetworkPolicy', 'try-millrace-redis').spec).toMatchObject({ egress: [] });
    const own = JSON.stringify(only(manifests, 'Deployment', 'try-millrace').spec.template);
    for (const label of ['"app.kubernetes.io/instance":"try"', '"app.kubernetes.io/component":"controller"'])
      expect(
        [own, JSON.stringify(controller.spec)].every((text) => text.includes(label)),
        label,
      ).toBe(true);
  });

  test('every pod runs without root, without capabilities and on a read-only disk', async () => {
    const manifests = await template('redis.enabled=true');
    const pods = manifests.flatMap((m) => {
      if (m.kind === 'Deployment' || m.kind === 'WorkerPool') return [m.spec.template.spec];
      return m.kind === 'Pod' ? [m.spec] : [];
    });
    expect(pods).toHaveLength(4);
    for (const pod of pods) {
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      for (const { securityContext } of pod.containers)
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
    }
  });
});

const lines = ({ rules = [] }: Manifest): string[] =>
  rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) => resources.map((resource) => `${group} ${resource}: ${verbs.join(' ')}`)),
  );

test('the controller may do what it does, and no more', async () => {
  const allowed = [
    'millrace.dev workerpools: list watch patch',
    'millrace.dev workerpools/status: patch',
    'millrace.dev workerpools/finalizers: update',
    'apps deployments: get list watch create patch delete',
    'apps deployments/scale: patch',
    ' pods: list watch patch',
    'autoscaling horizontalpodautoscalers: list watch',
    ' secrets: get',
    'events.k8s.io events: create patch',
  ];
  const clusterWide = await template();
  expect(lines(only(clusterWide, 'ClusterRole', 'try-millrace'))).toEqual(allowed);
  const inNamespace = await template('watch.namespaces={a}');
  expect(lines(only(inNamespace, 'Role', 'try-millrace'))).toEqual(allowed);
  expect(only(clusterWide, 'Role', 'try-millrace-leader-election').rules).toEqual([
    {
      apiGroups: ['coordination.k8s.io'],
      resources: ['leases'],
      resourceNames: ['try-millrace'],
      verbs: ['get', 'update'],
    },
  ]);
});

test('the controller reads the Secrets of those namespaces alone that rbac.secrets names', async () => {
  const secrets = (manifests: Manifest[]): string[] =>
    manifests
      .filter(({ rules }) => rules?.some(({ resources }) => resources?.includes('secrets')))
      .map(({ kind, metadata }) => `${kind} ${metadata.namespace}`);
  expect(secrets(await template())).toEqual(['ClusterRole undefined']);
  expect(secrets(await template('rbac.secrets=none'))).toEqual([]);
  const some = await template('rbac.secrets={a,b}');
  expect(secrets(some)).toEqual(['Role a', 'Role b']);
  expect(named(some, 'RoleBinding')).toContain('b/try-millrace-secrets');
  expect(secrets(await template('watch.namespaces={a,b}', 'rbac.secrets={b}'))).toEqual(['Role b']);
});

describe('the dashboard', () => {
  const argsOf = async (...set: string[]): Promise<string[]> =>
    only(await template(...set), 'Deployment').spec.template.spec.containers[0]?.args ?? [];

  test('asks who comes, by Kubernetes where nothing else is said', async () => {
    expect(await argsOf()).toContain('--dashboard-auth=kubernetes');
    const token = await argsOf('dashboard.tokenSecret.name=there');
    expect(token).toContain('--dashboard-auth=token');
    expect(token).toContain('--dashboard-token-file=/etc/millrace/dashboard/token');
    const none = await argsOf('dashboard.auth=none', 'dashboard.tokenSecret.name=there');
    expect(none).toContain('--dashboard-auth=none');
    expect(none.some((flag) => flag.startsWith('--dashboard-token-file'))).toBe(false);
    await expect(argsOf('dashboard.auth=token')).rejects.toThrow('set dashboard.tokenSecret.name');
  });

  test('is called by the names of its Service and those that were given', async () => {
    const names = ['try-millrace', 'try-millrace.home', 'try-millrace.home.svc'];
    const all = [...names, 'try-millrace.home.svc.cluster.local', 'ops.example.org'].join(',');
    expect(await argsOf('dashboard.hosts={ops.example.org}')).toContain(`--dashboard-hosts=${all}`);
  });

  test('speaks HTTPS with a Secret, to probes and Prometheus too; metrics can be for few', async () => {
    const set = ['dashboard.tls.secretName=cert', 'metrics.auth=kubernetes'];
    const manifests = await template(...set, 'monitoring.serviceMonitor.enabled=true');
    const { spec } = only(manifests, 'Deployment').spec.template;
    expect(spec).toMatchObject({
      volumes: [{ name: 'state' }, { name: 'tls', secret: { secretName: 'cert' } }],
      containers: [
        {
          livenessProbe: { httpGet: { scheme: 'HTTPS' } },
          readinessProbe: { httpGet: { scheme: 'HTTPS' } },
          volumeMounts: [{ name: 'state' }, { name: 'tls', mountPath: '/etc/millrace/tls', readOnly: true }],
        },
      ],
    });
    expect(spec.containers[0]?.args).toContain('--tls-cert-file=/etc/millrace/tls/tls.crt');
    expect(spec.containers[0]?.args).toContain('--metrics-auth=kubernetes');
    expect(only(manifests, 'ServiceMonitor').spec).toMatchObject({
      endpoints: [{ scheme: 'https', bearerTokenFile: expect.any(String) }],
    });
    expect(only(manifests, 'ClusterRole', 'try-millrace-metrics').rules).toEqual([
      { nonResourceURLs: ['/metrics'], verbs: ['get'] },
    ]);
  });
});

test('the hosts that pools may name reach the controller', async () => {
  const manifests = await template('redis.allowedHosts={*.redis.svc,10.1.0.0/16}');
  const [controller] = only(manifests, 'Deployment').spec.template.spec.containers;
  expect(controller?.args).toContain('--redis-allowed-hosts=*.redis.svc,10.1.0.0/16');
});

test('the user is left to the cluster where it wants to choose it; an image is named by its digest', async () => {
  const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
  const none = ['runAsUser', 'runAsGroup', 'fsGroup'].map((field) => `podSecurityContext.${field}=null`);
  const { spec } = only(await template(...none, `image.digest=${digest}`), 'Deployment').spec.template;
  expect(spec.securityContext).toEqual({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
  expect(spec.containers[0]?.image).toBe(`millrace/controller@${digest}`);
});

describe('bad values are refused', () => {
  test.each([
    ['replica=2', "additional properties 'replica' not allowed"],
    ['redis.enable=true', "additional properties 'enable' not allowed"],
    ['replicas=0', "at '/replicas': minimum"],
    ['replicas=two', "at '/replicas': got string, want integer"],
    ['logLevel=loud', "at '/logLevel'"],
    ['watch.namespaces=a', "at '/watch/namespaces': got string, want array"],
    ['watch.namespaces={Team_A}', "at '/watch/namespaces/0'"],
    ['image.pullPolicy=Sometimes', "at '/image/pullPolicy'"],
    ['resources.limits.memory=lots', "at '/resources/limits/memory'"],
    ['monitoring.alert.enabled=true', "additional properties 'alert' not allowed"],
    ['monitoring.podMonitor.interval=often', "at '/monitoring/podMonitor/interval'"],
    ['test.redisUrl=http://redis', "at '/test/redisUrl'"],
    ['rbac.secrets=some', "at '/rbac/secrets'"],
    ['image.digest=4f53', "at '/image/digest'"],
    ['redis.password=a b', "at '/redis/password'"],
  ])('%s', async (set, message) => {
    await expect(template(set)).rejects.toThrow(message);
  });
});

test('manifests/ is what the chart renders', async () => {
  for (const [name, text] of Object.entries(renderManifests(helmPath))) {
    expect(await readFile(join(root, 'manifests', name), 'utf8'), name).toBe(text);
    expect(text).not.toMatch(/helm\.sh|managed-by/);
  }
});

test('install, use and uninstall on an API server', { timeout: 120_000 }, async () => {
  await using server = await startApiServer();
  await using home = await mkdtempDisposable(join(tmpdir(), 'millrace-helm-'));
  const env = { ...process.env, KUBECONFIG: server.kubeconfig, HELM_CACHE_HOME: home.path };
  const here = (...args: string[]): Promise<unknown> => run(helmPath, ['-n', 'home', ...args], { env });
  await server.kubectl(['create', 'namespace', 'home']);
  await here('install', 'try', chart, '--set', 'redis.enabled=true,replicas=2,networkPolicy.enabled=true');
  await server.kubectl(['wait', '--for=condition=Established', 'crd/workerpools.millrace.dev']);

  const can = (who: string, ...what: string[]): Promise<string> =>
    server
      .kubectl(['auth', 'can-i', '-n', 'home', '--as', who, ...what])
      .catch((error: Error) => error.message);
  const controller = 'system:serviceaccount:home:try-millrace';
  expect(await can(controller, 'patch', 'deployments.apps', '--subresource=scale')).toMatch(/^yes/);
  expect(await can(controller, 'update', 'leases.coordination.k8s.io/try-millrace')).toMatch(/^yes/);
  expect(await can(controller, 'list', 'secrets')).not.toMatch(/^yes/);
  expect(await can(controller, 'delete', 'pods')).not.toMatch(/^yes/);

  await server.kubectl(['apply', '-n', 'home', '-f', join(root, 'manifests/samples/pool.yaml')]);
  const password = (): Promise<string> =>
    server.kubectl(['get', '-n', 'home', 'secret', 'try-millrace-redis', '-o', 'jsonpath={.data.password}']);
  const made = await password();
  expect(Buffer.from(made, 'base64').toString()).toMatch(/^[A-Za-z0-9]{32}$/);
  await here('upgrade', 'try', chart, '--reuse-values', '--set', 'logLevel=debug');
  // or pods would lose their Redis at each upgrade
  expect(await password()).toBe(made);
  await here('uninstall', 'try');
  expect(await server.kubectl(['get', '-n', 'home', 'wp', '-o', 'name'])).toContain('/upper');
  // a second release of the same name takes the definition over
  await here('install', 'try', chart);
  await here('uninstall', 'try');
  await server.kubectl(['apply', '--warnings-as-errors', '-f', join(root, 'manifests/install.yaml')]);
});
