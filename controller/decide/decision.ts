/**
 * The values that a decision is made from and what comes out of one, for the rules and for the stages that show or store
 * them. Pure.
 */
import type { Advice, RedisLatency } from './target-wait/advice.ts';
import type { Pause } from './pause.ts';
import type { Change, MaxStep } from './max-step.ts';
import type { BoundsNow, Schedule } from './schedule.ts';
import type { Starts } from './target-wait/start-time.ts';
import type { Counters, Learned } from './target-wait/learned.ts';
import type { Needs } from './window.ts';
import type { Insight } from './target-wait/insight.ts';

export interface Policy {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** The plain rule; `undefined`: with 5, and only without a target or while the target rule knows too little. */
  readonly tasksPerReplica: number | undefined;
  /** The target rule; without it only the plain rule decides. */
  readonly targetWaitMs?: number | undefined;
  /** Concurrent tasks per replica; defaults to 1. */
  readonly slots?: number;
  /** Why there are so many, where workers find that themselves. */
  readonly slotsWhy?: string;
  /** `undefined`: learned by the target rule, 60 s for the plain rule. */
  readonly windowMs: number | undefined;
  readonly fallback: { readonly afterMs: number; readonly replicas: number } | undefined;
  readonly paused: boolean;
  /** The source of the pause, unless it is the mode. */
  readonly pause?: Pause;
  readonly schedules?: readonly Schedule[];
  readonly maxStepUp?: MaxStep;
  readonly maxStepDown?: MaxStep;
  /** Whether a daily or weekly pattern may raise the floor. */
  readonly forecast?: boolean;
  /** Decisions are not carried out: no replica starts because of one. */
  readonly dryRun?: boolean;
}

export type Sample = (
  | {
      readonly kind: 'known';
      readonly waiting: number;
      readonly inFlight: number;
      readonly due: number;
      /** The last moment at which nothing waited, where a wake told it: ms of the clock of the decision. */
      readonly quietUntil?: number | undefined;
      /** Workers that are draining. */
      readonly leaving: number;
      /** Delayed tasks that fall due while a replica starts, without those that are due. */
      readonly dueSoon?: number;
      /** Of the waiting, the suspects, which run beside nothing but one another; of them, those that run alone. */
      readonly suspects?: number;
      readonly solitary?: number;
      /** Workers that hold suspects, and the tasks in flight there. */
      readonly apart?: { readonly workers: number; readonly tasks: number };
      /** Without them, only the plain rule can decide. */
      readonly counters?: Counters;
    }
  | { readonly kind: 'unknown'; readonly why: string }
) & { readonly redis?: RedisLatency | undefined };

export type KnownSample = Sample & { readonly kind: 'known' };

export interface Memory {
  /** When this memory began, ms; `undefined` before the first sample. */
  readonly since: number | undefined;
  /** The replicas when it began: what was needed before is unknown. */
  readonly inherited?: number;
  /** When a sample was last known, ms. */
  readonly knownAt: number | undefined;
  /** Needs of the window. */
  readonly needs: Needs;
  readonly learned?: Learned | undefined;
  /** How long replicas take to start, where the target rule does not learn it. */
  readonly starting?: Starts | undefined;
  /** Changes that limits on steps still count. */
  readonly changes?: readonly Change[];
}

export const noMemory: Memory = { since: undefined, knownAt: undefined, needs: [] };

export type Cause = 'ScaleUp' | 'ScaleDown' | 'Enough' | 'WithinWindow' | 'Unknown' | 'Fallback' | 'Paused';

export interface Decision {
  readonly desired: number;
  readonly cause: Cause;
  /** Human-readable, `0→3: 12 waiting, 0 in flight, 5 tasks a replica`. */
  readonly reason: string;
  /** The bound that changed what the work asks for. */
  readonly limited: 'min' | 'max' | undefined;
  /** The bounds that apply now, and the active schedules. */
  readonly bounds: BoundsNow;
  /** When to decide again at the latest, even if nothing happens: ms since the epoch. */
  readonly decideAgainAt: number | undefined;
  /** How long a replica takes to start, as far as it is known, ms: delayed tasks count when they fall due within it. */
  readonly startMs: number;
  /** Why the target cannot be held, and what to change. */
  readonly advice?: Advice | undefined;
  /** The numbers that it was made from. */
  readonly numbers: Numbers;
  readonly memory: Memory;
  /** Why the memory was discarded: the invalid result, such as `NaN replicas`, or what was thrown. */
  readonly forgot?: Error | undefined;
}

export const DEFAULT_WINDOW_MS = 60_000;

export interface Numbers {
  /** The current replicas, and those that were ready. */
  readonly current: number;
  readonly ready: number;
  /** What the queue held; absent when it could not be read. */
  readonly seen?: {
    readonly waiting: number;
    readonly inFlight: number;
    readonly due: number;
    readonly dueSoon: number;
  };
  /** What the plain rule asked for, and for how many tasks it wants a replica; absent where it did not apply. */
  readonly plain?: number;
  readonly tasksPerReplica?: number;
  /** The target rule, where a target is set. `needed` is absent while too little is known. */
  readonly target?: {
    readonly waitMs: number;
    readonly slots: number;
    readonly needed?: number;
    readonly keep: number;
    /** What keeping replicas for longer would have cost more, as a part of the cost, where they are released sooner. */
    readonly longerCosts?: number;
    readonly floor: number;
    /** The times of a task and of a start that it used, ms. */
    readonly serviceMs?: number;
    readonly startMs: number;
  };
  /** The slots of a replica and why there are so many, where workers find that themselves. */
  readonly slots?: { readonly each: number; readonly why: string };
  readonly learned?: LearnedNumbers;
  /** The bounds that hold now, and by which schedules, where it is not the pool's own. */
  readonly bounds: Pick<BoundsNow, 'minReplicas' | 'maxReplicas'> &
    Partial<Pick<BoundsNow, 'minBy' | 'maxBy'>>;
  /** What the rules asked for, and that within the bounds. */
  readonly asked?: number;
  readonly need?: number;
  /** The most that the window needed or experience keeps, and the window, ms; 0: experience chose. */
  readonly kept?: number;
  readonly windowMs?: number;
  /** Neither of them keeps the replicas, but that too few tasks have finished. */
  readonly unsure?: true;
  /** What came out of that, before the limits on steps. */
  readonly wanted?: number;
  readonly maxStep?: { readonly up?: MaxStep; readonly down?: MaxStep };
  /** Why the target cannot be held, what to change, and what that would cost. */
  readonly advice?: string;
  readonly fallback?: { readonly afterMs: number; readonly replicas: number };
  /** Replicas that are parked instead of removed, and those that were. */
  readonly parked?: { readonly replicas: number; readonly now: number };
}

export interface LearnedNumbers extends Insight {
  /** All-time count of finished tasks, and the standard deviation of how long they take, ms. */
  readonly tasks: number;
  readonly serviceDeviation?: number;
  /** Replicas whose start was measured, and their mean distance from the mean, ms. */
  readonly starts: number;
  readonly startDeviation?: number;
  /** Share of recent tasks that waited for longer than the target. */
  readonly over: number;
}
