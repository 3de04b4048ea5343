/**
 * Which pods are a Deployment's own, as its ReplicaSets count them: not pods with the same labels that belong to a Job or to
 * another Deployment with an overlapping selector, or are a copy for debugging. Pure, and requires no right to read ReplicaSets.
 *
 * A pod's controlling owner is its ReplicaSet. The Deployment controller names each ReplicaSet `<Deployment>-<hash>` and gives
 * it, and so its pods, the label `pod-template-hash` with that hash (a name that is too long is truncated, `getNewReplicaSet`
 * in k8s.io/kubernetes/pkg/controller/deployment). So owner and label identify the Deployment, whichever revision the ReplicaSet
 * belongs to. Owner references are not verified, but a pod whose owner's uid does not exist is garbage-collected, and a forged
 * reference results in more members than the Deployment's status counts: see scale-in-plan.ts.
 */
import type { Pod } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { WorkerEntry } from '../../queue/workers/list-workers.ts';

const TEMPLATE_HASH = 'pod-template-hash';
const MAX_NAME = 253;

export function isOwnPod({ metadata }: Pod, deployment: string): boolean {
  const hash = metadata.labels?.[TEMPLATE_HASH];
  const owner = metadata.ownerReferences?.find(({ controller }) => controller);
  if (hash === undefined || owner?.kind !== 'ReplicaSet' || !owner.apiVersion.startsWith('apps/'))
    return false;
  return owner.name === `${deployment.slice(0, MAX_NAME - 1 - hash.length)}-${hash}`;
}

/** Whether a registered worker is the pool's: not that of a pool of the same name in another cluster, where that can be told. */
export function isWorkerOf(
  { metadata: { namespace, name, uid } }: Pick<WorkerPool, 'metadata'>,
  { pool, poolUid }: Pick<WorkerEntry, 'pool' | 'poolUid'>,
): boolean {
  return pool === `${namespace}/${name}` && (poolUid === '' || poolUid === uid);
}

/** Whether a Job has made it. */
export function isOfJob({ metadata }: Pick<Pod, 'metadata'>): boolean {
  return metadata.ownerReferences?.some(({ kind, controller }) => controller && kind === 'Job') ?? false;
}

/** Whether it is shutting down and has not ended yet: until then its worker may finish its tasks. */
export function isTerminatingPod({ metadata, status }: Pod): boolean {
  return (
    metadata.deletionTimestamp !== undefined && status?.phase !== 'Succeeded' && status?.phase !== 'Failed'
  );
}

/** Whether it exists and has not ended: a pod that has ended stays until it is removed, and is not counted. */
export function isActivePod({ metadata, status }: Pod): boolean {
  return !metadata.deletionTimestamp && status?.phase !== 'Succeeded' && status?.phase !== 'Failed';
}
