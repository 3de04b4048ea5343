/** Replicas without which a task would miss the target, and those that are worth keeping beside them. Pure. */
import { ageOfLast, cohorts, lazyDemand, rateOf } from './arrivals.ts';
import { slotsFor } from './deadline.ts';
import { worthKeeping, type Idle } from './keep-warm.ts';
import type { Learned, SizingInput, SizingPolicy } from './learned.ts';
import { restAt, restOf, type LearnedService } from './service-time.ts';
import { restOfStart } from './start-time.ts';

/** Standard deviations of the work to be prepared for. */
const CAUTION = 1;
/** The part of the target that is held in reserve: samples come once a second, sums stand for single tasks. */
export const MARGIN = 0.03;
/** A need that exceeds a whole number of replicas by no more than this is rounded down. */
const TOLERANCE = 0.1;
/** Steps down of no more than this part of the replicas wait for CALM_MS: they save little, and may be noise. */
const SMALL_STEP = 0.15;
const CALM_MS = 60_000;

export type WorkSeen = Pick<
  SizingInput,
  'now' | 'waiting' | 'inFlight' | 'due' | 'dueSoon' | 'wanted' | 'parked'
>;

export function workOf({ waiting, inFlight, due, dueSoon }: WorkSeen): number {
  return waiting + inFlight + due + dueSoon;
}

/** By the sum of the work. `releaseCaution`: as in the deadline rule. `lazySlots`: the lazy demand of this curve and mean, if it is known. */
export function neededFor(
  { slots, waitMs }: Pick<SizingPolicy, 'slots' | 'waitMs'>,
  seen: WorkSeen,
  { curve, ready, starts }: Pick<Learned, 'curve' | 'ready' | 'starts'>,
  service: LearnedService,
  startMs: number,
  releaseCaution?: number,
  lazySlots = lazyDemand(curve, seen.now, service.mean, waitMs),
): number {
  const { now, waiting, inFlight, wanted, parked = 0, due, dueSoon } = seen;
  const coming = rateOf(curve, now, Math.max(waitMs, 2 * startMs)) * startMs;
  const { enough, more } = slotsFor(
    {
      cohorts: [
        ...cohorts(curve, waiting, now),
        ...(due > 0 ? [{ before: waiting, until: waiting + due, oldest: 0, youngest: 0 }] : []),
      ],
      coming,
      dueSoon,
      inFlight,
      ready: (ready - parked) * slots,
      starting: starts.map(({ at, replicas }) => ({
        slots: replicas * slots,
        inMs: restOfStart(now - at, startMs),
      })),
    },
    {
      waitMs: waitMs - MARGIN * waitMs,
      serviceMs: service.mean,
      deviationMs: Math.sqrt(service.variance),
      restMs: restAt(service, ageOfLast(curve, inFlight, now)),
      laterRestMs: restOf(service),
      startMs,
      known: service.tasks,
      caution: CAUTION,
      ...(releaseCaution !== undefined && { releaseCaution }),
    },
  );
  const work = workOf(seen);
  const missing = more > 0 ? Math.ceil(more / slots - TOLERANCE) : 0;
  const lazy = Math.max(enough, lazySlots);
  return Math.max(
    work > 0 ? 1 : 0,
    // with a slot for each task, all start immediately
    missing > 0 ? Math.min(wanted + missing, Math.ceil((work + coming + Math.sqrt(coming)) / slots)) : 0,
    // no more than there is work for, however much there was
    Math.min(wanted, Math.ceil(work / slots), Math.ceil(lazy / slots - TOLERANCE)),
  );
}

/** The number that is worth keeping of `wanted`; `worth`: idling that a start is worth, ms. `windowMs` replaces what was learned. */
export function keptFor(
  windowMs: number | undefined,
  { now, wanted }: { readonly now: number; readonly wanted: number },
  idle: Idle,
  worth: number,
): number {
  const worthIt = worthKeeping(idle, now, worth, windowMs);
  const small = wanted - worthIt <= SMALL_STEP * wanted;
  return small && windowMs === undefined
    ? Math.max(worthIt, worthKeeping(idle, now, worth, CALM_MS))
    : worthIt;
}
