/** The numbers that went into a decision, as a value: for `millrace explain`. Pure. */
import type { KnownSample, LearnedNumbers, Numbers, Policy, Sample } from './decision.ts';
import { shareAbove } from './target-wait/histogram.ts';
import { insightOf } from './target-wait/insight.ts';
import { WAIT_UNIT_MS, type Learned } from './target-wait/learned.ts';
import { DEFAULT_TASKS_PER_REPLICA } from './tasks-per-replica.ts';
import type { BoundsNow } from './schedule.ts';
import type { Sizing } from './target-wait/sizing.ts';

/** The numbers that are known before the decision is made. */
export function numbersOf(
  {
    tasksPerReplica,
    targetWaitMs: waitMs,
    slots = 1,
    slotsWhy,
    maxStepUp: up,
    maxStepDown: down,
    fallback,
  }: Policy,
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
          ...(sizing.longerCosts !== undefined && {
            longerCosts: Math.round(100 * sizing.longerCosts) / 100,
          }),
          floor: sizing.floor,
          startMs: Math.round(sizing.startMs),
          ...(needed !== undefined && { needed }),
          ...(serviceMs !== undefined && { serviceMs: Math.round(serviceMs) }),
        },
      }),
    ...(slotsWhy !== undefined && { slots: { each: slots, why: slotsWhy } }),
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

function seenOf({ waiting, inFlight, due, dueSoon = 0 }: KnownSample): NonNullable<Numbers['seen']> {
  return { waiting, inFlight, due, dueSoon };
}
