/**
 * Millrace in a cluster, installed from the chart as a user does it, with a namespace for pools and a plain Redis client on
 * this machine that reaches their Redis through a node port. What an interrupted run left is removed first; disposing
 * removes what was made, the definition of WorkerPools included.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Cluster } from '../kind/cluster.ts';
import { eventually } from './eventually.ts';
import { REDIS_IMAGE } from './kind-images.ts';

const CHART = join(import.meta.dirname, '../../charts/millrace');
export const SYSTEM = 'millrace-system';
const RELEASE = 'millrace';
/** Of kubectl and helm, for what hangs: a machine that does much else may take ten times as long as one that does not. */
const LIMIT = '900s';

export interface Release {
  readonly cluster: Cluster;
  /** The namespace of the file's pools. */
  readonly namespace: string;
  /** A plain client of the Redis that the pools use. */
  readonly redis: Redis;
  /** Where the pods find that Redis, with its password if it has one. */
  readonly redisUrl: string;
  /** Installs or upgrades the release, and waits until it is ready. `args` are more of helm's, as `--set a=b`. */
  deploy(values: object, args?: readonly string[]): Promise<void>;
  uninstall(): Promise<void>;
  /** `kubectl get … -o json` in the pools' namespace, parsed. */
  get<T>(...args: string[]): Promise<T>;
  /** The pod that leads; its name is in the Lease. */
  leader(): Promise<string>;
}

export interface ReleaseOptions {
  /** Values of the chart; `namespace` is that of the pools. */
  readonly values: (namespace: string) => object;
  /** Whose Redis the pools use: the chart's (the default), or one beside it that outlives the release. */
  readonly redis?: 'chart' | 'own';
  /** A folder on the node in which a Redis of its own keeps everything, each write before it is answered. */
  readonly keep?: string;
}

/** Installs the release and resolves when it is ready. */
export async function install(
  cluster: Cluster,
  { values, redis = 'chart', keep }: ReleaseOptions,
): Promise<Release & AsyncDisposable> {
  await remove(cluster, 'what an interrupted run left');
  const namespace = await createNamespace(cluster);
  const where = redis === 'chart' ? SYSTEM : namespace;
  const release = open(cluster, namespace, where);
  if (redis === 'own') await cluster.applyYaml(ownRedis(namespace, keep));
  await release.deploy(values(namespace));
  const password = redis === 'chart' ? await redisPassword(cluster) : '';
  if (password !== '') release.redis.options.password = password;
  await expose(release, where);
  return {
    ...release,
    redisUrl: password === '' ? release.redisUrl : release.redisUrl.replace('//', `//:${password}@`),
    [Symbol.asyncDispose]: async () => {
      release.redis.disconnect();
      await remove(cluster, 'what we made');
    },
  };
}

/** What the chart made up for its Redis; empty where that takes none. */
async function redisPassword(cluster: Cluster): Promise<string> {
  const flags = ['--namespace', SYSTEM, '--ignore-not-found', '--output', 'jsonpath={.data.password}'];
  const text = await cluster.kubectl(['get', 'secret', `${RELEASE}-redis`, ...flags]);
  return Buffer.from(text, 'base64').toString();
}

function open(cluster: Cluster, namespace: string, redisNamespace: string): Release {
  const address = { host: cluster.place.node, port: REDIS_NODE_PORT };
  const redis = new Redis({ ...address, lazyConnect: true, maxRetriesPerRequest: null });
  // it tries again until the port answers; a test that needs it and has it not fails by itself
  redis.on('error', () => undefined);
  return {
    cluster,
    namespace,
    redis,
    redisUrl: `redis://${RELEASE}-redis.${redisNamespace}:6379/0`,
    deploy: async (values, args = []) => {
      const flags = ['--namespace', SYSTEM, '--create-namespace', '--wait', '--timeout', LIMIT, ...args];
      await cluster.helm(['upgrade', '--install', RELEASE, CHART, ...flags, '--values', '-'], {
        input: JSON.stringify(values),
      });
    },
    uninstall: async () => {
      await cluster.helm(['uninstall', RELEASE, '--namespace', SYSTEM, '--wait', '--timeout', LIMIT]);
    },
    get: async (...args) =>
      JSON.parse(await cluster.kubectl(['get', '--namespace', namespace, '--output', 'json', ...args])),
    leader: () =>
      eventually(
        async () => {
          const args = ['get', 'lease', RELEASE, '--namespace', SYSTEM, '--output'];
          const holder = await cluster.kubectl([...args, 'jsonpath={.spec.holderIdentity}']);
          const [pod] = holder.split('_');
          if (!pod) throw new Error('nobody leads');
          return pod;
        },
        { everyMs: 200 },
      ),
  };
}

