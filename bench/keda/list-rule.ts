/**
 * KEDA's rule for a Redis list, on a cluster made with kind: Kubernetes' own HorizontalPodAutoscaler, fed with the length of the list
 * as an external metric, and KEDA's own part in a loop, as its documentation and its source (2.21) have it: each `pollingInterval`
 * the list is read; work raises a Deployment at zero to one, and none for `cooldownPeriod` takes it back to zero. All times are divided
 * by the same number, so that an experiment takes minutes instead of hours.
 *
 * KEDA itself is some 3,700 packages of Go to compile, most of them for queues of clouds.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Redis } from 'ioredis';
import type { Cluster } from '../../test/kind/cluster.ts';
import { makeCertificates } from '../../test/support/certificates.ts';
import { eventually } from '../../test/support/eventually.ts';

const run = promisify(execFile);

/** Defaults, in s: of a ScaledObject, and of an HPA in Kubernetes. */
const POLLING_S = 30;
const COOLDOWN_S = 300;
const STABILIZATION_S = 300;
const PERIOD_S = 15;
/** How often the HPA controller looks. */
const SYNC_S = 15;

const GROUP = 'external.metrics.k8s.io';
const METRIC = 'list-length';

export interface ListRule {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly deployment: string;
  readonly maxReplicas: number;
  /** A client of the list's database. */
  readonly redis: Redis;
  readonly list: string;
  readonly tasksPerReplica: number;
  /** What all times are divided by. */
  readonly faster: number;
}

/** Scales by that rule until it is disposed of. Resolves when the HPA's metric is served. */
export async function startListRule(rule: ListRule): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  await quickenHpa(rule);
  const port = stack.use(await serveLength(rule)).port;
  await applyMetric(rule, port);
  await apply(rule, horizontalPodAutoscaler(rule));
  stack.use(activate(rule));
  return stack.move();
}

/** The kubelet starts the controller manager anew when its manifest has changed. */
async function quickenHpa({ cluster, faster }: ListRule): Promise<void> {
  const node = `${cluster.place.name}-control-plane`;
  const flag = '--horizontal-pod-autoscaler-sync-period';
  const file = '/etc/kubernetes/manifests/kube-controller-manager.yaml';
  const edit = `s|^    - kube-controller-manager$|&\\n    - ${flag}=${(SYNC_S * 1_000) / faster}ms|`;
  await run('docker', ['exec', node, 'sh', '-c', `grep -q -e ${flag} ${file} || sed -i '${edit}' ${file}`]);
  const pod = ['get', 'pod', '--namespace', 'kube-system', `kube-controller-manager-${node}`, '--output'];
  const what = 'jsonpath={.spec.containers[0].command} {.status.containerStatuses[0].ready}';
  await eventually(
    async () => {
      const shown = await cluster.kubectl([...pod, what]);
      if (!shown.includes(flag) || !shown.endsWith(' true'))
        throw new Error(`the controller manager has not started anew: ${shown}`);
    },
    { withinMs: 120_000, everyMs: 500 },
  );
}

