/**
 * What a pool has learned, and the update by one more sample: who came and who was taken, what finished, which replicas came
 * up, how long tasks waited. A plain value of bounded size, good for JSON, so that it outlives a controller. Pure.
 */
import { demandAt, waitsOf, withPoint, type Curve } from './arrivals.ts';
import type { Forecast } from './forecast.ts';
import { totalOf, withValue, type BucketCounts } from './histogram.ts';
import { neverIdle, type Idle } from './keep-warm.ts';
import { learnService, restOf, type LearnedService } from './service-time.ts';
import type { Replays } from './replay-state.ts';
import { learnStarts, type Starts } from './start-time.ts';

/** All-time counters of one queue. */
export interface Counters {
  readonly taken: number;
  readonly completed: number;
  readonly failed: number;
  readonly retried: number;
  /** Sum of the service times of the last three. */
  readonly serviceUs: number;
  /** Sum of the squares of service times, s², and the tasks in it; older workers count neither. */
  readonly squaresS2?: number | undefined;
  readonly squaredTasks?: number | undefined;
}

export interface SizingInput {
  readonly now: number;
  /** ms since the epoch, for the hours of the day; `now` where there is no other clock. */
  readonly wall?: number;
  readonly waiting: number;
  readonly inFlight: number;
  /** Delayed tasks whose time has come, and those whose time comes while a replica starts. */
  readonly due: number;
  readonly dueSoon: number;
  /** The last moment at which nothing waited, where a wake told it: ms, as `now`. */
  readonly quietUntil?: number | undefined;
  readonly counters: Counters;
  readonly wanted: number;
  readonly ready: number;
  /** Up beside these. */
  readonly parked?: number;
}

