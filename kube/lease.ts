/**
 * What a candidate makes of a Lease: pure, so that every case can be told as a row of values. `now` in ms: of a monotonic clock
 * where it is compared (`observe`, `claim`), since the epoch where it is written down (`claimed`, `released`).
 */
import type { ObjectRef } from './resources.ts';
import type { Lease, ObjectMeta } from './wire.ts';
import { microTime } from './wire.ts';

/** ms. */
export interface Timing {
  /** How long others wait for a leader that does not renew. */
  leaseDuration: number;
  /** How long a leader goes on without having renewed. */
  renewDeadline: number;
  retryPeriod: number;
}

/** As in client-go's users: kube-scheduler, kube-controller-manager. */
export const defaultTiming: Timing = { leaseDuration: 15_000, renewDeadline: 10_000, retryPeriod: 2_000 };

/** The most that a candidate waits between two looks, as a multiple of `retryPeriod`. */
export const jitter = 1.2;

/** @throws RangeError when two could lead at once, or a leader could not renew in time. */
export function checkTiming({ leaseDuration, renewDeadline, retryPeriod }: Timing): void {
  if (leaseDuration > renewDeadline && renewDeadline > retryPeriod * jitter && retryPeriod > 0) return;
  throw new RangeError(
    `leader election needs leaseDuration > renewDeadline > ${jitter} × retryPeriod > 0, ` +
      `not ${leaseDuration}, ${renewDeadline} and ${retryPeriod} ms`,
  );
}

/** A record as last seen. */
export interface Observed {
  /** Absent when there was none. */
  lease: Lease | undefined;
  /** Empty when nobody holds it. */
  holder: string;
  /** When this record was first seen, ms. */
  since: number;
}

/** `previous` with what is there now: the same record keeps the time that it was first seen. */
export function observe(previous: Observed | undefined, lease: Lease | undefined, now: number): Observed {
  const same = previous !== undefined && JSON.stringify(previous.lease?.spec) === JSON.stringify(lease?.spec);
  return { lease, holder: lease?.spec?.holderIdentity ?? '', since: same ? previous.since : now };
}

/** Whether `identity` may write its name into the record: it is its own, nobody's, or ran out. */
export function claim({ lease, holder, since }: Observed, identity: string, now: number): boolean {
  const duration = (lease?.spec?.leaseDurationSeconds ?? 0) * 1000;
  return holder === '' || holder === identity || now >= since + duration;
}

/** The record that says that `identity` holds the lease, to be written over `lease`. */
export function claimed(
  lease: Lease | undefined,
  ref: ObjectRef,
  identity: string,
  leaseDuration: number,
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
      leaseDurationSeconds: Math.ceil(leaseDuration / 1000),
      acquireTime: (goesOn && before.acquireTime) || renewTime,
      renewTime,
      leaseTransitions: before === undefined ? 0 : (before.leaseTransitions ?? 0) + (goesOn ? 0 : 1),
    },
  };
}

/** What is there stays, as others may have put it there. */
function annotated(
  lease: Lease | undefined,
  ours: Readonly<Record<string, string>>,
): Pick<ObjectMeta, 'annotations'> {
  const annotations = { ...lease?.metadata?.annotations, ...ours };
  return Object.keys(annotations).length > 0 ? { annotations } : {};
}

/** The record that says that nobody holds the lease. */
export function released(lease: Lease, now: number): Lease {
  const { holderIdentity: _, ...spec } = lease.spec ?? {};
  // An old client-go, which knows no lease without a holder, waits for no longer than this.
  return { ...lease, spec: { ...spec, leaseDurationSeconds: 1, renewTime: microTime(now) } };
}
