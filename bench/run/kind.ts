/**
 * Millrace on a cluster made with kind, installed from its chart, for benchmarks: pools and pods are made in a namespace of their
 * own, and all that is timed is timed by one clock, because node, pods and this process share the machine's.
 */
import { createKubeApi } from '../../kube/client.ts';
import { fromKubeconfig } from '../../kube/kubeconfig.ts';
import { reflect } from '../../kube/watch.ts';
import { PODS, type ObjectRef } from '../../kube/resources.ts';
import { createTransport, type Transport } from '../../kube/transport.ts';
import type { Pod } from '../../kube/wire.ts';
import { startCluster } from '../../test/kind/cluster.ts';
import { eventually } from '../../test/support/eventually.ts';
import { loadTestImages } from '../../test/support/kind-images.ts';
import { install, SYSTEM, type Release } from '../../test/support/kind-install.ts';

/** The observations of one pod; times in ms since the epoch. */
export interface PodLife {
  readonly name: string;
  /** When the API server had it. */
  readonly created: number;
  /** When it was told to stop; `undefined` until then. */
  leaving: number | undefined;
  /** When it had ended by itself, or failed; `undefined` until then. */
  ended: number | undefined;
  /** When it was gone from the API server; `undefined` until then. */
  gone: number | undefined;
  /** Of its containers. */
  restarts: number;
}

export interface KindBench {
  readonly release: Release;
  readonly transport: Transport;
  /** All pods of the namespace since the start, by name. */
  readonly pods: ReadonlyMap<string, PodLife>;
  /** Lines of a container's log that are JSON. */
  readonly log: (pod: ObjectRef, sinceSeconds?: number) => Promise<ContainerLogLine[]>;
}

/** The fields of our logs that are used here. */
export interface ContainerLogLine {
  readonly time: string;
  readonly msg: string;
  readonly pool?: string;
  readonly sinceStartMs?: number;
}

interface KindOptions {
  /** Of the cluster. */
  readonly name?: string;
}

/** Takes under a minute if the cluster's parts are cached, otherwise some ten minutes. `stack` ends all of it. */
export async function startKind(
  stack: AsyncDisposableStack,
  progress: (line: string) => void,
  signal: AbortSignal,
  { name }: KindOptions = {},
): Promise<KindBench> {
  progress('starting the cluster, building and loading images');
  const cluster = stack.use(await startCluster(name === undefined ? {} : { name }));
  await loadTestImages(cluster);
  progress('installing Millrace');
  const release = stack.use(
    await install(cluster, { values: () => ({ redis: { enabled: true, auth: false } }) }),
  );
  const transport = stack.use(createTransport(fromKubeconfig(cluster.place.kubeconfig)));
  const ending = new AbortController();
  const pods = new Map<string, PodLife>();
  const watched = reflect<Pod>({
    api: createKubeApi(transport),
    resource: PODS,
    namespaces: [release.namespace],
    onChange: (_, pod, previous) => note(pods, pod, previous),
    signal: AbortSignal.any([signal, ending.signal]),
  });
  stack.defer(() => {
    ending.abort();
    return watched.stopped;
  });
  await watched.synced;
  return { release, transport, pods, log: (pod, seconds) => readLog(transport, signal, pod, seconds) };
}

function note(pods: Map<string, PodLife>, pod: Pod | undefined, previous: Pod | undefined): void {
  const { name } = (pod ?? previous)?.metadata ?? { name: '' };
  const life = pods.get(name) ?? {
    name,
    created: Date.now(),
    leaving: undefined,
    ended: undefined,
    gone: undefined,
    restarts: 0,
  };
  pods.set(name, life);
  if (pod?.metadata?.deletionTimestamp !== undefined || !pod) life.leaving ??= Date.now();
  if (pod?.status?.phase === 'Succeeded' || pod?.status?.phase === 'Failed') life.ended ??= Date.now();
  if (!pod) life.gone = Date.now();
  for (const { restartCount } of pod?.status?.containerStatuses ?? [])
    life.restarts = Math.max(life.restarts, restartCount);
}

async function readLog(
  transport: Transport,
  signal: AbortSignal,
  { namespace, name }: ObjectRef,
  sinceSeconds?: number,
): Promise<ContainerLogLine[]> {
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/log`;
  const lines: ContainerLogLine[] = [];
  const call = {
    method: 'GET',
    path,
    query: { sinceSeconds },
    what: `logs of ${namespace}/${name}`,
  } as const;
  for await (const line of await transport.stream(call, { signal }))
    if (line.startsWith('{')) lines.push(JSON.parse(line) as ContainerLogLine);
  return lines;
}

/** Of all pods until they have ended, or until `until`. */
export function podSeconds(pods: readonly PodLife[], until: number): number {
  const lives = pods.map(({ created, ended = until, gone = until }) =>
    Math.max(0, Math.min(ended, gone, until) - created),
  );
  return lives.reduce((sum, ms) => sum + ms, 0) / 1_000;
}

/** Times of the worker in a pod, ms since the epoch. */
export interface WorkerStart {
  /** The container's process began. */
  readonly began: number;
  /** It takes tasks. */
  readonly ready: number;
}

export async function workerStart({ log, release }: KindBench, pod: string): Promise<WorkerStart> {
  return eventually(
    async () => {
      const lines = await log({ namespace: release.namespace, name: pod });
      const line = lines.find(({ msg }) => msg === 'ready');
      if (line?.sinceStartMs === undefined)
        throw new Error(`the worker in ${pod} did not log that it is ready`);
      const ready = Date.parse(line.time);
      return { began: ready - line.sinceStartMs, ready };
    },
    { withinMs: 10_000, everyMs: 100 },
  );
}

/** When the controller last raised a pool's replicas: it logs that after the API server has accepted the number. */
export async function raisedAt({ log, release }: KindBench, pool: string, since: number): Promise<number> {
  const leader = { namespace: SYSTEM, name: await release.leader() };
  const lines = await log(leader, Math.ceil((Date.now() - since) / 1_000) + 1);
  const times = lines
    .filter(({ msg, pool: of }) => msg === 'scaled' && of === `${release.namespace}/${pool}`)
    .map(({ time }) => Date.parse(time));
  const found = times.find((time) => time >= since);
  if (found === undefined) throw new Error(`the controller did not log that it scaled ${pool}`);
  return found;
}

/** Resolves when no pod with this prefix is left in the namespace. */
export async function untilGone({ pods }: KindBench, prefix: string): Promise<void> {
  await eventually(
    () => {
      const left = [...pods.values()].filter(
        ({ name, gone }) => name.startsWith(prefix) && gone === undefined,
      );
      if (left.length > 0) throw new Error(`pods are left: ${left.map(({ name }) => name).join(', ')}`);
    },
    { withinMs: 120_000, everyMs: 20 },
  );
}
