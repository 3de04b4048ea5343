/** Combines the samples of a pool's queues. Pure. */
import { describeLimits, tryRate } from '../limits/definition.ts';
import type { LimitsSurvey } from '../limits/limits.ts';
import type { QueueCounters, QueueSample } from './sample.ts';

export interface PoolSample extends Omit<QueueSample, 'busy' | 'limits'> {
  /** Waiting, due, and soon due tasks and suspects that workers may take: those of queues that are not paused. */
  readonly runnable: Pick<QueueSample, 'waiting' | 'due' | 'dueSoon' | 'suspects' | 'solitary'>;
  /** Number of paused queues. */
  readonly pausedQueues: number;
  /** Tasks, waiting or due, that no further worker could take, because their queue has a limit of its own. */
  readonly blocked?: number;
  /** Those limits, where they are ours, human-readable. */
  readonly limits?: string;
  /** Who has set those that its queues have, paused ones included. */
  readonly limitsBy?: readonly string[];
  /** Of several lists, each of them. */
  readonly lists?: readonly ListSample[];
}

/** One of the lists of a pool. */
export type ListSample = Pick<
  QueueSample,
  'waiting' | 'inFlight' | 'delayed' | 'dead' | 'workers' | 'paused'
> & { readonly queue: string };

/**
 * Sums the tasks of the queues. Workers are registered with each queue, so they are not summed; nor are busy ones,
 * because one worker may hold tasks of several queues. `names`: of the queues. Throws `RangeError` for no samples.
 */
export function combineSamples(samples: readonly QueueSample[], names: readonly string[] = []): PoolSample {
  const all = mergeSamples(samples.map(ofOneQueue));
  return names.length > 1 ? { ...all, lists: names.map((name, i) => ofOneList(name, samples[i])) } : all;
}

function ofOneList(queue: string, sample: QueueSample | undefined): ListSample {
  const { waiting = 0, inFlight = 0, delayed = 0, dead = 0, workers = 0, paused = false } = sample ?? {};
  return { queue, waiting, inFlight, delayed, dead, workers, paused };
}

/** One object for the samples of thousands of empty queues. */
const NOTHING: PoolSample['runnable'] = { waiting: 0, due: 0, dueSoon: 0, suspects: 0, solitary: 0 };

function ofOneQueue({ limits, busy: _busy, ...sample }: QueueSample): PoolSample {
  const { paused, waiting, due, dueSoon, suspects, solitary } = sample;
  const limitsBy = limits && [limits.by];
  if (paused) return { ...sample, runnable: NOTHING, pausedQueues: 1, ...(limitsBy && { limitsBy }) };
  if (limitsBy) return { ...sample, ...withinLimits(sample, limits), limitsBy, pausedQueues: 0 };
  const isEmpty = waiting + due + dueSoon === 0;
  const runnable = isEmpty ? NOTHING : { waiting, due, dueSoon, suspects, solitary };
  return { ...sample, runnable, pausedQueues: 0 };
}

/**
 * What limits let workers take: no more than may be in flight at once, or begin by the rate until the horizon, nor more than the rate
 * keeps in flight with tasks as long as those of before.
 */
function withinLimits(
  sample: Omit<QueueSample, 'limits' | 'busy'>,
  { limits, soon, ready, could, nextAt }: LimitsSurvey,
): Pick<PoolSample, 'runnable' | 'blocked' | 'limits' | 'nextDue'> {
  const { waiting, due, dueSoon, suspects, solitary, inFlight, nextDue } = sample;
  const room = Math.max(
    0,
    Math.min(
      (limits.concurrency ?? Infinity) - inFlight,
      soon ?? Infinity,
      inFlightByRate(limits.rate, sample.counters) - inFlight,
    ),
  );
  // suspects are counted among the waiting, and not in the list
  const runs = Math.min(waiting, could + ready + suspects, room);
  const runsDue = Math.min(due, room - runs);
  const runnable = {
    waiting: runs,
    due: runsDue,
    dueSoon: Math.min(dueSoon, room - runs - runsDue),
    suspects: Math.min(suspects, runs),
    solitary: Math.min(solitary, runs),
  };
  const blocked = waiting - runs + (due - runsDue);
  const next = Math.min(nextDue ?? Infinity, (blocked > 0 ? nextAt : undefined) ?? Infinity);
  return {
    runnable,
    ...(blocked > 0 && { blocked }),
    limits: describeLimits(limits),
    nextDue: next === Infinity ? undefined : next,
  };
}

