/**
 * The pods of a Deployment as members of a pool, and the mark that makes a ReplicaSet take exactly some of them: a deletion
 * cost below any other. It also tells the next controller which pods were taken away already.
 */
import { DELETION_COST, type KubeApi, type Selection } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import { PODS } from '../../kube/resources.ts';
import type { Pod } from '../../kube/wire.ts';
import { isActivePod } from './ownership.ts';
import type { Member } from './target.ts';

/** The least that the annotation can say. */
const GOING_COST = -(2 ** 31);
const PAGE = 500;

/** A pod that a ReplicaSet counts, as a member; none that has ended or is ending. `taken`: pods that are known to go. */
export function memberOf(pod: Pod, taken: ReadonlySet<string>): Member[] {
  const { name, creationTimestamp = '', annotations } = pod.metadata;
  if (!isActivePod(pod)) return [];
  const addresses = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  return [
    {
      ...(addresses.length > 0 && { addresses }),
      id: name,
      ready:
        pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false,
      created: Date.parse(creationTimestamp) || 0,
      going: taken.has(name) || annotations?.[DELETION_COST] === String(GOING_COST),
    },
  ];
}

/** All pods that the selector matches now, whatever a watch has seen. */
export async function listPods(api: KubeApi, selection: Selection, signal: AbortSignal): Promise<Pod[]> {
  const pods: Pod[] = [];
  let next: string | undefined;
  do {
    const page = await api.list(PODS, selection, { limit: PAGE, continue: next }, { signal });
    pods.push(...page.items);
    next = page.continue;
  } while (next !== undefined);
  return pods;
}

/**
 * Marks each pod as one to take, or as one not to take any more. One that is gone needs no mark, nor does another one that has
 * its name by now.
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
