/**
 * The world of a fleet: a real API server with its etcd, a Redis, thousands of WorkerPools as `kubectl apply` would have made
 * them, and a stand-in for what Kubernetes' own controllers and kubelets do: whatever replicas a Deployment asks for are in its
 * status at once. There are no pods.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { parse } from 'yaml';
import { createKubeApi } from '../../kube/client.ts';
import { DEPLOYMENTS, POOLS, type Resource } from '../../kube/resources.ts';
import { refOf, reflect } from '../../kube/watch.ts';
import type { KubeObject } from '../../kube/wire.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { startApiServer } from '../../test/support/apiserver.ts';
import {
  adminTransport,
  connectObjects,
  NAMESPACES,
  type Json,
  type Objects,
} from '../../test/support/world.ts';
import type { FleetKind, FleetQueue } from './queues.ts';
import { startBenchRedis } from '../run/redis.ts';

const NAMESPACE_COUNT = 20;
const AT_ONCE = 16;
const MOST_ATTEMPTS = 5;
const STUCK_TIMEOUT_MS = 900_000;
const DEFINITION = join(import.meta.dirname, '../../charts/millrace/files/workerpools.yaml');
const DEFINITIONS: Resource<KubeObject> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
};

export interface FleetPool {
  readonly namespace: string;
  readonly name: string;
  readonly kind: FleetKind;
  readonly queue: FleetQueue;
}

type Requests = Readonly<Record<string, number>>;

export interface FleetWorld extends AsyncDisposable {
  readonly kubeconfig: string;
  readonly redis: Redis;
  readonly pools: readonly FleetPool[];
  /** Called for each changed Deployment: key and requested replicas. */
  onReplicas: (key: string, replicas: number) => void;
  allArmed(): Promise<boolean>;
  allMade(): Promise<boolean>;
  /** Waits, for minutes if necessary. Rejects if it takes too long, and when `ended` settles. */
  until(what: string, holds: () => Promise<boolean>, ended?: Promise<unknown>): Promise<void>;
  /** Requests that the API server served, by verb and resource, without those of the stand-ins. */
  requests(): Promise<Requests>;
  difference(before: Requests, after: Requests): Requests;
  /** When requests to scale a Deployment were received: key, and ms since the epoch. */
  scaleRequests(): { readonly key: string; readonly at: number }[];
}

/** With so many pools, of each kind in turn. `adopted`: each adopts a Deployment, which is there. */
export async function startFleetWorld(
  count: number,
  kinds: readonly FleetKind[],
  progress: (line: string) => void,
  adopted = false,
): Promise<FleetWorld> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'millrace-fleet-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const audit = join(folder, 'audit.log');
  const server = stack.use(await startApiServer({ flags: auditFlags(folder, audit) }));
  const bench = stack.use(await startBenchRedis(progress));
  const transport = stack.use(adminTransport(server));
  const objects = connectObjects(transport);
  await objects.create(DEFINITIONS, undefined, parse(readFileSync(DEFINITION, 'utf8')) as Json);
  await until('WorkerPools are known', () =>
    objects.list(POOLS, 'default').then(
      () => true,
      () => false,
    ),
  );
  const namespaces = Array.from({ length: NAMESPACE_COUNT }, (_, i) => `team-${i}`);
  for (const name of namespaces) await objects.create(NAMESPACES, undefined, { metadata: { name } });
  const pools: FleetPool[] = [];
  // from the first on, in order
  const rest = Array.from({ length: count }, (_, i) => i).values();
  const redis = defineScripts(bench.redis);
  const make = async (): Promise<void> => {
    for (const i of rest) {
      const kind = kinds[i % kinds.length];
      const namespace = namespaces[i % NAMESPACE_COUNT];
      if (!kind || namespace === undefined) return;
      const queue = await kind.open(redis, `m${i.toString(36).padStart(3, '0')}`);
      const pool = { namespace, name: `pool-${i}`, kind, queue };
      pools[i] = pool;
      if (adopted) await createOnce(objects, DEPLOYMENTS, namespace, deploymentToAdopt(pool));
      await createOnce(objects, POOLS, namespace, manifest(pool, bench.url, adopted));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, make));
  const tracked = new Set(pools.flatMap(({ queue }) => queue.tracked));
  const playing = stack.adopt(new AbortController(), (controller) => controller.abort());

  const seen = new Map<string, number>();
  const world: Pick<FleetWorld, 'onReplicas'> = { onReplicas: () => {} };
  const deployments = reflect({
    api: createKubeApi(transport),
    resource: DEPLOYMENTS,
    signal: playing.signal,
    transform: ({ metadata: { name, namespace, resourceVersion }, spec, status }) => ({
      metadata: { name, ...(namespace && { namespace }), ...(resourceVersion && { resourceVersion }) },
      spec: { replicas: spec?.replicas ?? 0, selector: {}, template: {} },
      status: { replicas: status?.replicas ?? 0 },
    }),
    onChange: (key, deployment) => {
      if (!deployment) return;
      const replicas = deployment.spec?.replicas ?? 0;
      if (seen.get(key) !== replicas) world.onReplicas(key, replicas);
      seen.set(key, replicas);
      if (deployment.status?.replicas === replicas) return;
      const all = {
        replicas,
        readyReplicas: replicas,
        availableReplicas: replicas,
        updatedReplicas: replicas,
      };
      objects.patch(DEPLOYMENTS, refOf(key), { status: all }, 'status').catch(() => undefined);
    },
  });
  stack.defer(() => deployments.stopped);
  await deployments.synced;
  const owned = stack.move();
  return Object.assign(world, {
    kubeconfig: server.kubeconfig,
    redis: bench.redis,
    pools,
    until,
    allArmed: async () => (await bench.info('tracking_total_keys')) >= tracked.size,
    allMade: () => Promise.resolve(seen.size >= count),
    requests: async () => requestsOf(await server.kubectl(['get', '--raw', '/metrics'])),
    difference,
    scaleRequests: () => scaleRequestsOf(readFileSync(audit, 'utf8')),
    [Symbol.asyncDispose]: async () => {
      playing.abort();
      await owned.disposeAsync();
    },
  });
}

