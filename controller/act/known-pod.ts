/** The cached part of a pod. With thousands of pools, the rest would be most of the controller's memory. Pure. */
import { DELETION_COST } from '../../kube/api.ts';
import type { Pod } from '../../kube/wire.ts';

/** The pod with only those fields that are read. */
export function slimPod(pod: Pod): Pod {
  const { name, namespace, uid, labels, creationTimestamp, deletionTimestamp } = pod.metadata;
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller);
  const cost = pod.metadata.annotations?.[DELETION_COST];
  // in a Deployment, only some containers set a restart policy of their own
  const containers = pod.spec?.containers.flatMap(({ name: of, restartPolicy, resources }) =>
    restartPolicy || resources?.requests
      ? [
          {
            name: of,
            ...(restartPolicy ? { restartPolicy } : {}),
            ...(resources?.requests ? { resources: { requests: resources.requests } } : {}),
          },
        ]
      : [],
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
    ...(containers?.length ? { spec: { containers } } : {}),
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
