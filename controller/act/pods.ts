/**
 * The pods of a Deployment as members of a pool, and the mark by which a ReplicaSet removes exactly the chosen ones: a deletion
 * cost below any other. It also shows the next controller which pods were removed already.
 */
import { DELETION_COST, type KubeApi, type Selection } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import { PODS, type Resource } from '../../kube/resources.ts';
import type { KubeObject, Pod } from '../../kube/wire.ts';
import { isActivePod } from './ownership.ts';
import type { PodSize } from './parked/size.ts';
import type { Member } from './target.ts';

/** The lowest value of the annotation. */
const GOING_COST = -(2 ** 31);
const PAGE = 500;

/** The pod as a member; empty for one that has ended or is terminating. `taken`: pods that were removed. */
export function memberOf(pod: Pod, taken: ReadonlySet<string>, size?: PodSize): Member[] {
  const { name, creationTimestamp = '', annotations } = pod.metadata;
  if (!isActivePod(pod)) return [];
  const addresses = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  return [
    {
      ...(addresses.length > 0 && { addresses }),
      ...(size && { size }),
      id: name,
      ready: isReadyPod(pod),
      created: Date.parse(creationTimestamp) || 0,
      going: taken.has(name) || annotations?.[DELETION_COST] === String(GOING_COST),
    },
  ];
}

export function isReadyPod({ status }: Pod): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
}

/** All pods that the selector matches now, read from the API server. */
export function listPods(api: KubeApi, selection: Selection, signal: AbortSignal): Promise<Pod[]> {
  return listAll(api, PODS, selection, signal);
}

/** All objects of this kind that the selector matches now, read from the API server. */
export async function listAll<T extends KubeObject>(
  api: KubeApi,
  resource: Resource<T>,
  selection: Selection,
  signal: AbortSignal,
): Promise<T[]> {
  const found: T[] = [];
  let next: string | undefined;
  do {
    const page = await api.list(resource, selection, { limit: PAGE, continue: next }, { signal });
    found.push(...page.items);
    next = page.continue;
  } while (next !== undefined);
  return found;
}

/**
 * Marks each pod as one to remove, or unmarks it. A pod that is gone is skipped, and so is a new one of the same name.
 */
export async function setCosts(
  api: KubeApi,
  pods: readonly { readonly pod: Pod; readonly goes: boolean }[],
  signal: AbortSignal,
): Promise<void> {
  const marks = pods.map(({ pod: { metadata }, goes }) => {
    const { namespace = '', name, uid } = metadata;
    return api.pods.setDeletionCost({ namespace, name }, goes ? GOING_COST : null, { signal, uid });
  });
  for (const { reason } of (await Promise.allSettled(marks)).filter((mark) => mark.status === 'rejected'))
    if (!(reason instanceof KubeError && (reason.notFound || reason.status === 422))) throw reason;
}
