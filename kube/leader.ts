/**
 * Leader election on a `coordination.k8s.io/v1` Lease, with the semantics of client-go's leaderelection, so that either
 * understands the other's record.
 *
 * - A candidate takes the lease when it has no holder, or when its record has not changed for the record's own duration as
 *   measured here, by a monotonic clock, since it was first seen so. The times in the record are for people: clocks may differ.
 * - The leader renews every `retryPeriodMs`. When it has not succeeded for `renewDeadlineMs`, counted from before the last renewal
 *   that did, it steps down. As that is less than `leaseDurationMs`, which others count from after that renewal, its signal is aborted
 *   before another can take over; what is left between the two is the time that the work has to stop.
 * - Every write carries the resource version that the decision was made on, so of two candidates one gets a conflict.
 * - On a clean stop the lease is renewed until the work has ended, and only then given back.
 *
 * As with every lease, a process that is frozen and thawed after its lease ran out acts once more before it notices. Writes that
 * must not come from a former leader need preconditions of their own.
 */
import type { Clock } from '../runtime/clock.ts';
import { systemClock } from '../runtime/clock.ts';
import type { KubeApi } from './api.ts';
import { KubeError } from './errors.ts';
import type { ObservedLease, Timing } from './lease.ts';
import { checkTiming, claimed, DEFAULT_TIMING, JITTER, mayClaim, observeLease, released } from './lease.ts';
import type { ObjectRef } from './resources.ts';
import type { CallOptions } from './transport.ts';
import type { Lease } from './wire.ts';

export interface LeadOptions {
  readonly api: Pick<KubeApi, 'leases'>;
  readonly lease: ObjectRef;
  /** Unique to this process, also among its predecessors: the pod's name and a random part. */
  readonly identity: string;
  /** Asks to stop: the work's signal aborts, and once it has ended the lease is given back. */
  readonly signal: AbortSignal;
  /** ms. */
  readonly timing?: Partial<Timing>;
  /** Called whenever the holder changes, also to this process; with an empty string when there is none. */
  readonly onHolder?: (identity: string, annotations: Readonly<Record<string, string>>) => void;
  /** Annotations to write into the lease with the holder's name, computed from the current ones: information about the leader. */
  readonly annotations?: (found: Readonly<Record<string, string>>) => Readonly<Record<string, string>>;
  /** Called with the annotations whenever the lease was read or written. */
  readonly onAnnotations?: (found: Readonly<Record<string, string>>) => void;
  /** Called for failed attempts; they are retried. */
  readonly onError?: (error: unknown) => void;
  readonly clock?: Clock;
  /** ms, monotonic. */
  readonly elapsed?: () => number;
  readonly random?: () => number;
}

/**
 * Runs `work` while leading, as often as leadership is won, until the signal aborts or `work` returns by itself. Its signal aborts
 * when it has to stop; this process does not compete again before it did.
 * Throws `RangeError` when the timing cannot be safe.
 * Rejects with what `work` throws, after giving the lease back.
 */
export async function lead(
  options: LeadOptions,
  work: (leading: AbortSignal) => Promise<void>,
): Promise<void> {
  const { signal } = options;
  const election = createElection(options);
  while (await election.win()) {
    const leading = new AbortController();
    const stop = (): void => leading.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const ended = new AbortController();
    const kept = election.keep(ended.signal).then((lost) => {
      if (lost !== undefined) leading.abort(lost);
      return lost === undefined;
    });
    try {
      await work(leading.signal);
    } catch (error) {
      // To reject with the signal's reason is a way to stop, and not the work's failure.
      if (!leading.signal.aborted || error !== leading.signal.reason) throw error;
    } finally {
      signal.removeEventListener('abort', stop);
      ended.abort();
      if (await kept) await election.release();
    }
    if (!leading.signal.aborted) return;
  }
}

function annotationsOf({ lease }: ObservedLease): Readonly<Record<string, string>> {
  return lease?.metadata?.annotations ?? {};
}

interface Election {
  /** Resolves to true when the lease is ours, or to false when the signal aborted before. */
  win(): Promise<boolean>;
  /** Renews until `ended` aborts, and then resolves to undefined; resolves to the reason when the lease is lost before. */
  keep(ended: AbortSignal): Promise<Error | undefined>;
  /** Releases the lease if it is ours. If that fails, it expires. */
  release(): Promise<void>;
}

