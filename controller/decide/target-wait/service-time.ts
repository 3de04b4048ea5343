/**
 * What a pool learns of its tasks: how long one runs. From sums over the time
 * between two samples, not from single tasks. A mean forgets with a half-life in tasks; a second, fast one notices when
 * everything has changed and then takes over. One value far out moves a mean by no more than a bounded step. Pure.
 */
export interface LearnedService {
  /** ms. */
  readonly mean: number;
  /** ms². */
  readonly variance: number;
  /** Tasks that the mean stands on, at most `REMEMBERED`. */
  readonly tasks: number;
  /** All-time count of finished tasks. */
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
/** Longer run times are not believed, ms: a hundred years. */
const LONGEST_TASK_MS = 3.2e12;
/** A stretch whose mean is further out than this factor counts as one that is just so far out. */
const FAR = 10;

/**
 * After `tasks` tasks more that took `ms` in all, with this mean of the squares of their times, ms². Without it, the variance
 * is that of the means of stretches; which is too large where tasks that began together end in the order of their length.
 */
export function learnService(
  before: LearnedService | undefined,
  tasks: number,
  ms: number,
  meanSquare?: number,
): LearnedService | undefined {
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
function varianceOfMeans(before: LearnedService, tasks: number, value: number): number {
  const both = Math.min(tasks, before.tasks);
  const stretches = Math.min(before.stretches + 1, STRETCHES);
  return before.variance + (both * (value - before.mean) ** 2 - before.variance) / stretches;
}

/**
 * The mean to use now. What has run in `runMs` of slots finished only `tasks`: when that is more for each task than
 * the mean says, long tasks hold slots, or nothing has finished since everything takes longer. It counts as in a life table,
 * against `FAST` tasks of the mean; against one where chance does not explain that so few have finished.
 */
export function meanInView({ mean, variance }: LearnedService, tasks: number, runMs: number): number {
  const expected = runMs / mean;
  // of a renewal process, the count varies by as much as its intervals do
  const spread = Math.sqrt(expected * Math.max(1, variance / mean ** 2));
  const known = expected - tasks > SURPRISING * spread ? 1 : FAST;
  return Math.max(mean, (runMs + known * mean) / (tasks + known));
}

/** How long a task in flight still runs, on average, ms: the mean residual life of renewal theory. */
export function restOf({ mean, variance }: LearnedService): number {
  return (mean ** 2 + variance) / (2 * mean);
}

/** How alike tasks are: 1 where all run equally long, 0 where they differ as much as exponential ones, or more. */
function alikenessOf({ mean, variance }: LearnedService): number {
  return Math.max(0, 1 - variance / mean ** 2);
}

/** Run time of tasks in flight of these ages that is no evidence, ms: none of them should have ended yet. */
export function unripeMs(
  service: LearnedService,
  inFlight: readonly { readonly ageMs: number; readonly tasks: number }[],
): number {
  const young = inFlight.reduce((sum, { ageMs, tasks }) => sum + tasks * Math.min(ageMs, service.mean), 0);
  return alikenessOf(service) * young;
}

/**
 * The same of tasks that have run for `ageMs` on average. The more alike all tasks are, the more their age tells: of tasks that
 * differ as much as exponential ones do, nothing. In a steady flow those taken last are half a task old.
 */
export function restAt(service: LearnedService, ageMs: number): number {
  const { mean } = service;
  return Math.max(0, restOf(service) + alikenessOf(service) * (mean / 2 - ageMs));
}

/** A quantile of the service time, as the log-normal of this mean and variance has it, ms. */
export function serviceQuantile({ mean, variance }: LearnedService, normalQuantile: number): number {
  const spread = Math.log(1 + variance / mean ** 2);
  return mean * Math.exp(normalQuantile * Math.sqrt(spread) - spread / 2);
}
