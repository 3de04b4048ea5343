/**
 * Which pods are a Deployment's own, as its ReplicaSets count them: not those that carry the labels and are a Job's, somebody's
 * copy for debugging, or another Deployment's with an overlapping selector. Pure, and without a right to read ReplicaSets.
 *
 * A pod's controlling owner is its ReplicaSet. The Deployment controller calls each ReplicaSet `<Deployment>-<hash>` and gives
 * it, and so its pods, the label `pod-template-hash` of that value (the name is cut where the two do not fit, `getNewReplicaSet`
 * in k8s.io/kubernetes/pkg/controller/deployment). So owner and label name the Deployment, whichever generation of a rollout
 * the ReplicaSet is of. Nobody checks who writes an owner reference, but one whose uid does not exist is collected as garbage
 * with its pod, and one that is made up makes more members than the Deployment's status counts: see scale-in-plan.ts.
 */
import type { Pod } from '../../kube/wire.ts';

const TEMPLATE_HASH = 'pod-template-hash';
const MAX_NAME = 253;

export function isOwnPod({ metadata }: Pod, deployment: string): boolean {
  const hash = metadata.labels?.[TEMPLATE_HASH];
  const owner = metadata.ownerReferences?.find(({ controller }) => controller);
  if (hash === undefined || owner?.kind !== 'ReplicaSet' || !owner.apiVersion.startsWith('apps/'))
    return false;
  return owner.name === `${deployment.slice(0, MAX_NAME - 1 - hash.length)}-${hash}`;
}

/** Whether it is being shut down and has not ended yet: until then its worker may finish what it runs. */
export function isTerminatingPod({ metadata, status }: Pod): boolean {
  return (
    metadata.deletionTimestamp !== undefined && status?.phase !== 'Succeeded' && status?.phase !== 'Failed'
  );
}

/** Whether it is there and not over: a pod that has ended stays until somebody removes it, and nobody counts it. */
export function isActivePod({ metadata, status }: Pod): boolean {
  return !metadata.deletionTimestamp && status?.phase !== 'Succeeded' && status?.phase !== 'Failed';
}
