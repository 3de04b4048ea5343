/**
 * `controller/act/` takes a decision, the pods and the workers, and changes the cluster: replicas, Deployment, drains, the
 * end of a pool. How many replicas are right is not its business.
 *
 * One step of a pool: existing replicas and a sample of the queue go in, replicas come out. The controller's reconcile and
 * `millrace dev` both run it; only the Target differs.
 *
 * Scale-out is immediate, and cancels a scale-in in progress. Scale-in removes as many as have drained (scale-in.ts).
 */
import type { Unmanaged } from '../../kube/workerpool.ts';
import { decide } from '../decide/decide.ts';
import type { Decision, Memory, Policy } from '../decide/decision.ts';
import type { Sampled } from '../sample/sampled.ts';
import { cancelDrains, noPasses, scaleIn, type Drains, type ScaleInHold, type Passes } from './scale-in.ts';
import type { Replicas, Target } from './target.ts';
import type { PoolIdentity } from './workers-of.ts';

/** State from one step to the next, besides the memory of the decision. */
export interface Kept extends Passes {
  /** Workers registered in the queues that are not the target's, as counted when all of its replicas were ready. */
  readonly elsewhere: number;
}

export const nothingKept: Kept = { ...noPasses, elsewhere: 0 };

export interface Step {
  readonly replicas: Replicas;
  readonly decision: Decision;
  /** The change of replicas; `undefined` if there was none. */
  readonly scaled: { readonly from: number; readonly to: number } | undefined;
  /** Why excess replicas stay, if for another reason than unfinished tasks. */
  readonly held: ScaleInHold | undefined;
  /** Input of the next step. */
  readonly kept: Kept;
  /** The next step is due after this many ms, whether or not the queue was sampled again. */
  readonly requeueInMs: number | undefined;
}

/** Timers are limited to less than a month. */
const MAX_DELAY_MS = 3_600_000;
/** Until the next step after somebody else changed the replicas during this one. */
const CHANGED_MS = 100;

export interface StepInput {
  readonly policy: Policy;
  readonly sampled: Sampled;
  readonly target: Target;
  readonly memory: Memory;
  /** By the monotonic clock that the memory is based on. */
  readonly now: number;
  /** The same moment in ms since the epoch, for schedules and the forecast. */
  readonly wall?: number;
  /** Calls the decision. */
  readonly around?: <T>(work: () => T) => T;
  /** Decide and report, but change nothing. */
  readonly dryRun: boolean;
  /** In the queue's Redis; `undefined` only while its address is not resolved: nothing is lowered then. */
  readonly drains: Drains | undefined;
  /** How to treat workers that cannot drain. */
  readonly unmanaged: Unmanaged;
  readonly kept: Kept;
  /** The lists are partitions of one queue. */
  readonly partitioned?: boolean;
  /** Identifies the pool's workers; `undefined` if they have the ids of the target's members. */
  readonly identity: PoolIdentity | undefined;
}

