/**
 * `controller/decide/target-wait/`: the rule of `scaling.targetWait`: takes counters and what was learned before and returns
 * the replicas that keep the wait, and what is known now. Pure; of the other rule it knows only the default.
 *
 * Sizes a pool for its target wait: learns from each sample, then computes how many replicas are needed now and how many are
 * worth keeping. What it learned is a plain JSON value of bounded size, so that it outlives a controller. Pure.
 *
 *   needed   every waiting task starts in time (deadline.ts), and so will those that come while a replica starts
 *   keep     replicas that were needed a short while ago, and whose like have been needed again soon (keep-warm.ts)
 *            for how long, the pool's own arrivals tell (replay.ts)
 *   floor    what the hour of the day has needed before, where that has paid (forecast.ts)
 */
import { adviceFor, latenessAdvice, redisAdvice, type Advice, type RedisLatency } from './advice.ts';
import { cohorts, lastTaken, progressOf } from './arrivals.ts';
import { forecastFloor, updateForecast } from './forecast.ts';
import { withNeed } from './keep-warm.ts';
import { isLearning, lastCalls, type Waiting } from './head-of-line.ts';
import { keptFor, MARGIN, neededFor, workOf } from './needed.ts';
import { keepingBy, withReplays } from './replay.ts';
import { meanInView, unripeMs } from './service-time.ts';
import { startTime } from './start-time.ts';
import { floorsAfter, learn, type Learned, type SizingInput, type SizingPolicy } from './learned.ts';

export interface Sizing {
  /** Replicas without which a task would miss the target; `undefined` when too little is known. */
  readonly needed: number | undefined;
  /** Replicas with a slot for each task that nothing else is sure to help; 0 where sums of work suffice. */
  readonly sure: number;
  /** The first replicas of a new pool will soon yield more than a guess that grows with the backlog. */
  readonly learning: boolean;
  /** Replicas that are worth keeping. */
  readonly keep: number;
  /** What keeping replicas for longer would have cost more, as a part of the cost, where they are released sooner. */
  readonly longerCosts?: number;
  /** Too few tasks have finished to say that fewer replicas would do. */
  readonly unsure: boolean;
  /** Replicas that the forecast asks for. */
  readonly floor: number;
  readonly serviceMs: number | undefined;
  readonly startMs: number;
  readonly advice: Advice | undefined;
  readonly learned: Learned;
}

/** Finished tasks from which on their mean is trusted enough to scale in. */
const TRUSTED = 20;
const UNFETCHED_MS = 5_000;

export function size(
  wish: SizingPolicy,
  seen: SizingInput,
  before: Learned | undefined,
  redis?: RedisLatency,
): Sizing {
  const learned = learn(wish, seen, before);
  const { service, start } = learned;
  const { now, wall = now, waiting, inFlight } = seen;
  const { slots, waitMs } = wish;
  const startMs = startTime(start, waitMs);
  const list = listAt(wish, seen, learned);
  // how long a start takes is not known at first: it may be half of the target
  const calls = lastCalls(list, (1 - MARGIN) * waitMs, start ? startMs : waitMs / 2);
  const sure = calls > 0 ? Math.ceil((inFlight + calls) / slots) : 0;
  const unfetched = isUnfetched(learned, now);
  const oldestMs = list.cohorts[0]?.oldest ?? 0;
  const situation = { ...wish, oldestMs, startMs, startKnown: start !== undefined, unfetched };
  const unsure = (service?.finished ?? 0) < TRUSTED && workOf(seen) > 0;
  const common = { sure, startMs, unsure, learning: isLearning(list, learned.starts.length) };
  if (!service) {
    // how long they run is unknown: with a slot for each, all start
    const asked = Math.ceil((inFlight + waiting) / slots);
    const keep = Math.min(seen.wanted, Math.ceil(workOf(seen) / slots));
    const advice = latenessAdvice({ ...situation, asked, unfinished: true });
    return { ...common, needed: undefined, keep, floor: 0, serviceMs: undefined, advice, learned };
  }
  const progress = progressOf(learned.curve, waitMs, TRUSTED);
  const serviceMs = meanInView(service, progress.tasks, progress.runMs - list.unripeMs);
  const replays = withReplays(before, wish, seen, learned, service, startMs);
  const { worth, releaseCaution, longerCosts } = keepingBy(replays, learned, service, startMs, waitMs);
  const tasks = { ...service, mean: serviceMs };
  const needed = Math.max(sure, neededFor(wish, seen, learned, tasks, startMs, releaseCaution));
  const idle = withNeed(learned.idle, Math.min(needed, wish.maxReplicas), now, before?.at ?? now);
  // the first tasks to finish are the short ones, so the first mean is too low
  const keep = unsure ? seen.wanted : keptFor(wish.windowMs, seen, idle, worth);
  const elapsedMs = now - (before?.at ?? now);
  const next: Learned = {
    ...learned,
    idle,
    ...(replays && { replays }),
    held: Math.max(needed, keep),
    floors: floorsAfter(learned, service, wish, before),
    forecast: wish.forecast
      ? updateForecast(before?.forecast, { now: wall, elapsedMs, held: learned.held, needed, startMs: worth })
      : undefined,
  };
  return {
    ...common,
    needed,
    keep,
    ...(longerCosts !== undefined && { longerCosts }),
    floor: wish.forecast ? forecastFloor(next.forecast, wall + startMs) : 0,
    serviceMs,
    advice:
      adviceFor({ ...situation, ...next, serviceMs, redis }) ??
      latenessAdvice({ ...situation, asked: needed, unfinished: false }),
    learned: next,
  };
}

/** The waiting tasks and what they wait for. */
function listAt(
  { slots, maxReplicas }: SizingPolicy,
  { now, waiting, inFlight, parked = 0 }: SizingInput,
  learned: Learned,
): Waiting {
  const { curve, service } = learned;
  const ready = learned.ready - parked;
  return {
    now,
    curve,
    inFlight,
    service,
    cohorts: cohorts(curve, waiting, now),
    ready: ready * slots,
    most: maxReplicas * slots,
    unripeMs: service ? unripeMs(service, lastTaken(curve, inFlight, now)) : 0,
  };
}

/** Advice while the queue cannot be read: whether a slow Redis has made tasks late. */
export function adviceWithoutSample(
  waitMs: number | undefined,
  learned: Learned | undefined,
  redis: RedisLatency | undefined,
  now: number,
): Advice | undefined {
  if (waitMs === undefined || !learned?.service) return undefined;
  const { over, service } = learned;
  return redisAdvice({ waitMs, over, unfetched: isUnfetched(learned, now), serviceMs: service.mean, redis });
}

function isUnfetched({ unfetchedSince }: Learned, now: number): boolean {
  return unfetchedSince !== undefined && now - unfetchedSince >= UNFETCHED_MS;
}
