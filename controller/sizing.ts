/**
 * Sizes a pool for the wait that the user asked for: learns from each look, then says how many replicas are needed now and
 * how many are worth keeping. Numbers in, numbers out. What it learned is a plain value of bounded size, good for JSON, so
 * that it outlives a controller. Pure.
 *
 *   needed   every waiting task starts in time (deadline.ts), and so will those that come while a replica starts
 *   keep     replicas that were needed a short while ago, and whose like have been needed again soon (idle.ts)
 *   floor    what the hour of the day has needed before, where that has paid (forecast.ts)
 */
import { adviceFor, type Advice } from './advice.ts';
import { cohorts, demandAt, lazyDemand, progressOf, rateOf, waitsOf, withLook, type Curve } from './arrivals.ts';
import { slotsFor } from './deadline.ts';
import { forecastFloor, withSeen, type Forecast } from './forecast.ts';
import { withValue, type Histogram } from './histogram.ts';
import { kept, neverIdle, withNeed, type Idle } from './idle.ts';
import {
  learnService,
  meanInView,
  restOfStart,
  settleStarts,
  startTime,
  worthOfStart,
  type Service,
  type Start,
  type Starting,
} from './learn.ts';

/** Counters since ever of one queue. */
export interface Counters {
  readonly taken: number;
  readonly completed: number;
  readonly failed: number;
  readonly retried: number;
  /** Sum of the service times of the last three. */
  readonly serviceUs: number;
}

export interface Look {
  readonly now: number;
  readonly waiting: number;
  readonly inFlight: number;
  /** Delayed tasks whose time has come, and those whose time comes while a replica starts. */
  readonly due: number;
  readonly dueSoon: number;
  readonly counters: Counters;
  readonly wanted: number;
  readonly ready: number;
}