/** Observes, decides and acts. Rejects if the target could not be observed or scaled; the memory is unchanged then. */
export async function step(input: StepInput): Promise<Step> {
  const { policy, sampled, target, memory, now, wall = now, drains, identity } = input;
  const replicas = await target.observe();
  const { redis } = sampled;
  const sample =
    sampled.kind === 'known'
      ? { kind: 'known' as const, ...sampled.sample, ...sampled.sample.runnable, redis }
      : { kind: 'unknown' as const, why: sampled.why, redis };
  const rules = input.dryRun ? { ...policy, dryRun: true } : policy;
  const elsewhere = elsewhereOf(replicas, sampled, input.kept.elsewhere);
  const ready = up(replicas, sampled, elsewhere);
  const { around = (work) => work() } = input;
  const decided = around(() => decide(rules, sample, replicas.wanted, memory, now, ready, wall));
  const decision = { ...decided, reason: decided.reason + pauseNote(input) + limitNote(sampled) };
  const { desired } = decision;
  const from = replicas.wanted;
  const still: Step = {
    replicas,
    decision,
    scaled: undefined,
    held: undefined,
    kept: { ...noPasses, elsewhere },
    requeueInMs: delayUntil(decision.decideAgainAt, wall),
  };
  if (input.dryRun) return still;
  if (desired >= from) {
    let raised: boolean | undefined;
    try {
      // first, as draining workers are already running
      if (drains && sample.kind === 'known' && sample.leaving > 0)
        await cancelDrains({ target, drains, identity });
    } finally {
      if (desired > from) raised = await target.raise(desired);
    }
    if (raised === false) return { ...still, requeueInMs: CHANGED_MS };
    return raised ? { ...still, scaled: { from, to: desired } } : still;
  }
  // decide never scales in without a sample, and there is no sample without a Redis
  if (!drains) return still;
  const idle = sample.kind === 'known' && sample.waiting + sample.inFlight + sample.due === 0;
  const { unmanaged, kept: before } = input;
  const scaledIn = await scaleIn({
    target,
    drains,
    replicas,
    identity,
    desired,
    idle,
    unmanaged,
    before,
    now,
  });
  const reason = [decision.reason, scaledIn.progress, scaledIn.held?.message].filter(Boolean).join('; ');
  return {
    ...still,
    decision: { ...decision, reason },
    scaled: scaledIn.to < from ? { from, to: scaledIn.to } : undefined,
    held: scaledIn.held,
    kept: { ...scaledIn.passes, elsewhere },
    requeueInMs: soonest(still.requeueInMs, scaledIn.requeueInMs),
  };
}

function delayUntil(at: number | undefined, now: number): number | undefined {
  return at === undefined ? undefined : Math.min(Math.max(1, Math.ceil(at - now)), MAX_DELAY_MS);
}

/** The smaller of two durations, either of which may be missing. */
export function soonest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}

/**
 * Replicas that take tasks. A worker is registered in Redis a second or two before Kubernetes reports its pod as ready, because
 * the kubelet probes once a second and two controllers update their counts after that. Lost workers stay registered until their
 * lease ends, so existing pods are the upper limit; workers of other programs on the same queue do not count.
 */
function up({ ready, existing }: Replicas, sampled: Sampled, elsewhere: number): number {
  if (sampled.kind !== 'known') return ready;
  return Math.max(ready, Math.min(sampled.sample.workers - elsewhere, existing));
}

function elsewhereOf({ ready, existing }: Replicas, sampled: Sampled, before: number): number {
  if (sampled.kind !== 'known') return before;
  const { workers } = sampled.sample;
  return ready === existing ? Math.max(0, workers - existing) : Math.min(before, workers);
}

/** Tasks of paused queues need no workers; this explains it in the reason. */
function pauseNote({ sampled, partitioned }: Pick<StepInput, 'sampled' | 'partitioned'>): string {
  const { pausedQueues: paused, lists } = sampled.kind === 'known' ? sampled.sample : { pausedQueues: 0 };
  if (partitioned && lists && paused > 0)
    return paused === lists.length
      ? '; the queue is paused'
      : `; ${paused} of ${lists.length} partitions are paused`;
  return paused === 0 ? '' : paused === 1 ? '; a queue is paused' : `; ${paused} queues are paused`;
}

/** Tasks beyond a limit of their queue need no workers either. */
function limitNote(sampled: Sampled): string {
  const { blocked = 0, limits } = sampled.kind === 'known' ? sampled.sample : {};
  if (blocked > 0 && limits !== undefined)
    return `; ${blocked} more wait for the limits of their queue (${limits})`;
  return blocked === 0
    ? ''
    : `; ${blocked} more wait, because their queue limits how many run, or start in a time`;
}

/** Whether something changes or may change, so that the queue should be sampled every second. */
export function isActive({ replicas, decision, held }: Step, sampled: Sampled): boolean {
  if (sampled.kind !== 'known') return true;
  const { runnable, inFlight, leaving } = sampled.sample;
  const still =
    decision.cause === 'Enough' ||
    (decision.cause === 'Paused' && decision.desired === replicas.wanted) ||
    (decision.cause === 'ScaleDown' && held !== undefined);
  const gone = replicas.wanted === replicas.existing && !replicas.terminating;
  const settled = still && gone && leaving === 0;
  return runnable.waiting + inFlight + runnable.due + runnable.dueSoon > 0 || !settled;
}
