/** What the chart allows: the controller's rights, its pods, its network, and who may open the dashboard. */
import { beforeAll, describe, expect, test } from 'vitest';
import { ofController } from '../../cli/doctor/rights.ts';
import { named, only, openChart, type Chart, type Manifest } from '../support/chart.ts';

let chart: Chart;
beforeAll(async () => {
  chart = await openChart();
}, 600_000);

const lines = ({ rules = [] }: Manifest): string[] =>
  rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) => resources.map((resource) => `${group} ${resource}: ${verbs.join(' ')}`)),
  );

test('the controller has the rights that it uses, and no others', async () => {
  const allowed = [
    'millrace.dev workerpools: list watch patch',
    'millrace.dev workerpools/status: patch',
    'millrace.dev workerpools/finalizers: update',
    'apps deployments: get list watch create patch delete',
    'apps deployments/scale: patch',
    'batch jobs: get list watch create patch delete',
    ' pods: list watch patch',
    ' pods/resize: patch',
    'autoscaling horizontalpodautoscalers: list watch',
    ' secrets: get',
    'events.k8s.io events: create patch',
  ];
  const clusterWide = await chart.template();
  // all that `millrace doctor` asks for, and of what it does not ask for, only what a controller can do without
  const asked = ofController.map(({ group, resource, verb }) => `${group} ${resource} ${verb}`);
  const given = allowed.flatMap((line) => {
    const [what = '', verbs = ''] = line.split(': ');
    return verbs.split(' ').map((verb) => `${what} ${verb}`);
  });
  expect(given.filter((one) => !asked.includes(one) && !one.startsWith('autoscaling '))).toEqual([]);
  expect(asked.filter((one) => !given.includes(one))).toEqual([]);
  expect(lines(only(clusterWide, 'ClusterRole', 'try-millrace'))).toEqual(allowed);
  const inNamespace = await chart.template('watch.namespaces={a}');
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

test('external metrics need two more rights: to ask what a user may do, and to know the API server', async () => {
  const manifests = await chart.template('externalMetrics.enabled=true');
  expect(lines(only(manifests, 'ClusterRole', 'try-millrace-external-metrics'))).toEqual([
    'authorization.k8s.io subjectaccessreviews: create',
  ]);
  expect(named(manifests, 'RoleBinding')).toContain('kube-system/try-millrace-external-metrics');
  const without = await chart.template('externalMetrics.enabled=true', 'rbac.create=false');
  expect(JSON.stringify(without)).not.toMatch(/subjectaccessreviews|authentication-reader/);
  expect(JSON.stringify(await chart.template('kedaScaler.enabled=true'))).not.toMatch(/subjectaccessreviews/);
});

test('network policies: anyone may try the port that only the API server can use, and KEDA has its own', async () => {
  const set = ['networkPolicy.enabled=true', 'externalMetrics.enabled=true', 'kedaScaler.enabled=true'];
  const { spec } = only(await chart.template(...set), 'NetworkPolicy', 'try-millrace');
  expect(spec).toMatchObject({
    ingress: [
      { ports: [{ port: 'http' }] },
      { ports: [{ port: 'extmetrics' }] },
      {
        ports: [{ port: 'kedascaler' }],
        from: [
          { podSelector: {} },
          { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'keda' } } },
        ],
      },
    ],
    egress: [{}, {}, {}, { ports: [{ port: 'http' }, { port: 'extmetrics' }, { port: 'kedascaler' }] }],
  });
});

test('the controller may read Secrets only in the namespaces of rbac.secrets', async () => {
  const secrets = (manifests: Manifest[]): string[] =>
    manifests
      .filter(({ rules }) => rules?.some(({ resources }) => resources?.includes('secrets')))
      .map(({ kind, metadata }) => `${kind} ${metadata.namespace}`);
  expect(secrets(await chart.template())).toEqual(['ClusterRole undefined']);
  expect(secrets(await chart.template('rbac.secrets=none'))).toEqual([]);
  const some = await chart.template('rbac.secrets={a,b}');
  expect(secrets(some)).toEqual(['Role a', 'Role b']);
  expect(named(some, 'RoleBinding')).toContain('b/try-millrace-secrets');
  expect(secrets(await chart.template('watch.namespaces={a,b}', 'rbac.secrets={b}'))).toEqual(['Role b']);
});

test('network policies: the controller reaches what it needs, and workers and clients reach the Redis', async () => {
  expect(named(await chart.template('redis.enabled=true'), 'NetworkPolicy')).toEqual([]);
  const set = ['redis.enabled=true', 'networkPolicy.enabled=true', 'networkPolicy.redisPorts={6379}'];
  const manifests = await chart.template(...set);
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

test('every pod runs without root and capabilities, on a read-only file system', async () => {
  const manifests = await chart.template('redis.enabled=true');
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

test('the cluster may assign the user; an image may be pinned by its digest', async () => {
  const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
  const none = ['runAsUser', 'runAsGroup', 'fsGroup'].map((field) => `podSecurityContext.${field}=null`);
  const { spec } = only(await chart.template(...none, `image.digest=${digest}`), 'Deployment').spec.template;
  expect(spec.securityContext).toEqual({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
  expect(spec.containers[0]?.image).toBe(`millrace/controller@${digest}`);
});

test('the controller gets the allowed hosts', async () => {
  const manifests = await chart.template('redis.allowedHosts={*.redis.svc,10.1.0.0/16}');
  const [controller] = only(manifests, 'Deployment').spec.template.spec.containers;
  expect(controller?.args).toContain('--redis-allowed-hosts=*.redis.svc,10.1.0.0/16');
});

describe('the dashboard', () => {
  const argsOf = async (...set: string[]): Promise<readonly string[]> =>
    only(await chart.template(...set), 'Deployment').spec.template.spec.containers[0]?.args ?? [];

  test('requires a sign-in, with Kubernetes by default', async () => {
    expect(await argsOf()).toContain('--dashboard-auth=kubernetes');
    const token = await argsOf('dashboard.tokenSecret.name=there');
    expect(token).toContain('--dashboard-auth=token');
    expect(token).toContain('--dashboard-token-file=/etc/millrace/dashboard/token');
    const none = await argsOf('dashboard.auth=none', 'dashboard.tokenSecret.name=there');
    expect(none).toContain('--dashboard-auth=none');
    expect(none.some((flag) => flag.startsWith('--dashboard-token-file'))).toBe(false);
    await expect(argsOf('dashboard.auth=token')).rejects.toThrow('set dashboard.tokenSecret.name');
  });

  test('has the host names of its Service and the given ones', async () => {
    const names = ['try-millrace', 'try-millrace.home', 'try-millrace.home.svc'];
    const all = [...names, 'try-millrace.home.svc.cluster.local', 'ops.example.org'].join(',');
    expect(await argsOf('dashboard.hosts={ops.example.org}')).toContain(`--dashboard-hosts=${all}`);
  });

  test('serves HTTPS with a Secret, for probes and Prometheus too; metrics can be restricted', async () => {
    const set = ['dashboard.tls.secretName=cert', 'metrics.auth=kubernetes'];
    const manifests = await chart.template(...set, 'monitoring.serviceMonitor.enabled=true');
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