export interface Wish {
  readonly waitMs: number;
  /** Tasks at once in each replica. */
  readonly slots: number;
  /** How long replicas that are not needed are kept; `undefined`: as experience says. */
  readonly windowMs: number | undefined;
  readonly forecast: boolean;
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

export interface Learned {
  /** The last look, ms, and what was seen. */
  readonly at: number;
  readonly counters: Counters;
  readonly ready: number;
  readonly inFlight: number;
  readonly curve: Curve;
  readonly service: Service | undefined;
  readonly start: Start | undefined;
  readonly starts: readonly Starting[];
  readonly idle: Idle;
  /** What was needed or kept at the last look. */
  readonly held: number;
  readonly forecast: Forecast | undefined;
  /** How long tasks waited, in units of 10 ms; and the share that waited for longer than the target. */
  readonly waits: Histogram;
  readonly over: number;
  /** By task: replicas that, had they always been there, would have begun it in time. */
  readonly floors: Histogram;
  /** Fading maximum of what was needed, and fading mean of what there was, replicas. */
  readonly peak: number;
  readonly mean: number;
  /** Since when tasks wait beside free slots, ms. */
  readonly unfetchedSince: number | undefined;
}

export interface Sizing {
  /** Replicas without which a task would miss the target; `undefined` when too little is known. */
  readonly needed: number | undefined;
  /** Replicas that are worth keeping. */
  readonly keep: number;
  /** Replicas that the forecast asks for. */
  readonly floor: number;
  readonly serviceMs: number | undefined;
  readonly startMs: number;
  readonly advice: Advice | undefined;
  readonly learned: Learned;
}

/** Standard deviations of the work to be prepared for. */
const CAUTION = 1;
/** Tasks that finished before what they say is trusted enough to scale in on. */
const TRUSTED = 20;
/** A need that is over by no more than this part of a replica is none. */
const TOLERANCE = 0.1;
const HORIZON = 8;
const REMEMBERED_TASKS = 5_000;
const HOUR_MS = 3_600_000;
const UNFETCHED_MS = 5_000;

export function size(wish: Wish, seen: Look, before: Learned | undefined): Sizing {
  const learned = learn(wish, seen, before);
  const { service, start, curve } = learned;
  const { now, waiting, inFlight, wanted, due } = seen;
  const { slots, waitMs } = wish;
  const startMs = startTime(start, waitMs);
  if (!service)
    return { needed: undefined, keep: 0, floor: 0, serviceMs: undefined, startMs, advice: undefined, learned };

  const progress = progressOf(curve, waitMs, TRUSTED);
  const serviceMs = meanInView(service, progress.tasks, progress.runMs);
  const { enough, more } = slotsFor(
    {
      cohorts: [
        ...cohorts(curve, waiting, now),
        ...(due > 0 ? [{ before: waiting, until: waiting + due, oldest: 0, youngest: 0 }] : []),
      ],
      coming: rateOf(curve, now, Math.max(waitMs, 2 * startMs)) * startMs + seen.dueSoon,
      inFlight,
      ready: learned.ready * slots,
      starting: learned.starts.map(({ at, replicas }) => ({
        slots: replicas * slots,
        inMs: restOfStart(now - at, startMs),
      })),
    },
    { waitMs, serviceMs, deviationMs: Math.sqrt(service.variance), startMs, caution: CAUTION },
  );
  const work = waiting + inFlight + due;
  const missing = more > 0 ? Math.ceil(more / slots - TOLERANCE) : 0;
  const lazy = Math.max(enough, lazyDemand(curve, now, serviceMs, waitMs));
  const needed = Math.max(
    work > 0 ? 1 : 0,
    missing > 0 ? wanted + missing : 0,
    // no more than there is work for, however much there was
    Math.min(wanted, Math.ceil(work / slots), Math.ceil(lazy / slots - TOLERANCE)),
  );
  const worth = worthOfStart(startMs, waitMs);
  const idle = withNeed(learned.idle, Math.min(needed, wish.maxReplicas), now, before?.at ?? now);
  // the first tasks to finish are the short ones, so the first that is heard is too good
  const trusted = service.finished >= TRUSTED || work === 0;
  const keep = trusted ? kept(idle, now, worth, wish.windowMs) : wanted;
  const next: Learned = {
    ...learned,
    idle,
    held: Math.max(needed, keep),
    floors: floorsAfter(learned, service.mean, wish, before),
    peak: Math.max(needed, fading(learned.peak, now - (before?.at ?? now))),
    forecast: wish.forecast
      ? withSeen(before?.forecast, {
          now,
          since: before?.at ?? now,
          held: learned.held,
          needed,
          startMs: worth,
        })
      : undefined,
  };
  return {
    needed,
    keep,
    floor: wish.forecast ? forecastFloor(next.forecast, now + startMs) : 0,
    serviceMs,
    startMs,
    advice: adviceFor({
      ...wish,
      ...next,
      startMs,
      startKnown: start !== undefined,
      unfetched: next.unfetchedSince !== undefined && now - next.unfetchedSince >= UNFETCHED_MS,
    }),
    learned: next,
  };
}

/** After the decision: replicas that it asked for are on their way from now on. */
export function started(learned: Learned, replicas: number, now: number): Learned {
  return replicas > 0 ? { ...learned, starts: [...learned.starts, { at: now, replicas }] } : learned;
}

function learn({ waitMs, slots }: Wish, seen: Look, before: Learned | undefined): Learned {
  const { now, counters, waiting, inFlight, wanted } = seen;
  const ready = Math.min(seen.ready, wanted);
  const last = before?.curve.at(-1);
  const elapsed = before ? now - before.at : 0;
  // whoever takes tasks without being counted shows in the length of the list
  const came = before && last ? counters.taken + waiting - (before.counters.taken + last.arrived - last.taken) : 0;
  const arrived = last ? last.arrived + Math.max(0, came) : counters.taken + waiting;
  const curve = withLook(
    before?.curve ?? [],
    {
      at: now,
      arrived,
      taken: arrived - waiting,
      done: done(counters),
      runMs: (last?.runMs ?? 0) + (elapsed * ((before?.inFlight ?? 0) + inFlight)) / 2,
    },
    HORIZON * waitMs,
  );
  const tasks = before ? Math.max(0, done(counters) - done(before.counters)) : 0;
  const took = before ? (counters.serviceUs - before.counters.serviceUs) / 1_000 : 0;
  const { starts, start } = settleStarts(before?.starts ?? [], before?.start, {
    starting: wanted - ready,
    up: Math.max(0, ready - (before?.ready ?? ready)),
    now,
  });
  let { waits = [], over = 0 } = before ?? {};
  for (const taken of waitsOf(curve)) {
    waits = withValue(waits, taken.waitMs / 10, taken.tasks, REMEMBERED_TASKS);
    const share = Math.min(1, taken.tasks / REMEMBERED_TASKS);
    over += share * ((taken.waitMs > waitMs ? 1 : 0) - over);
  }
  const unfetched = waiting > 0 && inFlight < ready * slots;
  return {
    at: now,
    counters,
    ready,
    inFlight,
    curve,
    service: learnService(before?.service, tasks, took),
    start,
    starts,
    idle: before?.idle ?? neverIdle,
    held: before?.held ?? 0,
    forecast: before?.forecast,
    waits,
    over,
    floors: before?.floors ?? [],
    peak: before?.peak ?? 0,
    mean: (before?.mean ?? wanted) + (1 - Math.exp(-elapsed / HOUR_MS)) * (wanted - (before?.mean ?? wanted)),
    unfetchedSince: unfetched ? (before?.unfetchedSince ?? now) : undefined,
  };
}

function floorsAfter(
  { curve, floors }: Learned,
  serviceMs: number,
  { waitMs, slots }: Wish,
  before: Learned | undefined,
): Histogram {
  const came = (curve.at(-1)?.arrived ?? 0) - (before?.curve.at(-1)?.arrived ?? Infinity);
  if (!(came > 0)) return floors;
  return withValue(floors, demandAt(curve, curve.length - 1, serviceMs, waitMs) / slots, came, REMEMBERED_TASKS * 20);
}

function fading(peak: number, elapsedMs: number): number {
  return Math.floor(peak) * 0.5 ** (elapsedMs / (24 * HOUR_MS));
}

function done({ completed, failed, retried }: Counters): number {
  return completed + failed + retried;
}
