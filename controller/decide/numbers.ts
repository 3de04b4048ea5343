/** The numbers that went into a decision, as a value: for `millrace explain`, and for whoever wants to check it. Pure. */
import type { Policy, Sample } from './decide.ts';
import { shareAbove } from './target-wait/histogram.ts';
import { insightOf, type Insight } from './target-wait/insight.ts';
import { WAIT_UNIT_MS, type Learned } from './target-wait/learned.ts';
import type { MaxStep } from './max-step.ts';
import { DEFAULT_TASKS_PER_REPLICA } from './tasks-per-replica.ts';
import type { BoundsNow } from './schedule.ts';
import type { Sizing } from './target-wait/sizing.ts';

export interface Numbers {
  /** Replicas that there were, and those that were up. */
  readonly current: number;
  readonly ready: number;
  /** What the queue held; absent when it could not be read. */
  readonly seen?: {
    readonly waiting: number;
    readonly inFlight: number;
    readonly due: number;
    readonly dueSoon: number;
  };
  /** What the plain rule asked for, and for how many tasks it wants a replica; absent where it had no say. */
  readonly plain?: number;
  readonly tasksPerReplica?: number;
  /** The target rule, where a target is set. `needed` is absent while too little is known. */
  readonly target?: {
    readonly waitMs: number;
    readonly slots: number;
    readonly needed?: number;
    readonly keep: number;
    readonly floor: number;
    /** With what it reckoned for a task and for a start, ms. */
    readonly serviceMs?: number;
    readonly startMs: number;
  };
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
  /** What came out of that, before the limits on steps. */
  readonly wanted?: number;
  readonly maxStep?: { readonly up?: MaxStep; readonly down?: MaxStep };
  /** Why the target cannot be held, what to change, and what that would cost. */
  readonly advice?: string;
  readonly fallback?: { readonly afterMs: number; readonly replicas: number };
}

export interface LearnedNumbers extends Insight {
  /** Tasks that finished since ever, and the standard deviation of how long they take, ms. */
  readonly tasks: number;
  readonly serviceDeviation?: number;
  /** Replicas whose start was measured, and their mean distance from the mean, ms. */
  readonly starts: number;
  readonly startDeviation?: number;
  /** Share of recent tasks that waited for longer than the target. */
  readonly over: number;
}

/** What is the same for every decision of one look. */
export function numbersOf(
  { tasksPerReplica, targetWaitMs: waitMs, slots = 1, maxStepUp: up, maxStepDown: down, fallback }: Policy,
  { minReplicas, maxReplicas, minBy, maxBy }: BoundsNow,
  sample: Sample,
  { current, ready }: { readonly current: number; readonly ready: number },
  sizing?: Sizing,
): Numbers {
  const { needed, serviceMs } = sizing ?? {};
  return {
    current,
    ready,
    bounds: {
      minReplicas,
      maxReplicas,
      ...(minBy !== undefined && { minBy }),
      ...(maxBy !== undefined && { maxBy }),
    },
    ...(sample.kind === 'known' && { seen: seenOf(sample) }),
    ...(sizing &&
      waitMs !== undefined && {
        target: {
          waitMs,
          slots,
          keep: sizing.keep,
          floor: sizing.floor,
          startMs: Math.round(sizing.startMs),
          ...(needed !== undefined && { needed }),
          ...(serviceMs !== undefined && { serviceMs: Math.round(serviceMs) }),
        },
      }),
    ...(sizing?.advice && { advice: sizing.advice.message }),
    ...((tasksPerReplica !== undefined || needed === undefined) && {
      tasksPerReplica: tasksPerReplica ?? DEFAULT_TASKS_PER_REPLICA,
    }),
    ...((up ?? down) && { maxStep: { ...(up && { up }), ...(down && { down }) } }),
    ...(sample.kind === 'unknown' && fallback && { fallback }),
  };
}

/** `waitMs`: the target. */
export function learnedNumbers(learned: Learned, waitMs: number): LearnedNumbers {
  const { service, start, waits } = learned;
  return {
    ...insightOf(learned),
    tasks: service?.finished ?? 0,
    ...(service && { serviceDeviation: Math.round(Math.sqrt(service.variance)) }),
    starts: start?.pods ?? 0,
    ...(start && { startDeviation: Math.round(start.deviation) }),
    over: Math.round(shareAbove(waits, waitMs / WAIT_UNIT_MS) * 1e5) / 1e5,
  };
}

function seenOf({
  waiting,
  inFlight,
  due,
  dueSoon = 0,
}: Sample & { kind: 'known' }): NonNullable<Numbers['seen']> {
  return { waiting, inFlight, due, dueSoon };
}
