/**
 * Sizes a pool for the wait that the user asked for: learns from each look, then says how many replicas are needed now and
 * how many are worth keeping. Numbers in, numbers out. What it learned is a plain value of bounded size, good for JSON, so
 * that it outlives a controller. Pure.
 *
 *   needed   every waiting task starts in time (deadline.ts), and so will those that come while a replica starts
 *   keep     replicas that were needed a short while ago, and whose like have been needed again soon (idle.ts)
 *   floor    what the hour of the day has needed before, where that has paid (forecast.ts)
 */
import { adviceFor, latenessAdvice, redisAdvice, type Advice, type Answers } from './advice.ts';
import { ageOfLast, cohorts, lastTaken, lazyDemand, progressOf, rateOf } from './arrivals.ts';
import { slotsFor } from './deadline.ts';
import { forecastFloor, withSeen } from './forecast.ts';
import { withNeed, worthKeeping } from './idle.ts';
import { isLearning, lastCalls } from './last-call.ts';
import { meanInView, restAt, restOf, restOfStart, startTime, unripeMs, worthOfStart } from './learn.ts';
import { floorsAfter, learn, type Learned, type Look, type Wish } from './learned.ts';

export interface Sizing {
  /** Replicas without which a task would miss the target; `undefined` when too little is known. */
  readonly needed: number | undefined;
  /** Replicas with a slot for each task that nothing else is sure to help; 0 where sums of work say enough. */
  readonly sure: number;
  /** The first replicas of a new pool will soon tell more than a guess that grows with what waits. */
  readonly learning: boolean;
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
/** The part of the target that is kept back: looks come once a second, sums stand for single tasks. */
const MARGIN = 0.03;
/** Tasks that finished before what they say is trusted enough to scale in on. */
const TRUSTED = 20;
/** A need that is over by no more than this part of a replica is none. */
const TOLERANCE = 0.1;
/** Steps down of no more than this part of the replicas have to wait for so long: they save little, and may be noise. */
const SMALL_STEP = 0.15;
const CALM_MS = 60_000;
const UNFETCHED_MS = 5_000;

export function size(wish: Wish, seen: Look, before: Learned | undefined, redis?: Answers): Sizing {
  const learned = learn(wish, seen, before);
  const { service, start, curve } = learned;
  const { now, wall = now, waiting, inFlight, wanted, due } = seen;
  const { slots, waitMs } = wish;
  const startMs = startTime(start, waitMs);
  const ages = cohorts(curve, waiting, now);
  const unripe = service ? unripeMs(service, lastTaken(curve, inFlight, now)) : 0;
  // how long a start takes is not known at first: it may be half of the target
  const list = {
    now,
    cohorts: ages,
    curve,
    inFlight,
    ready: learned.ready * slots,
    service,
    most: wish.maxReplicas * slots,
    unripeMs: unripe,
  };
  const calls = lastCalls(list, (1 - MARGIN) * waitMs, start ? startMs : waitMs / 2);
  const sure = calls > 0 ? Math.ceil((inFlight + calls) / slots) : 0;
  const lateness = {
    ...wish,
    oldestMs: ages[0]?.oldest ?? 0,
    startMs,
    startKnown: start !== undefined,
    unfetched: isUnfetched(learned, now),
  };
  if (!service)
    return {
      needed: undefined,
      sure,
      learning: isLearning(list, learned.starts.length),
      keep: 0,
      floor: 0,
      serviceMs: undefined,
      startMs,
      // nobody can tell for how long they run: with a slot for each, all begin
      advice: latenessAdvice({ ...lateness, asked: Math.ceil((inFlight + waiting) / slots), untold: true }),
      learned,
    };

  const coming = rateOf(curve, now, Math.max(waitMs, 2 * startMs)) * startMs;
  const progress = progressOf(curve, waitMs, TRUSTED);
  const serviceMs = meanInView(service, progress.tasks, progress.runMs - unripe);
  const inView = { ...service, mean: serviceMs };
  const { enough, more } = slotsFor(
    {
      cohorts: [
        ...ages,
        ...(due > 0 ? [{ before: waiting, until: waiting + due, oldest: 0, youngest: 0 }] : []),
      ],
      coming,
      dueSoon: seen.dueSoon,
      inFlight,
      ready: learned.ready * slots,
      starting: learned.starts.map(({ at, replicas }) => ({
        slots: replicas * slots,
        inMs: restOfStart(now - at, startMs),
      })),
    },
    {
      waitMs: waitMs - MARGIN * waitMs,
      serviceMs,
      deviationMs: Math.sqrt(service.variance),
      restMs: restAt(inView, ageOfLast(curve, inFlight, now)),
      laterRestMs: restOf(inView),
      startMs,
      caution: CAUTION,
    },
  );
  const work = waiting + inFlight + due + seen.dueSoon;
  const missing = more > 0 ? Math.ceil(more / slots - TOLERANCE) : 0;
  const lazy = Math.max(enough, lazyDemand(curve, now, serviceMs, waitMs));
  const needed = Math.max(
    work > 0 ? 1 : 0,
    sure,
    // with a slot for each task, all begin at once
    missing > 0 ? Math.min(wanted + missing, Math.ceil((work + coming + Math.sqrt(coming)) / slots)) : 0,
    // no more than there is work for, however much there was
    Math.min(wanted, Math.ceil(work / slots), Math.ceil(lazy / slots - TOLERANCE)),
  );
  const worth = worthOfStart(startMs, waitMs);
  const idle = withNeed(learned.idle, Math.min(needed, wish.maxReplicas), now, before?.at ?? now);
  // the first tasks to finish are the short ones, so the first that is heard is too good
  const trusted = service.finished >= TRUSTED || work === 0;
  const worthIt = worthKeeping(idle, now, worth, wish.windowMs);
  const small = wanted - worthIt <= SMALL_STEP * wanted;
  const calm = small && wish.windowMs === undefined ? worthKeeping(idle, now, worth, CALM_MS) : 0;
  const keep = trusted ? Math.max(worthIt, calm) : wanted;
  const next: Learned = {
    ...learned,
    idle,
    held: Math.max(needed, keep),
    floors: floorsAfter(learned, service, wish, before),
    forecast: wish.forecast
      ? withSeen(before?.forecast, {
          now: wall,
          elapsedMs: now - (before?.at ?? now),
          held: learned.held,
          needed,
          startMs: worth,
        })
      : undefined,
  };
  return {
    needed,
    sure,
    learning: false,
    keep,
    floor: wish.forecast ? forecastFloor(next.forecast, wall + startMs) : 0,
    serviceMs,
    startMs,
    advice:
      adviceFor({ ...lateness, ...next, serviceMs, redis }) ??
      latenessAdvice({ ...lateness, asked: needed, untold: false }),
    learned: next,
  };
}

/** What is to be said while the queue cannot be read: whether that is what has made tasks late. */
export function adviceWithoutLook(
  waitMs: number | undefined,
  learned: Learned | undefined,
  redis: Answers | undefined,
  now: number,
): Advice | undefined {
  if (waitMs === undefined || !learned?.service) return undefined;
  const { over, service } = learned;
  return redisAdvice({ waitMs, over, unfetched: isUnfetched(learned, now), serviceMs: service.mean, redis });
}

function isUnfetched({ unfetchedSince }: Learned, now: number): boolean {
  return unfetchedSince !== undefined && now - unfetchedSince >= UNFETCHED_MS;
}
