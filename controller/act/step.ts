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
import type { Decision, Memory, Policy, Sample } from '../decide/decision.ts';
import type { Sampled } from '../sample/sampled.ts';
import { parkPass, type ParkPass } from './parked/pass.ts';
import { mustPark, parkNote, totalReplicas, workingOf } from './parked/total.ts';
import { cancelDrains, noPasses, scaleIn, type Drains, type ScaleInHold, type Passes } from './scale-in.ts';
import type { Replicas, Target } from './target.ts';
import type { PoolIdentity } from './workers-of.ts';

/** State from one step to the next, besides the memory of the decision. */
export interface Kept extends Passes {
  /** Workers registered in the queues that are not the target's, as counted when all of its replicas were ready. */
  readonly elsewhere: number;
  /** Of a pool that parks replicas: the last pass. */
  readonly park?: ParkPass;
}

export const nothingKept: Kept = { ...noPasses, elsewhere: 0 };

export interface Step {
  readonly replicas: Replicas;
  readonly decision: Decision;
  /** The change of replicas; `undefined` if there was none. */
  readonly scaled: { readonly from: number; readonly to: number } | undefined;
  /** Why excess replicas stay, if for another reason than unfinished tasks. */
  readonly held: ScaleInHold | undefined;
  /** What became of parked replicas; `undefined` if nothing had to be looked at. */
  readonly park?: ParkPass;
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
  const { policy, sampled, target, memory, now, wall = now, kept } = input;
  const replicas = await target.observe();
  const { redis } = sampled;
  const sample =
    sampled.kind === 'known'
      ? {
          kind: 'known' as const,
          ...sampled.sample,
          ...sampled.sample.runnable,
          quietUntil: sampled.wokenAt,
          redis,
        }
      : { kind: 'unknown' as const, why: sampled.why, redis };
  const rules = input.dryRun ? { ...policy, dryRun: true } : policy;
  const elsewhere = elsewhereOf(replicas, sampled, kept.elsewhere);
  const working = workingOf(replicas, up(replicas, sampled, elsewhere));
  const { current, ready, parked } = working;
  const { around = (work) => work() } = input;
  const decided = around(() => decide(rules, sample, current, memory, now, ready, wall, parked));
  const known = sample.kind === 'known';
  const keep = target.parking?.replicas ?? 0;
  const seen = { decision: decided, policy, wanted: replicas.wanted, working, keep, known };
  const total = totalReplicas(seen);
  const notes = (target.parking ? parkNote(decided, working, total) : '') + pauseNote(input);
  const decision = {
    ...decided,
    reason: decided.reason + notes + limitNote(sampled),
    ...(target.parking && { numbers: { ...decided.numbers, parked: { replicas: keep, now: parked } } }),
  };
  const still: Step = {
    replicas,
    decision,
    scaled: undefined,
    held: undefined,
    kept: elsewhere === 0 ? nothingKept : { ...noPasses, elsewhere },
    requeueInMs: delayUntil(decision.decideAgainAt, wall),
  };
  if (input.dryRun) return still;
  const parks = target.parking && mustPark(seen, total, known ? sample : {});
  const [scaled, park] = await Promise.allSettled([
    scaleTo(input, still, total, parks ? undefined : sample),
    parks ? parkReplicas(input, decision, total < replicas.wanted) : undefined,
  ]);
  // what was done is done again, or seen
  if (scaled.status === 'rejected') throw scaled.reason;
  if (park.status === 'rejected') throw park.reason;
  return park.value ? withParked(scaled.value, park.value) : scaled.value;
}

/** Brings the target to `total` replicas. `undrain`: the sample, if workers that drain are to resume where replicas are added. */
async function scaleTo(
  input: StepInput,
  still: Step,
  total: number,
  undrain: Sample | undefined,
): Promise<Step> {
  const { target, drains, identity, sampled, unmanaged, now, kept: before } = input;
  const { decision, replicas, kept } = still;
  const from = replicas.wanted;
  if (total >= from) {
    let raised: boolean | undefined;
    try {
      // first, as draining workers are already running
      if (drains && undrain?.kind === 'known' && undrain.leaving > 0)
        await cancelDrains({ target, drains, identity });
    } finally {
      if (total > from) raised = await target.raise(total);
    }
    if (raised === false) return { ...still, requeueInMs: CHANGED_MS };
    return raised ? { ...still, scaled: { from, to: total } } : still;
  }
  // decide never scales in without a sample, and there is no sample without a Redis
  if (!drains) return still;
  const scaledIn = await scaleIn({
    target,
    drains,
    replicas,
    identity,
    desired: total,
    idle: isIdle(sampled),
    unmanaged,
    before,
    parkedRest: decision.desired > 0,
    now,
  });
  const reason = [decision.reason, scaledIn.progress, scaledIn.held?.message].filter(Boolean).join('; ');
  return {
    ...still,
    decision: { ...decision, reason },
    scaled: scaledIn.to < from ? { from, to: scaledIn.to } : undefined,
    held: scaledIn.held,
    kept: { ...kept, ...scaledIn.passes },
    requeueInMs: soonest(still.requeueInMs, scaledIn.requeueInMs),
  };
}

function isIdle(sampled: Sampled): boolean {
  if (sampled.kind !== 'known') return false;
  const { inFlight, runnable } = sampled.sample;
  return runnable.waiting + inFlight + runnable.due === 0;
}

async function parkReplicas(
  { target, drains, identity, sampled, kept, now }: StepInput,
  { desired }: Decision,
  shrinking: boolean,
): Promise<ParkPass | undefined> {
  const { parking } = target;
  if (!parking) return undefined;
  const readable = sampled.kind === 'known' ? drains : undefined;
  const absent = kept.park?.absent ?? new Map();
  return parkPass({ target, parking, drains: readable, identity, desired, shrinking, absent, now });
}

function withParked(done: Step, park: ParkPass): Step {
  return {
    ...done,
    park,
    kept: { ...done.kept, park },
    requeueInMs: soonest(done.requeueInMs, park.requeueInMs),
  };
}

/** Until a moment, bounded as timers are; `undefined` for none. */
export function delayUntil(at: number | undefined, now: number): number | undefined {
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
    (decision.cause === 'Paused' && decision.desired === decision.numbers.current) ||
    (decision.cause === 'ScaleDown' && held !== undefined);
  const gone = replicas.wanted === replicas.existing && !replicas.terminating;
  const settled = still && gone && leaving === 0;
  return runnable.waiting + inFlight + runnable.due + runnable.dueSoon > 0 || !settled;
}