/** The tasks that a rate keeps in flight, at least 1; without limit where none has finished yet. */
function inFlightByRate(
  rate: string | undefined,
  { serviceUs, completed, failed, retried }: QueueCounters,
): number {
  const finished = completed + failed + retried;
  const parsed = rate === undefined ? undefined : tryRate(rate);
  if (!parsed || finished <= 0) return Infinity;
  const { tasks, ms } = parsed;
  return Math.max(1, Math.ceil((tasks / ms) * (serviceUs / finished / 1e3)));
}

/** The same of samples of parts of a pool, whose servers may have different clocks. */
function mergeSamples(samples: readonly PoolSample[]): PoolSample {
  const [first, ...others] = samples;
  if (!first) throw new RangeError('a pool has at least one queue: no sample was given');
  // the common case: with thousands of pools, sums of one would be a tenth of the garbage
  if (others.length === 0) return first;
  const now = Math.max(...samples.map((sample) => sample.now));
  const sum = (of: (sample: PoolSample) => number): number =>
    samples.reduce((total, sample) => total + of(sample), 0);
  const blocked = sum((sample) => sample.blocked ?? 0);
  const limits = [...new Set(samples.flatMap((sample) => sample.limits ?? []))];
  const limitsBy = samples.flatMap((sample) => sample.limitsBy ?? []);
  const earliest = (of: 'nextDue' | 'nextExpiry'): number | undefined => {
    const soonest = Math.min(...samples.map((sample) => (sample[of] ?? Infinity) - sample.now));
    return soonest === Infinity ? undefined : now + soonest;
  };
  const counters = Object.fromEntries(
    Object.keys(first.counters).map((name) => [
      name,
      sum(({ counters: all }) => all[name as keyof QueueCounters]),
    ]),
  ) as unknown as QueueCounters;
  return {
    now,
    waiting: sum((sample) => sample.waiting),
    suspects: sum((sample) => sample.suspects),
    solitary: sum((sample) => sample.solitary),
    apart: {
      workers: sum((sample) => sample.apart.workers),
      tasks: sum((sample) => sample.apart.tasks),
    },
    inFlight: sum((sample) => sample.inFlight),
    delayed: sum((sample) => sample.delayed),
    due: sum((sample) => sample.due),
    dueSoon: sum((sample) => sample.dueSoon),
    nextDue: earliest('nextDue'),
    nextExpiry: earliest('nextExpiry'),
    dead: sum((sample) => sample.dead),
    workers: Math.max(...samples.map((sample) => sample.workers)),
    leaving: Math.max(...samples.map((sample) => sample.leaving)),
    slow: first.slow.map((_, i) => sum((sample) => sample.slow[i] ?? 0)),
    expired: sum((sample) => sample.expired),
    silent: samples.some((sample) => sample.silent),
    paused: samples.every((sample) => sample.paused),
    overdue: samples.some((sample) => sample.overdue),
    counters,
    runnable: {
      waiting: sum(({ runnable }) => runnable.waiting),
      due: sum(({ runnable }) => runnable.due),
      dueSoon: sum(({ runnable }) => runnable.dueSoon),
      suspects: sum(({ runnable }) => runnable.suspects),
      solitary: sum(({ runnable }) => runnable.solitary),
    },
    pausedQueues: sum((sample) => sample.pausedQueues),
    ...(blocked > 0 && { blocked }),
    ...(limits.length > 0 && { limits: limits.join('; ') }),
    ...(limitsBy.length > 0 && { limitsBy }),
    ...(first.levels && { levels: first.levels }),
  };
}
