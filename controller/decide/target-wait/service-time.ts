/**
 * What a pool learns of its tasks and pods: how long a task runs, how long a pod takes to start. From sums over the time
 * between two looks, not from single tasks. A mean forgets with a half-life in tasks; a second, fast one notices when
 * everything has changed and then takes over. One value far out moves a mean by no more than a bounded step. Pure.
 */
export interface Service {
  /** ms. */
  readonly mean: number;
  /** ms². */
  readonly variance: number;
  /** Tasks that the mean stands on, at most `REMEMBERED`. */
  readonly tasks: number;
  /** Tasks since ever. */
  readonly finished: number;
  /** Stretches that the variance stands on. */
  readonly stretches: number;
  readonly fastMean: number;
}

const REMEMBERED = 400;
const FAST = 24;
/** The fast mean takes over when it is off by more than this factor, and by more than noise explains. */
const CHANGED = 3;
/** Standard deviations that chance does not explain. */
const SURPRISING = 4;
const STRETCHES = 100;
/** Nothing that runs for longer is believed, ms: a hundred years. */
const LONGEST_TASK_MS = 3.2e12;
/** A stretch whose mean is further out than this factor counts as one that is just so far out. */
const FAR = 10;

/**
 * After `tasks` tasks more that took `ms` in all, with this mean of the squares of their times, ms². Without it, the variance is that
 * of the means of stretches; which is too large where tasks that began together end in the order of their length.
 */
export function learnService(
  before: Service | undefined,
  tasks: number,
  ms: number,
  meanSquare?: number,
): Service | undefined {
  if (tasks <= 0 || !(ms >= 0)) return before;
  const seen = Math.min(Math.max(ms / tasks, 0.01), LONGEST_TASK_MS);
  // no less than if all were alike, no more than if one took all the time
  const square =
    meanSquare === undefined ? undefined : Math.min(Math.max(meanSquare, seen ** 2), tasks * seen ** 2);
  if (!before) {
    // of one task, a spread as large as its time is as good a guess as any
    const variance = square === undefined ? seen ** 2 : square - seen ** 2 + seen ** 2 / tasks;
    return { mean: seen, variance, tasks, finished: tasks, stretches: 1, fastMean: seen };
  }
  const finished = before.finished + tasks;
  const value = Math.min(seen, before.mean * FAR);
  const count = Math.min(before.tasks + tasks, Math.max(REMEMBERED, tasks));
  const share = tasks / count;
  const mean = before.mean + share * (value - before.mean);
  const stretches = Math.min(before.stretches + 1, STRETCHES);
  const variance =
    square === undefined
      ? varianceOfMeans(before, tasks, value)
      : (1 - share) * (before.variance + (before.mean - mean) ** 2) +
        share * ((square - seen ** 2) * (value / seen) ** 2 + (value - mean) ** 2);
  const fastMean = before.fastMean + Math.min(1, tasks / FAST) * (value - before.fastMean);
  const noise = (4 * Math.sqrt(before.variance)) / Math.sqrt(FAST);
  const changed =
    Math.abs(fastMean - mean) > noise && Math.abs(Math.log(fastMean / mean)) > Math.log(CHANGED);
  if (changed && count >= 2 * FAST) {
    // whatever it was, it is not that any more: the spread is kept in proportion
    const ratio = fastMean / mean;
    return {
      mean: fastMean,
      variance: variance * Math.min(1, ratio) ** 2,
      tasks: FAST,
      finished,
      stretches: 8,
      fastMean,
    };
  }
  return { mean, variance, tasks: count, finished, stretches, fastMean };
}

/** The mean of n tasks strays from the mean of all by the n-th part of the variance of one. */
function varianceOfMeans(before: Service, tasks: number, value: number): number {
  const both = Math.min(tasks, before.tasks);
  const stretches = Math.min(before.stretches + 1, STRETCHES);
  return before.variance + (both * (value - before.mean) ** 2 - before.variance) / stretches;
}

/**
 * The mean to reckon with now. What has run in `runMs` of slots finished only `tasks`: when that is more for each task than
 * the mean says, long tasks hold slots, or nothing has finished since everything takes longer. It counts as in a life table,
 * against `FAST` tasks of the mean; against one where chance does not explain that so few have finished.
 */
export function meanInView({ mean, variance }: Service, tasks: number, runMs: number): number {
  const expected = runMs / mean;
  // of a renewal process, the count varies by as much as its intervals do
  const spread = Math.sqrt(expected * Math.max(1, variance / mean ** 2));
  const known = expected - tasks > SURPRISING * spread ? 1 : FAST;
  return Math.max(mean, (runMs + known * mean) / (tasks + known));
}

/** How long a task in flight still runs, on average, ms: the mean residual life of renewal theory. */
export function restOf({ mean, variance }: Service): number {
  return (mean ** 2 + variance) / (2 * mean);
}

/** How alike tasks are: 1 where all run equally long, 0 where they differ as much as exponential ones, or more. */
export function alikenessOf({ mean, variance }: Service): number {
  return Math.max(0, 1 - variance / mean ** 2);
}

