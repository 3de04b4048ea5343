/**
 * Plays the controllers of one Deployment and its ReplicaSet, and the kubelet, with pods that are objects in a real API server: as
 * many as are asked for, ready at once, owned as theirs are, and counted in the Deployment's status. What it deletes, and in which order, is as in Kubernetes (`ActivePodsWithRanks` of
 * k8s.io/kubernetes/pkg/controller): pods that are not ready, then those of lower deletion cost, then the youngest.
 */
import { DELETION_COST } from '../../kube/api.ts';
import { createKubeApi } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { DEPLOYMENTS, PODS, type ObjectRef } from '../../kube/resources.ts';
import type { Transport } from '../../kube/transport.ts';
import { keyOf, reflect } from '../../kube/watch.ts';
import type { Deployment, Pod } from '../../kube/wire.ts';
import { replicaSetOf, takeDeployment } from './deployments.ts';
import { connectObjects } from './objects.ts';

export interface ReplicaSetPlay extends AsyncDisposable {
  /** Names of the pods that there are, oldest first. */
  readonly pods: readonly string[];
  setReady(pod: string, ready: boolean): Promise<void>;
}

export interface ReplicaSetOptions {
  readonly transport: Transport;
  readonly deployment: ObjectRef;
  readonly onStart?: (pod: string) => void;
  /** Called when the pod begins to end: like SIGTERM, but at an instant that a test controls. */
  readonly onStop?: (pod: string) => Promise<void> | void;
}

/** Holds a pod that was deleted until its worker has ended, as a kubelet does. */
const KUBELET = 'test/kubelet';

export async function playReplicaSet(options: ReplicaSetOptions): Promise<ReplicaSetPlay> {
  const { transport, deployment, onStart, onStop } = options;
  const objects = connectObjects(transport);
  const { namespace } = deployment;
  const ended = new AbortController();
  const pods: string[] = [];
  const unready = new Set<string>();
  let made = 0;
  let wanted = 0;
  let latest: Deployment | undefined;
  let working: Promise<void> = Promise.resolve();
  let failure: unknown;

  const setReady = async (name: string, ready: boolean): Promise<void> => {
    const conditions = [{ type: 'Ready', status: ready ? 'True' : 'False' }];
    await objects.patch(PODS, { namespace, name }, { status: { phase: 'Running', conditions } }, 'status');
    unready[ready ? 'delete' : 'add'](name);
    await count();
  };

  /** As the Deployment controller does, whenever something has changed. */
  async function count(): Promise<void> {
    if (!latest) return;
    const { generation: observedGeneration } = latest.metadata;
    const ready = pods.filter((name) => !unready.has(name)).length;
    const counts = { replicas: pods.length, updatedReplicas: pods.length, readyReplicas: ready };
    const status = { observedGeneration, ...counts, availableReplicas: ready };
    await objects.patch(DEPLOYMENTS, deployment, { status }, 'status').catch((error: unknown) => {
      if (!(error instanceof KubeError && error.notFound)) throw error;
    });
  }

  async function add(): Promise<void> {
    const name = `${deployment.name}-${++made}`;
    const [{ resources } = {}] = latest?.spec?.template.spec?.containers ?? [];
    const containers = [{ name: 'worker', image: 'worker:1', ...(resources && { resources }) }];
    const own = latest && (await replicaSetOf(objects, latest));
    await objects.create(PODS, namespace, {
      metadata: { name, ...own, finalizers: [KUBELET] },
      spec: { containers },
    });
    pods.push(name);
    await setReady(name, true);
    onStart?.(name);
  }

  async function take(): Promise<void> {
    const all = (await objects.list(PODS, namespace)).filter(({ metadata }) => pods.includes(metadata.name));
    const rank = ({ metadata, status }: Pod): number[] => [
      status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ? 1 : 0,
      Number(metadata.annotations?.[DELETION_COST] ?? 0),
      -pods.indexOf(metadata.name),
    ];
    const ranked = all.map((pod) => ({ name: pod.metadata.name, rank: rank(pod) }));
    ranked.sort((a, b) => a.rank.map((x, i) => x - (b.rank[i] ?? 0)).find((x) => x !== 0) ?? 0);
    const name = ranked[0]?.name ?? '';
    pods.splice(pods.indexOf(name), 1);
    unready.delete(name);
    const stopping = onStop?.(name);
    await objects.remove(PODS, { namespace, name });
    await count();
    await stopping;
    await objects.patch(PODS, { namespace, name }, { metadata: { finalizers: null } });
  }

  async function settle(): Promise<void> {
    while (!ended.signal.aborted && pods.length < wanted) await add();
    while (!ended.signal.aborted && pods.length > wanted) await take();
    if (!ended.signal.aborted) await count();
  }

  await takeDeployment(objects, deployment);
  const reflector = reflect({
    api: createKubeApi(transport),
    resource: DEPLOYMENTS,
    namespaces: [namespace],
    signal: ended.signal,
    onChange: (_key, now) => {
      if (now && keyOf(now) !== `${namespace}/${deployment.name}`) return;
      wanted = now?.spec?.replicas ?? 0;
      latest = now;
      working = working.then(settle).catch((error: unknown) => void (failure ??= error));
    },
  });
  await reflector.synced;
  return {
    pods,
    setReady,
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      await reflector.stopped;
      await working;
      if (failure !== undefined) throw failure;
    },
  };
}