export interface SizingPolicy {
  readonly waitMs: number;
  /** Concurrent tasks per replica. */
  readonly slots: number;
  /** How long replicas that are not needed are kept; `undefined`: learned. */
  readonly windowMs: number | undefined;
  readonly forecast: boolean;
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

export interface Learned extends Starts {
  /** The last sample, ms, and its numbers. */
  readonly at: number;
  readonly counters: Counters;
  /** The numbers of partitions, or the priorities, whose lists the counters are the sums of; absent without either. */
  readonly lists?: string | undefined;
  readonly inFlight: number;
  readonly curve: Curve;
  readonly service: LearnedService | undefined;
  readonly idle: Idle;
  /** What keeping replicas for longer has cost; absent where nothing is to be chosen. */
  readonly replays?: Replays | undefined;
  /** Replicas needed or kept at the last sample. */
  readonly held: number;
  readonly forecast: Forecast | undefined;
  /** How long tasks waited, in units of WAIT_UNIT_MS; and the share that waited for longer than the target. */
  readonly waits: BucketCounts;
  readonly over: number;
  /** By task: replicas that, had they always been there, would have begun it in time. */
  readonly floors: BucketCounts;
  /** Fading mean of the replicas. */
  readonly mean: number;
  /** Since when tasks wait beside free slots, ms. */
  readonly unfetchedSince: number | undefined;
}

export const WAIT_UNIT_MS = 10;
const HORIZON = 8;
const REMEMBERED_TASKS = 5_000;
/** A pool's peaks are remembered for longer than what it does right now. */
const REMEMBERED_ARRIVALS = 100_000;
const HOUR_MS = 3_600_000;

/**
 * What was learned, when the next sample will be that of other lists: their all-time counters are no news, nor are those that are
 * no longer summed. `counters`: those of that sample; `lists`: the numbers of partitions, or the priorities.
 */
export function rebased<T extends Pick<Learned, 'counters' | 'lists'>>(
  learned: T,
  counters: Counters,
  lists: string | undefined,
): T {
  return learned.lists === lists ? learned : { ...learned, counters, lists };
}

/** After a sample. */
export function learn(
  { waitMs, slots }: SizingPolicy,
  seen: SizingInput,
  before: Learned | undefined,
): Learned {
  const { now, counters, waiting, inFlight, wanted, parked = 0 } = seen;
  const ready = Math.min(seen.ready, wanted);
  const last = before?.curve.at(-1);
  const elapsed = before ? now - before.at : 0;
  // tasks taken by a client that does not count them show in the length of the list
  const came =
    before && last ? counters.taken + waiting - (before.counters.taken + last.arrived - last.taken) : 0;
  const arrived = last ? last.arrived + Math.max(0, came) : counters.taken + waiting;
  const tasks = before ? Math.max(0, done(counters) - done(before.counters)) : 0;
  const took = before ? (counters.serviceUs - before.counters.serviceUs) / 1_000 : 0;
  const service = learnService(before?.service, tasks, took, meanSquareMs2(before?.counters, counters));
  // the first tasks to finish tell of the very time in which they did
  const meanMs = (before?.service ?? service)?.mean;
  const curve = withPoint(
    quietCurve(before, seen),
    {
      at: now,
      arrived,
      taken: arrived - waiting,
      done: done(counters),
      runMs: (last?.runMs ?? 0) + ranFor(elapsed, before?.inFlight ?? 0, inFlight, meanMs),
    },
    HORIZON * waitMs,
  );
  let { waits = [], over = 0 } = before ?? {};
  for (const taken of waitsOf(curve)) {
    waits = withValue(waits, taken.waitMs / WAIT_UNIT_MS, taken.tasks, REMEMBERED_TASKS);
    const share = Math.min(1, taken.tasks / totalOf(waits));
    over += share * ((taken.waitMs > waitMs ? 1 : 0) - over);
  }
  const unfetched = waiting > 0 && inFlight < ready * slots;
  return {
    at: now,
    counters,
    ...(before?.lists !== undefined && { lists: before.lists }),
    ...learnStarts(before, wanted + parked, seen.ready + parked, now),
    inFlight,
    curve,
    service,
    idle: before?.idle ?? neverIdle,
    held: before?.held ?? 0,
    forecast: before?.forecast,
    waits,
    over,
    floors: before?.floors ?? [],
    mean: (before?.mean ?? wanted) + (1 - Math.exp(-elapsed / HOUR_MS)) * (wanted - (before?.mean ?? wanted)),
    unfetchedSince: unfetched ? (before?.unfetchedSince ?? now) : undefined,
  };
}

/** The curve before a sample, up to the moment that is known to have been quiet: what came since has come after that. */
function quietCurve(
  before: Pick<Learned, 'curve' | 'inFlight'> | undefined,
  { now, quietUntil }: Pick<SizingInput, 'now' | 'quietUntil'>,
): Curve {
  const { curve = [], inFlight = 0 } = before ?? {};
  const last = curve.at(-1);
  // what ran until then is not known
  if (!last || quietUntil === undefined || last.arrived > last.taken || inFlight > 0) return curve;
  return quietUntil > last.at && quietUntil <= now ? [...curve, { ...last, at: quietUntil }] : curve;
}

/**
 * Slot-ms that tasks ran for between two samples. What was in flight at both ran all the time; what began or ended between
 * them, ran for no more than a task is known to, however long ago the last sample was.
 */
function ranFor(elapsed: number, before: number, now: number, meanMs = Infinity): number {
  return elapsed * Math.min(before, now) + Math.abs(now - before) * Math.min(elapsed / 2, meanMs);
}

/** Mean square of the service times of what finished between two samples, ms²; `undefined` where no worker reported it. */
function meanSquareMs2(before: Counters | undefined, now: Counters): number | undefined {
  const tasks = (now.squaredTasks ?? 0) - (before?.squaredTasks ?? Infinity);
  const sumS2 = (now.squaresS2 ?? 0) - (before?.squaresS2 ?? Infinity);
  return tasks > 0 && sumS2 >= 0 ? (1e6 * sumS2) / tasks : undefined;
}

/** After the arrivals of a sample: how large a pool would have to be, always, to begin them in time. */
export function floorsAfter(
  { curve, floors }: Learned,
  service: LearnedService,
  { waitMs, slots }: SizingPolicy,
  before: Learned | undefined,
): BucketCounts {
  const came = (curve.at(-1)?.arrived ?? 0) - (before?.curve.at(-1)?.arrived ?? Infinity);
  if (!(came > 0)) return floors;
  const spare = Math.min(restOf(service), waitMs / 2);
  const deviation = Math.sqrt(service.variance);
  const demand = demandAt(curve, curve.length - 1, service.mean, waitMs + spare, deviation);
  return withValue(floors, demand / slots, came, REMEMBERED_ARRIVALS);
}

function done({ completed, failed, retried }: Counters): number {
  return completed + failed + retried;
}
