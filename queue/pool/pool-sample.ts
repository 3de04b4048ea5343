/** Combines the samples of a pool's queues. Pure. */
import type { QueueCounters, QueueSample } from './sample.ts';

export interface PoolSample extends Omit<QueueSample, 'busy'> {
  /** Waiting, due, and soon due tasks and suspects that workers may take: those of queues that are not paused. */
  readonly runnable: Pick<QueueSample, 'waiting' | 'due' | 'dueSoon' | 'suspects' | 'solitary'>;
  /** Number of paused queues. */
  readonly pausedQueues: number;
  /** Of a source: tasks, waiting or due, that no further worker could take, because their queue has a limit of its own. */
  readonly blocked?: number;
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

function ofOneQueue(sample: QueueSample): PoolSample {
  const { paused, waiting, due, dueSoon, suspects, solitary } = sample;
  const runnable = paused
    ? { waiting: 0, due: 0, dueSoon: 0, suspects: 0, solitary: 0 }
    : { waiting, due, dueSoon, suspects, solitary };
  return { ...sample, runnable, pausedQueues: paused ? 1 : 0 };
}

/** The same of samples of parts of a pool, whose servers may have different clocks. */
function mergeSamples(samples: readonly PoolSample[]): PoolSample {
  const [first] = samples;
  if (!first) throw new RangeError('a pool has at least one queue: no sample was given');
  const now = Math.max(...samples.map((sample) => sample.now));
  const sum = (of: (sample: PoolSample) => number): number =>
    samples.reduce((total, sample) => total + of(sample), 0);
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
  };
}