export const REDIS_NODE_PORT = 31_379;

const component = { 'app.kubernetes.io/component': 'redis' };

/** A node port in front of Redis, made by the tests and not by the chart. */
async function expose({ cluster, redis }: Release, namespace: string): Promise<void> {
  const ports = [{ port: 6379, nodePort: REDIS_NODE_PORT }];
  const metadata = { name: 'redis-from-outside', namespace };
  const spec = { type: 'NodePort', selector: component, ports };
  await cluster.applyYaml(JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata, spec }));
  // the port answers as soon as the node's rules are written
  await eventually(() => redis.ping(), { everyMs: 100 });
}

/** As simple as the chart's, and under the same name. */
function ownRedis(namespace: string, keep: string | undefined): string {
  const metadata = { name: `${RELEASE}-redis`, namespace, labels: component };
  const durable = ['--dir', '/keep', '--appendonly', 'yes', '--appendfsync', 'always'];
  const history = ['--auto-aof-rewrite-percentage', '0'];
  const kept = keep === undefined ? [] : [...durable, ...history];
  const command = ['redis-server', '--save', '', '--protected-mode', 'no', ...kept];
  const container = { name: 'redis', image: REDIS_IMAGE, command };
  const hostPath = { path: keep, type: 'DirectoryOrCreate' };
  const pod =
    keep === undefined
      ? { containers: [container] }
      : {
          volumes: [{ name: 'keep', hostPath }],
          containers: [
            {
              ...container, // the folder is the node's
              securityContext: { runAsUser: 0 },
              volumeMounts: [{ name: 'keep', mountPath: '/keep' }],
            },
          ],
        };
  const service = { selector: component, ports: [{ port: 6379 }] };
  // kubectl 1.31 does not read several JSON documents in a row
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'List',
    items: [
      { apiVersion: 'v1', kind: 'Pod', metadata, spec: pod },
      { apiVersion: 'v1', kind: 'Service', metadata, spec: service },
    ],
  });
}

const TEST_LABEL = 'millrace.dev/test';

async function createNamespace(cluster: Cluster): Promise<string> {
  const name = `pools-${randomUUID().slice(0, 8)}`;
  const metadata = { name, labels: { [TEST_LABEL]: 'kind' } };
  await cluster.applyYaml(JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata }));
  return name;
}

/** Pools first, while there is a controller that lets them go. */
async function remove(
  cluster: Cluster,
  what: 'what we made' | 'what an interrupted run left',
): Promise<void> {
  const kubectl = (...args: string[]): Promise<string> => cluster.kubectl(args);
  const definition = 'crd/workerpools.millrace.dev';
  if (await kubectl('get', definition, '--ignore-not-found', '--output', 'name')) {
    const limit = what === 'what we made' ? LIMIT : '120s';
    const gone = kubectl('delete', 'workerpools', '--all', '--all-namespaces', '--timeout', limit);
    await (what === 'what we made' ? gone : gone.catch(async () => await letGo(cluster)));
  }
  const flags = ['--namespace', SYSTEM, '--ignore-not-found', '--wait', '--timeout', LIMIT];
  await cluster.helm(['uninstall', RELEASE, ...flags]);
  await kubectl('delete', definition, '--ignore-not-found');
  const service = ['--all-namespaces', '--field-selector', 'metadata.name=redis-from-outside'];
  await kubectl('delete', 'service', ...service);
  await kubectl('delete', 'namespaces', '--selector', TEST_LABEL, '--wait=false');
}

/** An interrupted run may have left pools without a controller: their finalizers would stay for ever. */
async function letGo(cluster: Cluster): Promise<void> {
  const names = await cluster.kubectl([
    'get',
    'workerpools',
    '--all-namespaces',
    '--output',
    'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\\n"}{end}',
  ]);
  for (const line of names.split('\n').filter((text) => text !== '')) {
    const [namespace = '', name = ''] = line.split(' ');
    const patch = ['--type', 'merge', '--patch', '{"metadata":{"finalizers":null}}'];
    await cluster.kubectl(['patch', 'workerpool', name, '--namespace', namespace, ...patch]);
  }
}