/** What tasks in flight of these ages have run for without saying anything, ms: none of them should have ended yet. */
export function unripeMs(
  service: Service,
  inFlight: readonly { readonly ageMs: number; readonly tasks: number }[],
): number {
  const young = inFlight.reduce((sum, { ageMs, tasks }) => sum + tasks * Math.min(ageMs, service.mean), 0);
  return alikenessOf(service) * young;
}

/**
 * The same of tasks that have run for `ageMs` on average. The more alike all tasks are, the more their age says: of tasks that
 * differ as much as exponential ones do, nothing. In a steady flow those taken last are half a task old.
 */
export function restAt(service: Service, ageMs: number): number {
  const { mean } = service;
  return Math.max(0, restOf(service) + alikenessOf(service) * (mean / 2 - ageMs));
}

/** A quantile of the service time, as the log-normal of this mean and variance has it, ms. */
export function serviceQuantile({ mean, variance }: Service, normalQuantile: number): number {
  const spread = Math.log(1 + variance / mean ** 2);
  return mean * Math.exp(normalQuantile * Math.sqrt(spread) - spread / 2);
}

/** How long pods take to start. */
export interface Start {
  /** ms. */
  readonly mean: number;
  /** Mean distance from the mean, ms. */
  readonly deviation: number;
  readonly pods: number;
}

const PODS = 20;

/** After a start that took `tookMs`; one of less than nothing took none. */
export function learnStart(before: Start | undefined, tookMs: number): Start {
  const ms = Math.max(0, tookMs);
  if (!before) return { mean: ms, deviation: ms / 4, pods: 1 };
  const pods = Math.min(before.pods + 1, PODS);
  const value = Math.min(ms, before.mean * 4 + 1_000);
  const mean = before.mean + (value - before.mean) / pods;
  return { mean, deviation: before.deviation + (Math.abs(value - mean) - before.deviation) / pods, pods };
}

/** Replicas that were asked for together and are not up yet. */
export interface Starting {
  readonly at: number;
  readonly replicas: number;
}

/**
 * Settles which of the replicas that were asked for are up now. The oldest come up first, and tell how long they took;
 * the newest are the first to be taken back. `tookMs` has an entry for each replica that came up.
 */
export function settleStarts(
  starts: readonly Starting[],
  start: Start | undefined,
  seen: { readonly starting: number; readonly up: number; readonly now: number },
): {
  readonly starts: readonly Starting[];
  readonly start: Start | undefined;
  readonly tookMs: readonly number[];
} {
  let learned = start;
  const tookMs: number[] = [];
  let up = seen.up;
  const left: Starting[] = [];
  for (const one of starts) {
    const came = Math.min(up, one.replicas);
    up -= came;
    if (came > 0) learned = learnStart(learned, seen.now - one.at);
    for (let i = 0; i < came; i++) tookMs.push(seen.now - one.at);
    if (one.replicas > came) left.push({ at: one.at, replicas: one.replicas - came });
  }
  let excess = left.reduce((sum, { replicas }) => sum + replicas, 0) - seen.starting;
  for (let i = left.length - 1; i >= 0 && excess > 0; i--) {
    const { at, replicas } = left[i] as Starting;
    const dropped = Math.min(excess, replicas);
    excess -= dropped;
    if (dropped === replicas) left.splice(i, 1);
    else left[i] = { at, replicas: replicas - dropped };
  }
  if (excess < 0) left.push({ at: seen.now, replicas: -excess });
  return { starts: left, start: learned, tookMs };
}

/** How long replicas take to start, and those that are on their way. */
export interface Starts {
  readonly start: Start | undefined;
  readonly starts: readonly Starting[];
  /** Replicas that were up at the last look. */
  readonly ready: number;
}

/** After a look at which so many replicas were wanted and up. */
export function learnStarts(before: Starts | undefined, wanted: number, up: number, now: number): Starts {
  const ready = Math.min(up, wanted);
  const came = { starting: wanted - ready, up: Math.max(0, ready - (before?.ready ?? ready)), now };
  return { ...settleStarts(before?.starts ?? [], before?.start, came), ready };
}

/** Replicas that were asked for are on their way from now on. */
export function withStarted<T extends Starts>(before: T, replicas: number, now: number): T {
  return replicas > 0 ? { ...before, starts: [...before.starts, { at: now, replicas }] } : before;
}

/** How long to reckon with, ms. Unknown, a start counts as 2 s, or as half of the target if that is less. */
export function startTime(start: Start | undefined, waitMs = Infinity): number {
  return start ? start.mean + start.deviation : Math.min(2_000, waitMs / 2);
}

/** How long until a replica is up that has been starting for `sinceMs`. One that is late may be as late again. */
export function restOfStart(sinceMs: number, startMs: number): number {
  return Math.abs(startMs - sinceMs);
}

/** What a start counts for beside the time that it takes, pod-ms. */
const START_COST_MS = 10_000;

/**
 * How much idling a start is worth, ms. What one kept replica does within the target takes several new ones: they have the
 * start time less.
 */
export function worthOfStart(startMs: number, waitMs: number): number {
  const instead = startMs < waitMs ? Math.min(waitMs / (waitMs - startMs), 4) : 4;
  return (START_COST_MS + startMs) * instead;
}
