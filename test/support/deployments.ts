/**
 * Stands in for the Deployment controller: which pods belong to a Deployment and, for all Deployments of a server that no test
 * handles itself, pods that are objects and run nothing. Requested pods exist immediately and count as ready; the pods
 * themselves are not ready, so that any of them may be removed.
 */
import { fingerprint } from '../../controller/act/known-deployment.ts';
import { DELETION_COST } from '../../kube/api.ts';
import { createKubeApi } from '../../kube/client.ts';
import { DEPLOYMENTS, PODS, type ObjectRef, type Resource } from '../../kube/resources.ts';
import type { Transport } from '../../kube/transport.ts';
import { reflect, refOf } from '../../kube/watch.ts';
import type { Deployment, KubeObject, ObjectMeta } from '../../kube/wire.ts';
import { connectObjects, type Objects } from './objects.ts';

const REPLICASETS: Resource<KubeObject> = { group: 'apps', version: 'v1', plural: 'replicasets' };
const CONFIG_MAPS: Resource<KubeObject> = { group: '', version: 'v1', plural: 'configmaps' };

/** The labels and the owner of the pods of this Deployment. Creates the ReplicaSet of its template if there is none yet. */
export async function replicaSetOf(
  objects: Objects,
  { metadata: { namespace = '', name, uid }, spec }: Deployment,
): Promise<Pick<ObjectMeta, 'labels' | 'ownerReferences'>> {
  const hash = fingerprint(spec?.template)
    .replaceAll(/[^a-z\d]/g, '')
    .slice(0, 8);
  const labels = { ...spec?.template.metadata?.labels, 'pod-template-hash': hash };
  const own = { apiVersion: 'apps/v1', controller: true, blockOwnerDeletion: true };
  const ref = { namespace, name: `${name}-${hash}` };
  const find = (): Promise<KubeObject> => objects.get(REPLICASETS, ref);
  const made = objects.create<KubeObject>(REPLICASETS, namespace, {
    metadata: { name: ref.name, labels, ownerReferences: [{ ...own, kind: 'Deployment', name, uid }] },
    spec: {
      selector: { matchLabels: labels },
      template: { ...spec?.template, metadata: { ...spec?.template.metadata, labels } },
    },
  });
  // it exists already, for an earlier pod
  const replicaSet = await made.catch(find);
  const owner = { ...own, kind: 'ReplicaSet', name: ref.name, uid: replicaSet.metadata.uid ?? '' };
  return { labels, ownerReferences: [owner] };
}

/** From here on `playDeployments` ignores this Deployment: a test handles it in more detail. */
export async function takeDeployment(objects: Objects, { namespace, name }: ObjectRef): Promise<void> {
  await objects.create(CONFIG_MAPS, namespace, { metadata: { name: `played-${name}` } });
}

async function isTaken(objects: Objects, { namespace, name }: ObjectRef): Promise<boolean> {
  const ref = { namespace, name: `played-${name}` };
  return await objects.get(CONFIG_MAPS, ref).then(
    () => true,
    () => false,
  );
}

/** Until the signal aborts. */
export async function playDeployments(transport: Transport, signal: AbortSignal): Promise<void> {
  const objects = connectObjects(transport);
  const pods = new Map<string, string[]>();
  const working = new Map<string, Promise<void>>();
  let made = 0;

  async function add(deployment: Deployment, mine: string[]): Promise<void> {
    const { namespace = '', name } = deployment.metadata;
    const metadata = { name: `${name}-played-${++made}`, ...(await replicaSetOf(objects, deployment)) };
    const containers = [{ name: 'worker', image: 'worker:1' }];
    await objects.create(PODS, namespace, { metadata, spec: { containers } });
    mine.push(metadata.name);
  }

  /** Those of the lowest cost, as a ReplicaSet does. */
  async function take(namespace: string, mine: string[], count: number): Promise<void> {
    if (count === 0) return;
    const costs = new Map(
      (await objects.list(PODS, namespace)).map(({ metadata }) => [
        metadata.name,
        Number(metadata.annotations?.[DELETION_COST] ?? 0),
      ]),
    );
    const first = mine.toSorted((a, b) => (costs.get(a) ?? 0) - (costs.get(b) ?? 0)).slice(0, count);
    for (const name of first) {
      mine.splice(mine.indexOf(name), 1);
      // a test may have taken it along
      await objects.remove(PODS, { namespace, name }).catch(() => undefined);
    }
  }

  async function settle(key: string, deployment: Deployment | undefined): Promise<void> {
    const ref = refOf(key);
    const mine = pods.get(key) ?? [];
    pods.set(key, mine);
    const replicas = deployment?.metadata.deletionTimestamp ? 0 : (deployment?.spec?.replicas ?? 0);
    const { generation: observedGeneration } = deployment?.metadata ?? {};
    const { status } = deployment ?? {};
    const counted = (status?.replicas ?? 0) === replicas && status?.observedGeneration === observedGeneration;
    if (deployment && (await isTaken(objects, ref))) return await take(ref.namespace, mine, mine.length);
    if (deployment && counted && mine.length === replicas) return;
    if (deployment) while (mine.length < replicas) await add(deployment, mine);
    await take(ref.namespace, mine, Math.max(0, mine.length - replicas));
    if (!deployment) return;
    const counts = {
      replicas,
      readyReplicas: replicas,
      availableReplicas: replicas,
      updatedReplicas: replicas,
    };
    await objects.patch(DEPLOYMENTS, ref, { status: { observedGeneration, ...counts } }, 'status');
  }

  const reflector = reflect({
    api: createKubeApi(transport),
    resource: DEPLOYMENTS,
    signal,
    onChange: (key, deployment) => {
      const before = working.get(key) ?? Promise.resolve();
      // a test that ends takes its Deployment and its server along
      working.set(
        key,
        before.then(() => settle(key, deployment)).catch(() => undefined),
      );
    },
  });
  await reflector.synced;
}
