/**
 * A candidate's decisions about a Lease: pure, so that every case can be tested as a row of values. `now` in ms: of a monotonic
 * clock where it is compared (`observeLease`, `claim`), since the epoch where it is written (`claimed`, `released`).
 */
import type { ObjectRef } from './resources.ts';
import type { Lease, ObjectMeta } from './wire.ts';
import { microTime } from './wire.ts';

/** ms. */
export interface Timing {
  /** Other candidates take over from a leader that has not renewed for this long. */
  readonly leaseDurationMs: number;
  /** A leader that has failed to renew for this long steps down. */
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}

/** As in client-go's users: kube-scheduler, kube-controller-manager. */
export const DEFAULT_TIMING: Timing = {
  leaseDurationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryPeriodMs: 2_000,
};

/** The longest wait of a candidate between two attempts, as a multiple of `retryPeriodMs`. */
export const JITTER = 1.2;

/** Throws `RangeError` when two could lead at once, or a leader could not renew in time. */
export function checkTiming({ leaseDurationMs, renewDeadlineMs, retryPeriodMs }: Timing): void {
  if (leaseDurationMs > renewDeadlineMs && renewDeadlineMs > retryPeriodMs * JITTER && retryPeriodMs > 0)
    return;
  throw new RangeError(
    `leader election needs leaseDuration > renewDeadline > ${JITTER} × retryPeriod > 0, ` +
      `not ${leaseDurationMs}, ${renewDeadlineMs} and ${retryPeriodMs} ms`,
  );
}

/** A record as last seen. */
export interface ObservedLease {
  /** Absent when there was none. */
  readonly lease: Lease | undefined;
  /** Empty when it has no holder. */
  readonly holder: string;
  /** When this record was first seen, ms. */
  readonly since: number;
}

/** `previous` with what is there now: the same record keeps the time that it was first seen. */
export function observeLease(
  previous: ObservedLease | undefined,
  lease: Lease | undefined,
  now: number,
): ObservedLease {
  const same = previous !== undefined && JSON.stringify(previous.lease?.spec) === JSON.stringify(lease?.spec);
  return { lease, holder: lease?.spec?.holderIdentity ?? '', since: same ? previous.since : now };
}

/** Whether `identity` may write its name into the record: it is its own, has no holder, or has expired. */
export function mayClaim({ lease, holder, since }: ObservedLease, identity: string, now: number): boolean {
  const duration = (lease?.spec?.leaseDurationSeconds ?? 0) * 1000;
  return holder === '' || holder === identity || now >= since + duration;
}

/** The record with `identity` as the holder of the lease, to be written over `lease`. */
export function claimed(
  lease: Lease | undefined,
  ref: ObjectRef,
  identity: string,
  leaseDurationMs: number,
  now: number,
  annotations: Readonly<Record<string, string>> = {},
): Lease {
  const renewTime = microTime(now);
  const before = lease?.spec;
  const goesOn = before?.holderIdentity === identity;
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { ...ref, ...lease?.metadata, ...annotated(lease, annotations) },
    spec: {
      ...before,
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
      acquireTime: (goesOn && before.acquireTime) || renewTime,
      renewTime,
      leaseTransitions: before === undefined ? 0 : (before.leaseTransitions ?? 0) + (goesOn ? 0 : 1),
    },
  };
}

/** Existing annotations stay, as others may have set them. */
function annotated(
  lease: Lease | undefined,
  ours: Readonly<Record<string, string>>,
): Pick<ObjectMeta, 'annotations'> {
  const annotations = { ...lease?.metadata?.annotations, ...ours };
  return Object.keys(annotations).length > 0 ? { annotations } : {};
}

/** The record of a lease without a holder. */
export function released(lease: Lease, now: number): Lease {
  const { holderIdentity: _, ...spec } = lease.spec ?? {};
  // An old client-go, which does not recognize a lease without a holder, waits for no longer than this.
  return { ...lease, spec: { ...spec, leaseDurationSeconds: 1, renewTime: microTime(now) } };
}
