/**
 * How many replicas a pool that parks some has in all, for the number that a decision wants at work. Pure.
 *
 * The parked ones are the last of the pool: with `parked.replicas` 2, a pool that needs none has two parked, one that needs one has
 * one at work and one parked, and one that needs five has five at work.
 */
import type { Decision, Policy } from '../../decide/decision.ts';
import type { Replicas } from '../target.ts';

/** The replicas as a decision counts them. */
export interface Working {
  /** Requested, without those that are parked or stuck at the parked size. */
  readonly current: number;
  readonly ready: number;
  readonly parked: number;
  readonly stuck: number;
}

/** `up`: replicas that take tasks, parked ones included. */
export function workingOf({ wanted, parked: counts }: Replicas, up: number): Working {
  const { parked = 0, ready = 0, stuck = 0 } = counts ?? {};
  return {
    current: Math.max(0, wanted - parked - stuck),
    ready: Math.max(0, up - ready),
    parked,
    stuck,
  };
}

export interface TotalInput {
  readonly decision: Decision;
  readonly policy: Policy;
  /** The replicas that are requested now. */
  readonly wanted: number;
  readonly working: Working;
  /** `parked.replicas`; 0 while none can be parked. */
  readonly keep: number;
  /** Whether the queue could be read. */
  readonly known: boolean;
}

/** Replicas to request. Of a pool that parks none, those that the decision wants. */
export function totalReplicas({ decision, policy, wanted, working, keep, known }: TotalInput): number {
  const { desired, bounds, cause } = decision;
  const { current, parked, stuck } = working;
  if (cause === 'Paused') {
    const { pause } = policy;
    // nothing changes, parked ones included
    if (pause?.replicas === undefined) return desired === current ? wanted : desired;
    return known ? pause.replicas : Math.max(wanted, pause.replicas);
  }
  if (keep + parked + stuck === 0) return desired;
  // scale-in drains, which takes a queue that can be read
  if (!known) return Math.max(wanted, desired);
  // what is stuck works, but others are to have the full size instead
  const working_ = desired > 0 ? desired + stuck : 0;
  return Math.min(Math.max(working_, keep), Math.max(desired, bounds.maxReplicas));
}

/** Whether sizes or marks may have to change. */
export function mustPark(
  { decision, policy, working, known }: Omit<TotalInput, 'wanted' | 'keep'>,
  total: number,
  sample: { readonly inFlight?: number; readonly leaving?: number },
): boolean {
  const { desired, cause } = decision;
  const { current, parked, stuck } = working;
  if (cause === 'Paused' && policy.pause?.replicas === undefined) return false;
  if (!known) return parked > 0 && desired > current;
  if (parked + stuck === 0 && desired >= total) return false;
  const { inFlight = 0, leaving = 0 } = sample;
  return desired + current + stuck + inFlight + leaving > 0;
}

/** What becomes of parked replicas, for the reason of a decision. */
export function parkNote({ desired }: Decision, { current, parked }: Working, total: number): string {
  const waking = Math.min(Math.max(0, desired - current), parked);
  if (waking > 0) return `; ${waking === 1 ? '1 parked replica wakes' : `${waking} parked replicas wake`}`;
  const resting = Math.max(0, total - desired);
  return resting > 0 ? `; ${resting === 1 ? '1 is kept parked' : `${resting} are kept parked`}` : '';
}