/** An API server on a busy machine may create it and not answer in time. */
async function createOnce<T extends KubeObject>(
  objects: Objects,
  resource: Resource<T>,
  namespace: string,
  object: Manifest,
): Promise<void> {
  const { name } = object.metadata;
  for (let attempt = 1; ; attempt++)
    try {
      await objects.create(resource, namespace, object);
      return;
    } catch (error) {
      const there = await objects.get(resource, { namespace, name }).catch(() => undefined);
      if (there) return;
      if (attempt === MOST_ATTEMPTS) throw error;
    }
}

async function until(what: string, holds: () => Promise<boolean>, ended?: Promise<unknown>): Promise<void> {
  const giveUp = performance.now() + STUCK_TIMEOUT_MS;
  let over = false;
  void ended?.then(() => (over = true));
  while (!(await holds())) {
    if (over) throw new Error(`the controller ended before this: ${what}`);
    if (performance.now() > giveUp) throw new Error(`not within ${STUCK_TIMEOUT_MS / 1_000} s: ${what}`);
    await delay(50);
  }
}

type Manifest = Json & { readonly metadata: Json & { readonly name: string } };

function podTemplate(name: string): Json {
  const resources = { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } };
  const env = [{ name: 'LOG_LEVEL', value: 'info' }];
  const args = ['--module', '/app/tasks.ts'];
  const worker = { name: 'worker', image: 'registry.example/team/worker:1.4.2', args, env, resources };
  return { metadata: { labels: { app: name } }, spec: { containers: [worker] } };
}

function deploymentToAdopt({ name }: FleetPool): Manifest {
  const spec = { replicas: 0, selector: { matchLabels: { app: name } }, template: podTemplate(name) };
  return { metadata: { name, labels: { 'app.kubernetes.io/managed-by': 'Helm' } }, spec };
}

/** With what `kubectl apply` leaves on an object. */
function manifest({ name, queue }: FleetPool, url: string, adopted: boolean): Manifest {
  const body = {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { name, labels: { 'app.kubernetes.io/part-of': 'fleet' } },
    spec: {
      redis: { url },
      ...queue.spec,
      maxReplicas: 10,
      ...(adopted ? { scaleTargetRef: { name } } : { template: podTemplate(name) }),
    },
  };
  const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify(body) };
  return { ...body, metadata: { ...body.metadata, annotations } };
}

/** The API server logs when it received each request to scale, and nothing else. */
function auditFlags(folder: string, log: string): Record<string, string> {
  const policy = join(folder, 'audit.json');
  const scales = [{ group: 'apps', resources: ['deployments/scale'] }];
  const body = {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['ResponseStarted', 'ResponseComplete'],
    rules: [{ level: 'Metadata', resources: scales }, { level: 'None' }],
  };
  writeFileSync(policy, JSON.stringify(body));
  return { 'audit-policy-file': policy, 'audit-log-path': log };
}

function scaleRequestsOf(log: string): { key: string; at: number }[] {
  return log.split('\n').flatMap((line) => {
    if (line === '') return [];
    const { objectRef, requestReceivedTimestamp } = JSON.parse(line) as {
      objectRef: { namespace: string; name: string };
      requestReceivedTimestamp: string;
    };
    return [{ key: `${objectRef.namespace}/${objectRef.name}`, at: precise(requestReceivedTimestamp) }];
  });
}

/** `Date.parse` drops fractions of a ms. */
function precise(time: string): number {
  return Date.parse(time) + Number(/\.\d{3}(\d{3})Z$/.exec(time)?.[1] ?? 0) / 1_000;
}

const OURS = new Set(['workerpools', 'deployments', 'pods', 'events', 'secrets', 'leases']);

/** From the API server's own metrics, without the requests of the stand-ins: only they write the status of Deployments. */
function requestsOf(metrics: string): Requests {
  const counts: Record<string, number> = {};
  for (const [, labels = '', value] of metrics.matchAll(/^apiserver_request_total\{([^}]*)\} (\S+)$/gm)) {
    const label = (name: string): string => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
    const [resource, subresource, verb] = [label('resource'), label('subresource'), label('verb')];
    if (!OURS.has(resource) || (resource === 'deployments' && subresource === 'status')) continue;
    const what = `${verb} ${resource}${subresource === '' ? '' : `/${subresource}`}`;
    counts[what] = (counts[what] ?? 0) + Number(value);
  }
  return counts;
}

function difference(before: Requests, after: Requests): Requests {
  const all = Object.entries(after).map(([what, count]) => [what, count - (before[what] ?? 0)] as const);
  return Object.fromEntries(all.filter(([, count]) => count > 0));
}
