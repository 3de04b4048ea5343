/**
 * A trace from what was seen of a pool: tasks with an arrival and a service time, out of counts and sums over stretches of
 * time. Pure.
 *
 * What is true to the record: the number of tasks, when they came to within a stretch, the work in all. Within a stretch they
 * come at random times; the most that were seen to come at once come within a second. The k-th task to come is taken for the
 * k-th to end, as a list that is first in, first out, has it. One that ended alone took what it took. Several that ended in the
 * same stretch get times that are drawn from a log-normal with the spread that such stretches have shown, and that add up to
 * their sum: all of them with their mean would be too easy a load.
 */
import { createRandom, type Random } from './random.ts';

/** What happened in an interval, ms. */
export interface HistorySpan {
  readonly from: number;
  readonly to: number;
  readonly arrived: number;
  /** The largest number that arrived together, and when that was seen. */
  readonly peak?: { readonly tasks: number; readonly at: number };
  /** Tasks whose run ended, successfully or not, and their total run time. */
  readonly ended: number;
  readonly serviceMs: number;
}

/** Arrival and service time, ms. */
export type HistoryTask = readonly [arrival: number, service: number];

export interface Historian {
  /** Adds a span, in order. Returns the tasks that are complete by then, in the order of arrival. */
  add(span: HistorySpan): HistoryTask[];
  /** Tasks that were still waiting or running: they get the mean. None if no task has ended. */
  end(): HistoryTask[];
}

/** Interval of the samples that see arrivals at the same time, ms. */
const LOOK_MS = 1_000;
/** Upper bound of the standard deviation / mean. */
const MOST_VARIATION = 3;

/** `running`: tasks that ran or waited before the first span. They end first, and are not part of this history. */
export function createHistorian({ seed = 1, running = 0 } = {}): Historian {
  const random = createRandom(seed);
  const spread = createSpread();
  const arrivals: number[] = [];
  const services: number[] = [];
  let before = running;
  let total = { tasks: 0, ms: 0 };

  /** Both grow by the end; a pool with a backlog has many arrivals whose service time is not known yet. */
  function matched(): HistoryTask[] {
    const count = Math.min(arrivals.length, services.length);
    const taken = services.splice(0, count);
    return arrivals.splice(0, count).map((arrival, i): HistoryTask => [arrival, taken[i] ?? 0]);
  }

  return {
    add: (span) => {
      for (const arrival of arrivalsOf(span, random)) arrivals.push(arrival);
      const { ended, serviceMs } = span;
      if (ended > 0) {
        total = { tasks: total.tasks + ended, ms: total.ms + serviceMs };
        spread.add(ended, serviceMs / ended);
        const earlier = Math.min(before, ended);
        before -= earlier;
        const took = servicesOf(ended, serviceMs, spread.deviation, random);
        for (const ms of took.slice(earlier)) services.push(ms);
      }
      return matched();
    },
    end: () => {
      if (total.tasks === 0) return [];
      const mean = total.ms / total.tasks;
      return arrivals.splice(0).map((arrival): HistoryTask => [arrival, mean]);
    },
  };
}

function arrivalsOf({ from, to, arrived, peak }: HistorySpan, random: Random): number[] {
  const together = Math.min(peak?.tasks ?? 0, arrived);
  const times = Array.from({ length: arrived }, (_, i) =>
    peak && i < together
      ? peak.at - Math.min(LOOK_MS, to - from) * random.uniform()
      : from + (to - from) * random.uniform(),
  );
  return times.toSorted((a, b) => a - b);
}

function servicesOf(tasks: number, sumMs: number, deviation: number, random: Random): number[] {
  const mean = sumMs / tasks;
  const variation = mean > 0 ? Math.min(deviation / mean, MOST_VARIATION) : 0;
  if (tasks === 1 || variation === 0) return Array.from({ length: tasks }, () => mean);
  const drawn = Array.from({ length: tasks }, () => random.lognormal(mean, variation));
  const scale = sumMs / drawn.reduce((sum, ms) => sum + ms, 0);
  return drawn.map((ms) => ms * scale);
}

/**
 * The standard deviation of single tasks from the means of groups: those of neighbours differ by σ²·(1/n + 1/m) on average (von
 * Neumann, "Distribution of the ratio of the mean square successive difference to the variance", 1941). What changes slowly over
 * the day is no spread, and does not count.
 */
function createSpread(): { add(tasks: number, mean: number): void; readonly deviation: number } {
  let last: { readonly tasks: number; readonly mean: number } | undefined;
  let sum = 0;
  let pairs = 0;
  return {
    add: (tasks, mean) => {
      if (last) {
        sum += (mean - last.mean) ** 2 / (1 / tasks + 1 / last.tasks);
        pairs++;
      }
      last = { tasks, mean };
    },
    get deviation() {
      return pairs > 0 ? Math.sqrt(sum / pairs) : 0;
    },
  };
}