function createElection(options: LeadOptions): Election {
  const { lease: ref, signal, onError } = options;
  const { clock = systemClock, elapsed = () => performance.now(), random = Math.random } = options;
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  checkTiming(timing);
  const { renewDeadlineMs, retryPeriodMs } = timing;
  const record = createLeaseRecord(options, { clock, elapsed, timing });
  let renewed = 0;

  const release = (): Promise<void> => record.release({ timeoutMs: retryPeriodMs });

  /** ms until a lease that is not renewed counts as lost. */
  const left = (): number => renewed + renewDeadlineMs - elapsed();

  async function win(): Promise<boolean> {
    while (!signal.aborted) {
      const started = elapsed();
      try {
        const won = await record.claim({ timeoutMs: renewDeadlineMs, signal });
        renewed = started;
        if (won && !signal.aborted) return true;
      } catch (error) {
        // Of two candidates one gets a conflict, which is nothing to report.
        const beaten = error instanceof KubeError && error.status === 409;
        if (!beaten && !signal.aborted) onError?.(error);
      }
      await clock.sleep(retryPeriodMs * (1 + (JITTER - 1) * random()), signal);
    }
    // An attempt that the signal cut off may have succeeded.
    if (record.wrote) await release();
    return false;
  }

  async function keep(ended: AbortSignal): Promise<Error | undefined> {
    const title = `the lease ${ref.namespace}/${ref.name}`;
    for (;;) {
      await clock.sleep(Math.max(0, Math.min(retryPeriodMs, left())), ended);
      if (ended.aborted) return undefined;
      if (left() <= 0) return new Error(`${title} could not be renewed for ${renewDeadlineMs / 1000} s`);
      const started = elapsed();
      try {
        if (!(await record.claim({ timeoutMs: left(), signal: ended })))
          return new Error(`${title} was acquired by ${record.holder}`);
        renewed = started;
      } catch (error) {
        if (ended.aborted) return undefined;
        onError?.(error);
      }
    }
  }

  return { win, keep, release };
}

/** The lease as this process last read or wrote it. */
interface LeaseRecord {
  readonly holder: string | undefined;
  /** Whether anything was written, or may have been. */
  readonly wrote: boolean;
  /** One read of the lease and, if it can be claimed, one write. Resolves to whether it is ours now. */
  claim(call: CallOptions): Promise<boolean>;
  release(call: CallOptions): Promise<void>;
}

interface LeaseRecordOptions {
  readonly clock: Clock;
  readonly elapsed: () => number;
  readonly timing: Timing;
}

function createLeaseRecord(
  { api, lease: ref, identity, onHolder, onError, annotations = () => ({}), onAnnotations }: LeadOptions,
  { clock, elapsed, timing: { leaseDurationMs } }: LeaseRecordOptions,
): LeaseRecord {
  let seen: ObservedLease | undefined;
  /** True if `seen` is our own last write, so that the next write needs no read before it. */
  let fresh = false;
  let wrote = false;

  function note(lease: Lease | undefined): ObservedLease {
    const before = seen?.holder;
    seen = observeLease(seen, lease, elapsed());
    if (seen.holder !== before) onHolder?.(seen.holder, lease?.metadata?.annotations ?? {});
    onAnnotations?.(lease?.metadata?.annotations ?? {});
    return seen;
  }

  async function read(call: CallOptions): Promise<ObservedLease> {
    try {
      return note(await api.leases.get(ref, call));
    } catch (error) {
      if (error instanceof KubeError && error.notFound) return note(undefined);
      throw error;
    }
  }

  return {
    get holder() {
      return seen?.holder;
    },
    get wrote() {
      return wrote;
    },
    claim: async (call) => {
      const known = (fresh ? seen : undefined) ?? (await read(call));
      fresh = false;
      if (!mayClaim(known, identity, elapsed())) return false;
      const notes = annotations(annotationsOf(known));
      const record = claimed(known.lease, ref, identity, leaseDurationMs, clock.now(), notes);
      wrote = true;
      note(await (known.lease ? api.leases.update(record, call) : api.leases.create(record, call)));
      fresh = true;
      return true;
    },
    release: async (call) => {
      for (let again = false; ; again = true) {
        const known = fresh ? seen : undefined;
        fresh = false;
        try {
          const { lease, holder } = known ?? (await read(call));
          if (lease && holder === identity) note(await api.leases.update(released(lease, clock.now()), call));
          return;
        } catch (error) {
          // A renewal that was cut off may still have been on its way to the server.
          const overtaken = error instanceof KubeError && error.conflict;
          if (overtaken && !again) continue;
          onError?.(error);
          return;
        }
      }
    },
  };
}
