/**
 * Others that write the replicas of a pool's Deployment. A pool that finds one touches nothing: two that scale undo each other.
 * What the watches show of them is in claims.ts; here is what the Deployment itself tells, for a controller that may not read
 * HorizontalPodAutoscalers, or that is faster than its watch.
 *
 * The API server notes who wrote `spec.replicas` last. An autoscaler counts when it has overwritten what we wrote: that it once
 * wrote says nothing, as who moves to a pool removes it before. After RETRY_MS we try again.
 */
import { SCALE_FIELD_MANAGER } from '../../kube/api.ts';
import type { Deployment } from '../../kube/wire.ts';
import { GROUP, KIND, type WorkerPool, type WorkerPoolStatus } from '../../kube/workerpool.ts';

/** Somebody else scales the Deployment. */
export class TargetTaken extends Error {
  override name = 'TargetTaken';
}

/** What we know of our own writes to one Deployment. */
export interface Written {
  /** Replicas that we set last; `undefined` when we set none, or have lost them to a person. */
  readonly replicas: number | undefined;
  /** Who took them over, and until when that is believed, ms of the elapsed clock. */
  readonly lost: { readonly to: string; readonly until: number } | undefined;
}

export const nothingWritten: Written = { replicas: undefined, lost: undefined };

const RETRY_MS = 60_000;

type ManagedFields = NonNullable<Deployment['metadata']['managedFields']>[number];

function ownsReplicas({ fieldsV1 }: ManagedFields): boolean {
  const { 'f:spec': fields }: { 'f:spec'?: object } = fieldsV1 ?? {};
  return fields !== undefined && 'f:replicas' in fields;
}

/** The manager that owns `spec.replicas`, if there is one and only one. */
export function writerOf({ metadata }: Deployment): string | undefined {
  const owners = metadata.managedFields?.filter(ownsReplicas);
  return owners?.length === 1 ? owners[0]?.manager : undefined;
}

/**
 * Whether we own `spec.replicas`, alone or with others. If nobody did, the next server-side apply with another number would win
 * without a conflict; if only an applier did, its next apply without the field would take the Deployment to 1.
 */
export function isClaimed({ metadata }: Deployment): boolean {
  return (
    metadata.managedFields?.some((entry) => entry.manager === SCALE_FIELD_MANAGER && ownsReplicas(entry)) ??
    false
  );
}

/** Somebody whose manifest of the Deployment has a number of replicas, which it wants again each time that it is applied. */
export interface Applier {
  readonly manager: string;
  /** When it last applied that, RFC 3339. */
  readonly at: string | undefined;
  /** Whether the API server refuses its next apply while the number is ours; a client-side apply just takes the number. */
  readonly refused: boolean;
}

/**
 * Who applies replicas to a Deployment that we scale; `before`: who did when we last looked. Our own write takes the field from them
 * without a change of theirs, so it is over only when they have applied without it, or apply no more.
 */
export function applierOf({ metadata }: Deployment, before: Applier | undefined): Applier | undefined {
  const { annotations, managedFields = [] } = metadata;
  const applied = managedFields.filter(
    ({ manager, operation, subresource }) =>
      operation === 'Apply' && !subresource && manager !== SCALE_FIELD_MANAGER,
  );
  const owner = applied.find(ownsReplicas);
  if (owner?.manager !== undefined) return { manager: owner.manager, at: owner.time, refused: true };
  if (hasReplicas(annotations?.[LAST_APPLIED]))
    return { manager: 'kubectl-client-side-apply', at: undefined, refused: false };
  const same = applied.some(({ manager, time }) => manager === before?.manager && time === before?.at);
  return same ? before : undefined;
}

/** The applier that an earlier controller found, from the status that it left. */
export function applierBefore(found: WorkerPoolStatus['replicasApplier']): Applier | undefined {
  return found && { manager: found.manager, at: found.time, refused: true };
}

/** What `kubectl apply` without `--server-side` notes of the manifest. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

function hasReplicas(manifest: string | undefined): boolean {
  if (!manifest?.includes('"replicas"')) return false;
  try {
    const { spec }: { spec?: object } = JSON.parse(manifest);
    return spec !== undefined && 'replicas' in spec;
  } catch {
    // an annotation is anybody's to write
    return false;
  }
}

/** The HorizontalPodAutoscaler controller is part of it, and nothing else in it sets replicas; KEDA sets them to 0 and to 1. */
export function isAutoscaler(manager: string | undefined): manager is string {
  return manager === 'kube-controller-manager' || manager?.startsWith('keda') === true;
}

/** What becomes of our record when the Deployment seems to have other replicas than we wrote: this is how it is now. */
export function overwritten(deployment: Deployment, before: Written, now: number): Written {
  if (deployment.spec?.replicas === before.replicas) return before;
  const to = writerOf(deployment);
  return { replicas: undefined, lost: isAutoscaler(to) ? { to, until: now + RETRY_MS } : undefined };
}

/** Throws `TargetTaken` for a Deployment that another pool made. */
export function checkMaker(pool: WorkerPool, { metadata }: Pick<Deployment, 'metadata'>): void {
  const maker = metadata.ownerReferences?.find(
    ({ kind, apiVersion, uid }) =>
      kind === KIND && apiVersion.startsWith(`${GROUP}/`) && uid !== pool.metadata.uid,
  );
  if (maker) throw takenBy(metadata.name, `pool "${maker.name}", whose own it is,`);
}

/** `who`: `HorizontalPodAutoscaler "web"`. `asleep`: it is one, and the Deployment is at 0, which may be the pool's doing. */
export function takenBy(deployment: string, who: string, asleep = false): TargetTaken {
  const sleeps = asleep
    ? '; the Deployment is at 0 now, and a HorizontalPodAutoscaler wakes only what it put to sleep itself: if that one is to stay, scale the Deployment to 1'
    : '';
  return new TargetTaken(
    `Deployment "${deployment}" is scaled by ${who} and this pool touches nothing: remove one of the two; the pool goes on by itself then${sleeps}`,
  );
}
