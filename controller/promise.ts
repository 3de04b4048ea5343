/**
 * Sizes a pool for the wait that the user asked for: learns from each look (arrivals, service time, start time, gaps), then
 * says how many replicas are needed now and how many are worth keeping. Numbers in, numbers out; what it learned is a plain
 * value of bounded size, good for JSON. Pure.
 */
import { cohorts, lazyDemand, withLook, type Curve } from './arrivals.ts';
import { slotsFor } from './deadline.ts';
import { kept, neverIdle, withNeed, type Idle } from './idle.ts';
import {
  learnService,
  meanInView,
  settleStarts,
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
  /** Sum of the service times of all three. */
  readonly serviceUs: number;
}

export interface Observed {
  readonly now: number;
  readonly waiting: number;
  readonly inFlight: number;
  readonly counters: Counters;
  readonly wanted: number;
  readonly ready: number;
}

export interface Wish {
  readonly waitMs: number;
  /** Tasks at once in each replica. */
  readonly slots: number;
  readonly windowMs: number | undefined;
}

export interface Learned {
  readonly at: number;
  readonly counters: Counters;
  readonly ready: number;
  readonly curve: Curve;
  readonly service: Service | undefined;
  readonly start: Start | undefined;
  readonly starts: readonly Starting[];
  readonly idle: Idle;
  /** Since when tasks are in flight without one that finished, ms. */
  readonly stalledSince: number;
}

export interface Sizing {
  /** Replicas without which a waiting task would miss the target; `undefined` when too little is known. */
  readonly needed: number | undefined;
  /** Replicas that are worth keeping. */
  readonly keep: number;
  readonly serviceMs: number | undefined;
  readonly startMs: number;
  readonly learned: Learned;
}

/** What a start counts for beside the time that it takes, pod-ms. */
const START_COST_MS = 10_000;
const CAUTION = 1;

export function size(wish: Wish, seen: Observed, before: Learned | undefined): Sizing {
  const learned = learn(wish, seen, before);
  const { service, starts, curve } = learned;
  const startMs = startOf(learned.start, wish.waitMs);
  if (!service) return { needed: undefined, keep: 0, serviceMs: undefined, startMs, learned };

  const { now, waiting, inFlight, wanted } = seen;
  const { slots, waitMs } = wish;
  const ready = Math.min(seen.ready, wanted);
  const serviceMs = meanInView(service, inFlight, now - learned.stalledSince);
  const { enough, more } = slotsFor(
    {
      cohorts: cohorts(curve, waiting, now),
      inFlight,
      ready: ready * slots,
      starting: starts.map(({ at, replicas }) => ({
        slots: replicas * slots,
        inMs: restOfStart(now - at, startMs),
      })),
    },
    { waitMs, serviceMs, deviationMs: Math.sqrt(service.variance), startMs, caution: CAUTION },
  );
  const work = waiting + inFlight;
  const tolerance = 0.1;
  const missing = more > 0 ? Math.ceil(more / slots - tolerance) : 0;
  const lazy = lazyDemand(curve, now, serviceMs, waitMs);
  const useful = Math.ceil(work / slots);
  const lowest = work > 0 ? 1 : 0;
  const needed = Math.max(
    lowest,
    missing > 0 ? wanted + missing : 0,
    Math.min(wanted, useful, Math.ceil(Math.max(enough, lazy) / slots - tolerance)),
  );
  const idle = withNeed(learned.idle, needed, now, before?.at ?? now);
  const keep = kept(idle, now, worthOfStart(startMs, waitMs), wish.windowMs);
  return { needed, keep, serviceMs, startMs, learned: { ...learned, idle } };
}

/** After the decision: replicas that it asked for are on their way from now on. */
export function started(learned: Learned, replicas: number, now: number): Learned {
  return replicas > 0 ? { ...learned, starts: [...learned.starts, { at: now, replicas }] } : learned;
}

function learn(wish: Wish, seen: Observed, before: Learned | undefined): Learned {
  const { now, counters, waiting, inFlight, wanted } = seen;
  const ready = Math.min(seen.ready, wanted);
  const look = { at: now, taken: counters.taken, arrived: counters.taken + waiting };
  const curve = withLook(before?.curve ?? [], look, 8 * wish.waitMs);
  const tasks = before ? done(counters) - done(before.counters) : 0;
  const { starts, start } = settleStarts(before?.starts ?? [], before?.start, {
    starting: wanted - ready,
    up: Math.max(0, ready - (before?.ready ?? ready)),
    since: before?.at ?? now,
    now,
  });
  return {
    at: now,
    counters,
    ready,
    curve,
    service: before
      ? learnService(before.service, tasks, (counters.serviceUs - before.counters.serviceUs) / 1_000)
      : undefined,
    start,
    starts,
    idle: before?.idle ?? neverIdle,
    stalledSince: before && tasks === 0 && inFlight > 0 ? before.stalledSince : now,
  };
}

function done({ completed, failed, retried }: Counters): number {
  return completed + failed + retried;
}

/** Unknown, a start counts as 2 s, or as half of the target if that is less. */
function startOf(start: Start | undefined, waitMs: number): number {
  return start ? start.mean + start.deviation : Math.min(2_000, waitMs / 2);
}

/** A start that takes longer than usual may take as long again as it is late. */
function restOfStart(sinceMs: number, startMs: number): number {
  return sinceMs < startMs ? startMs - sinceMs : sinceMs - startMs;
}

/**
 * How much idling a start is worth, ms. What one kept replica does within the target takes several new ones: they have the
 * start time less.
 */
function worthOfStart(startMs: number, waitMs: number): number {
  const instead = startMs < waitMs ? Math.min(waitMs / (waitMs - startMs), 4) : 4;
  return (START_COST_MS + startMs) * instead;
}
