/** The chart as Helm renders it with every switch: what is installed, what is refused, and that `manifests/` is the same. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { renderManifests } from '../../scripts/manifests.ts';
import { named, only, openChart, type Chart, type Manifest } from '../support/chart.ts';
import { CHART } from '../support/helm.ts';

const root = join(import.meta.dirname, '../..');

let chart: Chart;
beforeAll(async () => {
  chart = await openChart();
}, 600_000);

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
    ['externalMetrics.enabled=true', 'kedaScaler.enabled=true', 'networkPolicy.enabled=true'],
  ];
  test.each(modes.map((set) => [set.join(' ') || 'defaults', set] as const))('%s', async (_name, set) => {
    const output = await chart.helm('lint', '--strict', CHART, ...set.flatMap((value) => ['--set', value]));
    expect(output).toContain('0 chart(s) failed');
  });
});

/** The order of a hook, and its namespace. */
const hookOf = ({ kind, metadata }: Manifest): string =>
  `${metadata.annotations?.['helm.sh/hook-weight']} ${kind} ${metadata.namespace}`;

describe('what is installed', () => {
  test('by default: for the whole cluster, one replica, no Redis, no test', async () => {
    const manifests = await chart.template();
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

  test('for some namespaces: roles there, and nothing cluster-wide', async () => {
    const manifests = await chart.template(
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
    const manifests = await chart.template('replicas=2');
    expect(only(manifests, 'Deployment').spec.replicas).toBe(2);
    expect(only(manifests, 'Deployment').spec.template.spec).toHaveProperty('topologySpreadConstraints');
    expect(only(manifests, 'PodDisruptionBudget').spec).toMatchObject({ maxUnavailable: 1 });
  });

  test('the test is a hook, next to the Redis that it uses', async () => {
    const manifests = await chart.template('redis.enabled=true', 'watch.namespaces={a}');
    const hooks = manifests.filter((m) => m.metadata.annotations?.['helm.sh/hook'] === 'test');
    expect(hooks.map(hookOf).toSorted()).toEqual([
      '-1 Secret a',
      '-1 Secret home',
      '0 WorkerPool a',
      '1 Pod home',
    ]);
    expect(only(manifests, 'WorkerPool').spec).toMatchObject({
      redis: { urlFrom: { secretKeyRef: { name: 'try-millrace-test', key: 'url' } } },
    });
    expect(named(manifests, 'Service')).toContain('home/try-millrace-redis');
    const known = await chart.template('redis.enabled=true', 'redis.password=s3cretpassword');
    expect(only(known, 'Secret', 'try-millrace-test')).toMatchObject({
      stringData: { url: 'redis://default:s3cretpassword@try-millrace-redis.home:6379/0' },
    });
    expect(only(known, 'Secret', 'try-millrace-redis')).toMatchObject({
      stringData: { password: 's3cretpassword', 'redis.conf': 'requirepass s3cretpassword' },
    });
    const elsewhere = await chart.template('test.redisUrl=rediss://:s3cret@other:6380/1');
    expect(only(elsewhere, 'Secret')).toMatchObject({ stringData: { url: 'rediss://:s3cret@other:6380/1' } });
    const shown = elsewhere.filter((m) => m.kind !== 'Secret' && JSON.stringify(m).includes('s3cret'));
    expect(shown).toEqual([]);
    const unread = await chart.template('test.redisUrl=redis://other', 'rbac.secrets=none');
    expect(only(unread, 'WorkerPool').spec).toMatchObject({ redis: { url: 'redis://other' } });
    expect(named(elsewhere, 'Deployment')).toEqual(['home/try-millrace']);
  });

  test('with monitoring: the objects of the Prometheus operator and Grafana, each with the given labels', async () => {
    const manifests = await chart.template(...monitoring, 'watch.namespaces={a,b}');
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
    // as they are in the files, with Prometheus' own templates left in
    expect(rules?.spec).toEqual(parse(await readFile(join(CHART, 'alerts/rules.yaml'), 'utf8')));
    expect(JSON.stringify(rules?.spec)).toContain('{{ $labels.pool }}');
    expect(dashboard?.metadata).toMatchObject({ labels: { grafana_dashboard: '1' } });
    expect(dashboard?.data?.['millrace.json']).toBe(
      await readFile(join(CHART, 'dashboards/millrace.json'), 'utf8'),
    );
  });
});

describe('for other autoscalers', () => {
  const argsOf = (manifests: Manifest[], about: string): string[] => {
    const [controller] = only(manifests, 'Deployment').spec.template.spec.containers;
    return (controller?.args ?? []).filter((flag) => flag.includes(about));
  };

  test('external metrics: an APIService by which the API server knows the certificate that was made', async () => {
    const manifests = await chart.template('externalMetrics.enabled=true');
    const secret = only(manifests, 'Secret', 'try-millrace-external-metrics');
    const { 'ca.crt': ca = '', 'tls.crt': cert = '', 'tls.key': key = '' } = secret.data ?? {};
    expect(only(manifests, 'APIService')).toMatchObject({
      metadata: { name: 'v1beta1.external.metrics.k8s.io' },
      spec: { caBundle: ca, service: { name: 'try-millrace', namespace: 'home', port: 443 } },
    });
    const own = new X509Certificate(Buffer.from(cert, 'base64'));
    expect(own.verify(new X509Certificate(Buffer.from(ca, 'base64')).publicKey)).toBe(true);
    expect(own.checkHost('try-millrace.home.svc')).toBe('try-millrace.home.svc');
    expect(own.checkPrivateKey(createPrivateKey(Buffer.from(key, 'base64')))).toBe(true);
    expect(own.validToDate.getTime() - Date.now()).toBeGreaterThan(9 * 365 * 86_400_000);
    expect(only(manifests, 'Service').spec).toMatchObject({
      ports: [{ name: 'http' }, { name: 'external-metrics', port: 443, targetPort: 'extmetrics' }],
    });
    expect(argsOf(manifests, 'external-metrics')).toEqual([
      '--external-metrics-port=8443',
      '--external-metrics-tls-cert-file=/etc/millrace/external-metrics/tls.crt',
      '--external-metrics-tls-key-file=/etc/millrace/external-metrics/tls.key',
    ]);
  });

  test('external metrics with a certificate of one’s own', async () => {
    const set = ['externalMetrics.enabled=true', 'externalMetrics.tls.secretName=mine'];
    await expect(chart.template(...set)).rejects.toThrow('set externalMetrics.tls.caBundle to the authority');
    const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----';
    const manifests = await chart.template(...set, `externalMetrics.tls.caBundle=${pem}`);
    expect(named(manifests, 'Secret')).toEqual([]);
    expect(only(manifests, 'APIService').spec).toMatchObject({
      caBundle: Buffer.from(pem).toString('base64'),
    });
    expect(only(manifests, 'Deployment').spec.template.spec).toMatchObject({
      volumes: [{ name: 'state' }, { name: 'external-metrics', secret: { secretName: 'mine' } }],
    });
  });

  test("KEDA's external scaler: plain, over TLS, and for certificates alone", async () => {
    const on = 'kedaScaler.enabled=true';
    expect(argsOf(await chart.template(), 'keda')).toEqual([]);
    const plain = await chart.template(on, 'kedaScaler.port=6000');
    expect(argsOf(plain, 'keda')).toEqual(['--keda-scaler-port=9090']);
    expect(only(plain, 'Service').spec).toMatchObject({
      ports: [{ name: 'http' }, { name: 'keda-scaler', port: 6000, targetPort: 'kedascaler' }],
    });
    const secret = 'kedaScaler.tls.secretName=keda-tls';
    const folder = '/etc/millrace/keda-scaler';
    const files = [
      `--keda-scaler-tls-cert-file=${folder}/tls.crt`,
      `--keda-scaler-tls-key-file=${folder}/tls.key`,
    ];
    expect(argsOf(await chart.template(on, secret), 'keda-scaler-tls')).toEqual(files);
    const mutual = await chart.template(on, secret, 'kedaScaler.tls.clientCertificates=true');
    expect(argsOf(mutual, 'client-ca')).toEqual([`--keda-scaler-client-ca-file=${folder}/ca.crt`]);
  });
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
    ['externalMetrics.tls.caBundle=mine', "at '/externalMetrics/tls/caBundle'"],
    ['kedaScaler.port=0', "at '/kedaScaler/port'"],
  ])('%s', async (set, message) => {
    await expect(chart.template(set)).rejects.toThrow(message);
  });
});

test('manifests/ is what the chart renders', async () => {
  for (const [name, text] of Object.entries(renderManifests(chart.helmPath))) {
    expect(await readFile(join(root, 'manifests', name), 'utf8'), name).toBe(text);
    expect(text).not.toMatch(/helm\.sh|managed-by/);
  }
});