/** An API server for the one metric, on this machine. */
async function serveLength({ redis, list }: ListRule): Promise<{ port: number } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-metric-'));
  const { cert, key } = await makeCertificates(folder);
  await rm(folder, { recursive: true });
  const version = `${GROUP}/v1beta1`;
  const server = createServer({ cert, key }, (request, response) => {
    const asked = request.url?.includes('/namespaces/') === true;
    const length = asked ? redis.llen(list) : Promise.resolve(0);
    void length.then((value) => {
      const item = { metricName: METRIC, metricLabels: {}, timestamp: new Date(), value: String(value) };
      const kind = 'ExternalMetricValueList';
      const resource = { name: METRIC, singularName: '', namespaced: true, kind, verbs: ['get'] };
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify(
          asked
            ? { kind, apiVersion: version, metadata: {}, items: [item] }
            : { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: version, resources: [resource] },
        ),
      );
    });
  });
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** The API server finds the metric behind a Service without pods, and lets the HPA controller read it. */
async function applyMetric(rule: ListRule, port: number): Promise<void> {
  const { cluster, namespace } = rule;
  const node = `${cluster.place.name}-control-plane`;
  const gateway = ['inspect', '--format', '{{.NetworkSettings.Networks.kind.Gateway}}', node];
  const address = (await run('docker', gateway)).stdout.trim();
  const name = 'list-length';
  const labels = { 'kubernetes.io/service-name': name };
  const role = { apiVersion: 'rbac.authorization.k8s.io/v1', metadata: { name: `${name}-${namespace}` } };
  await apply(rule, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { ports: [{ port: 443 }] },
  });
  await apply(rule, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, labels },
    addressType: 'IPv4',
    ports: [{ port, protocol: 'TCP' }],
    endpoints: [{ addresses: [address] }],
  });
  await apply(rule, {
    ...role,
    kind: 'ClusterRole',
    rules: [{ apiGroups: [GROUP], resources: ['*'], verbs: ['get', 'list'] }],
  });
  await apply(rule, {
    ...role,
    kind: 'ClusterRoleBinding',
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role.metadata.name },
    subjects: [{ kind: 'ServiceAccount', name: 'horizontal-pod-autoscaler', namespace: 'kube-system' }],
  });
  await apply(rule, {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name: `v1beta1.${GROUP}` },
    spec: {
      group: GROUP,
      version: 'v1beta1',
      service: { name, namespace },
      insecureSkipTLSVerify: true,
      groupPriorityMinimum: 100,
      versionPriority: 100,
    },
  });
  const ready = ['--for', 'condition=Available', '--timeout', '120s'];
  await cluster.kubectl(['wait', `apiservice/v1beta1.${GROUP}`, ...ready]);
}

/** As KEDA makes it, with the behavior that Kubernetes has by default. */
function horizontalPodAutoscaler(rule: ListRule): object {
  const { deployment: name, maxReplicas, tasksPerReplica, faster } = rule;
  const seconds = (s: number): number => Math.max(1, Math.round(s / faster));
  const all = { type: 'Percent', value: 100, periodSeconds: seconds(PERIOD_S) };
  const four = { type: 'Pods', value: 4, periodSeconds: seconds(PERIOD_S) };
  const target = { type: 'AverageValue', averageValue: String(tasksPerReplica) };
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
      minReplicas: 1,
      maxReplicas,
      metrics: [{ type: 'External', external: { metric: { name: METRIC }, target } }],
      behavior: {
        scaleUp: { stabilizationWindowSeconds: 0, selectPolicy: 'Max', policies: [all, four] },
        scaleDown: { stabilizationWindowSeconds: seconds(STABILIZATION_S), policies: [all] },
      },
    },
  };
}

/** Between zero and one. */
function activate({ cluster, namespace, deployment, redis, list, faster }: ListRule): AsyncDisposable {
  const ending = new AbortController();
  const where = ['--namespace', namespace, `deployment/${deployment}`];
  const scale = async (replicas: number): Promise<void> => {
    const wanted = ['get', ...where, '--output', 'jsonpath={.spec.replicas}'];
    const now = Number(await cluster.kubectl(wanted));
    if ((now === 0) !== (replicas === 0))
      await cluster.kubectl(['scale', ...where, `--replicas=${replicas}`]);
  };
  const loop = async (): Promise<void> => {
    let activeAt = performance.now();
    while (!ending.signal.aborted) {
      const active = (await redis.llen(list)) > 0;
      if (active) activeAt = performance.now();
      if (active) await scale(1);
      else if (performance.now() - activeAt >= (COOLDOWN_S * 1_000) / faster) await scale(0);
      await delay((POLLING_S * 1_000) / faster, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  };
  const looping = loop();
  // whoever ends it learns of a failure
  looping.catch(() => undefined);
  return {
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await looping;
    },
  };
}

async function apply({ cluster, namespace }: ListRule, object: object): Promise<void> {
  await cluster.kubectl(['apply', '--namespace', namespace, '--filename', '-'], {
    input: JSON.stringify(object),
  });
}
