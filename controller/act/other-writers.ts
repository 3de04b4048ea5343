/**
 * Other writers of the replicas of a pool's Deployment. A pool that detects one changes nothing: two writers would revert each
 * other's value. Those that the watches show are in claims.ts; this file derives them from the Deployment itself, for a
 * controller that may not read HorizontalPodAutoscalers, or that is ahead of its watch.
 *
 * The API server records who wrote `spec.replicas` last. An autoscaler counts only if it has overwritten our value: an earlier
 * write means nothing, as users remove the autoscaler when they move to a pool. After RETRY_MS we try again.
 */
import { SCALE_FIELD_MANAGER } from '../../kube/api.ts';
import type { Deployment } from '../../kube/wire.ts';
import { GROUP, KIND, type WorkerPool, type WorkerPoolStatus } from '../../kube/workerpool.ts';

/** Somebody else scales the Deployment. */
export class TargetTaken extends Error {
  override name = 'TargetTaken';
}

/** Our own writes to one Deployment. */
export interface Written {
  /** The replicas that we set last; `undefined` if we set none, or a person has changed them since. */
  readonly replicas: number | undefined;
  /** Who took them over, and until when that is assumed, ms of the elapsed clock. */
  readonly lost: { readonly to: string; readonly until: number } | undefined;
  /** The resource version that our last write replaced, or for which it was refused: a watch that shows it is behind. */
  readonly outdated?: string | undefined;
}

export const nothingWritten: Written = { replicas: undefined, lost: undefined };

const RETRY_MS = 60_000;

type ManagedFields = NonNullable<Deployment['metadata']['managedFields']>[number];

function ownsReplicas({ fieldsV1 }: ManagedFields): boolean {
  const { 'f:spec': fields }: { 'f:spec'?: object } = fieldsV1 ?? {};
  return fields !== undefined && 'f:replicas' in fields;
}

/** Who owns `spec.replicas` of a Deployment, and who applies manifests of it. */
export interface ReplicaOwners {
  /** The manager that owns them, if there is exactly one. */
  readonly sole: string | undefined;
  /**
   * Whether we own them, alone or with others. If nobody did, the next server-side apply with another number would win without a
   * conflict; if only an applier did, its next apply without the field would take the Deployment to 1.
   */
  readonly claimed: boolean;
  /** Whose manifest sets them. */
  readonly applier: Applier | undefined;
  /** Every manager that applies the Deployment, with or without replicas, and when it did so last. */
  readonly applied: readonly Pick<Applier, 'manager' | 'at'>[];
}

export function ownersOf({ metadata }: Pick<Deployment, 'metadata'>): ReplicaOwners {
  const { annotations, managedFields = [] } = metadata;
  const owners = managedFields.filter(ownsReplicas);
  const appliers = managedFields.filter(
    ({ manager, operation, subresource }) =>
      operation === 'Apply' && !subresource && manager !== SCALE_FIELD_MANAGER,
  );
  const applied = appliers.flatMap(({ manager, time }) =>
    manager === undefined ? [] : [{ manager, at: time }],
  );
  const owner = appliers.find(ownsReplicas);
  const serverSide = owner?.manager !== undefined && {
    manager: owner.manager,
    at: owner.time,
    refused: true,
  };
  const clientSide = hasReplicas(annotations?.[LAST_APPLIED]) && {
    manager: 'kubectl-client-side-apply',
    at: undefined,
    refused: false,
  };
  return {
    sole: owners.length === 1 ? owners[0]?.manager : undefined,
    claimed: owners.some(({ manager }) => manager === SCALE_FIELD_MANAGER),
    applier: serverSide || clientSide || undefined,
    applied,
  };
}

/** A manager whose manifest of the Deployment sets replicas, each time that it is applied. */
export interface Applier {
  readonly manager: string;
  /** When it last applied them, RFC 3339. */
  readonly at: string | undefined;
  /** Whether the API server refuses its next apply while we own the number; a client-side apply simply overwrites it. */
  readonly refused: boolean;
}

/**
 * Who applies replicas to a Deployment that we scale; `before`: the result of the last call. Our own write takes the ownership
 * of the field from them although their manifest is unchanged, so this ends only when they have applied without replicas, or no
 * longer apply. The API server records the time of an apply in seconds: a second apply within the same one is not noticed.
 */
export function applierOf(
  { applier, applied }: ReplicaOwners,
  before: Applier | undefined,
): Applier | undefined {
  if (applier) return applier;
  const same = applied.some(({ manager, at }) => manager === before?.manager && at === before.at);
  return same ? before : undefined;
}

/** The applier that an earlier controller found, from the status that it left. */
export function applierBefore(found: WorkerPoolStatus['replicasApplier']): Applier | undefined {
  return found && { manager: found.manager, at: found.time, refused: true };
}

/** The annotation in which `kubectl apply` without `--server-side` records the manifest. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

function hasReplicas(manifest: string | undefined): boolean {
  if (!manifest?.includes('"replicas"')) return false;
  try {
    const { spec }: { spec?: object } = JSON.parse(manifest);
    return spec !== undefined && 'replicas' in spec;
  } catch {
    // anybody may write the annotation
    return false;
  }
}

/**
 * The HorizontalPodAutoscaler controller is the only part of kube-controller-manager that sets replicas; KEDA sets them to 0
 * and 1.
 */
function isAutoscaler(manager: string | undefined): manager is string {
  return manager === 'kube-controller-manager' || manager?.startsWith('keda') === true;
}

/** The current replicas of a Deployment, and who owns them. */
export interface CurrentReplicas {
  readonly replicas: number | undefined;
  readonly owners: Pick<ReplicaOwners, 'sole'>;
}

/** Updates our record if the Deployment has other replicas than we wrote. */
export function overwritten({ replicas, owners }: CurrentReplicas, before: Written, now: number): Written {
  if (replicas === before.replicas) return before;
  const to = owners.sole;
  return { replicas: undefined, lost: isAutoscaler(to) ? { to, until: now + RETRY_MS } : undefined };
}

/** Throws `TargetTaken` for a Deployment that another pool created. */
export function checkMaker(pool: WorkerPool, { metadata }: Pick<Deployment, 'metadata'>): void {
  const maker = metadata.ownerReferences?.find(
    ({ kind, apiVersion, uid }) =>
      kind === KIND && apiVersion.startsWith(`${GROUP}/`) && uid !== pool.metadata.uid,
  );
  if (maker) throw takenBy(metadata.name, `pool "${maker.name}", which owns it,`);
}

/** `who`: `HorizontalPodAutoscaler "web"`. `asleep`: it is one, and the Deployment is at 0, perhaps because of the pool. */
export function takenBy(deployment: string, who: string, asleep = false): TargetTaken {
  const sleeps = asleep
    ? '; the Deployment is at 0 now, and a HorizontalPodAutoscaler wakes only what it put to sleep itself: to keep that one, scale the Deployment to 1'
    : '';
  return new TargetTaken(
    `Deployment "${deployment}" is scaled by ${who} and this pool changes nothing: remove one of the two; the pool then resumes by itself${sleeps}`,
  );
}
