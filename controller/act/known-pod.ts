/** What is kept of a pod between watch events. With thousands of pools the rest would be most of the controller's memory. Pure. */
import { DELETION_COST } from '../../kube/api.ts';
import type { Pod } from '../../kube/wire.ts';

/** What a pod is kept as between watch events: the rest is memory that nobody looks at. */
export function slimPod(pod: Pod): Pod {
  const { name, namespace, uid, labels, creationTimestamp, deletionTimestamp } = pod.metadata;
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller);
  const cost = pod.metadata.annotations?.[DELETION_COST];
  // of most pods none: in a Deployment only some containers may say that they are not to be restarted
  const once = pod.spec?.containers.flatMap((container) =>
    container.restartPolicy ? [{ name: container.name, restartPolicy: container.restartPolicy }] : [],
  );
  return {
    metadata: {
      name,
      ...(namespace ? { namespace } : {}),
      ...(uid ? { uid } : {}),
      ...(labels ? { labels } : {}),
      ...(owner ? { ownerReferences: [owner] } : {}),
      ...(cost === undefined ? {} : { annotations: { [DELETION_COST]: cost } }),
      ...(creationTimestamp ? { creationTimestamp } : {}),
      ...(deletionTimestamp ? { deletionTimestamp } : {}),
    },
    ...(once?.length ? { spec: { containers: once } } : {}),
    status: {
      ...(pod.status?.phase ? { phase: pod.status.phase } : {}),
      ...(pod.status?.reason ? { reason: pod.status.reason } : {}),
      ...(pod.status?.podIPs ? { podIPs: pod.status.podIPs } : {}),
      ...(pod.status?.conditions ? { conditions: pod.status.conditions } : {}),
      ...(pod.status?.containerStatuses ? { containerStatuses: pod.status.containerStatuses } : {}),
      ...(pod.status?.initContainerStatuses
        ? { initContainerStatuses: pod.status.initContainerStatuses }
        : {}),
    },
  };
}
