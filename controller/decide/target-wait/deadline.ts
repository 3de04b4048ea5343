/**
 * The deadline rule: the fewest slots with which every waiting task still starts within the target wait of its arrival.
 *
 * A list that is served by n slots begins its k-th task, at the latest, when all work before it, divided by n, is done
 * (Graham, "Bounds on multiprocessing timing anomalies", 1969); all slots but one then still run something, which counts
 * for them. So for each waiting task with d ms left until its deadline, what is in flight and the k - 1 tasks before it
 * must fit into what the slots that are up do in d, those that start in d minus the rest of their start, and new ones in
 * d - D. A task that not even new slots can help any more counts as one that they can just help: late, but soon. Pure.
 */
import type { Cohort } from './arrivals.ts';

export interface Load {
  readonly cohorts: readonly Cohort[];
  /** Tasks that will have come, at the present rate, by the time that a new slot is up. */
  readonly coming: number;
  /** Delayed tasks that will be due by then. */
  readonly dueSoon: number;
  readonly inFlight: number;
  /** Slots that are up. */
  readonly ready: number;
  /** Slots that start, and in how many ms each of these groups will be up. */
  readonly starting: readonly { readonly slots: number; readonly inMs: number }[];
}

export interface Times {
  readonly waitMs: number;
  /** Mean and standard deviation of the service time. */
  readonly serviceMs: number;
  readonly deviationMs: number;
  /** What a task in flight has still to run, on average: now, and one that will be in flight at some moment. */
  readonly restMs: number;
  readonly laterRestMs: number;
  readonly startMs: number;
  /** Tasks that the mean is based on: it may be off by as much as the mean of that many is. */
  readonly known: number;
  /** How many standard deviations of the work to be prepared for; where slots are given up, twice as many. */
  readonly caution: number;
  /** How many where slots are given up while tasks wait, if it is another number. */
  readonly releaseCaution?: number;
}

export interface SlotDemand {
  /** Of those that are up, as many as suffice if nothing more comes. */
  readonly enough: number;
  /** To be started beside all that there are, before any is rounded to replicas. */
  readonly more: number;
}

export function slotsFor(load: Load, times: Times): SlotDemand {
  const {
    serviceMs,
    deviationMs,
    restMs,
    waitMs,
    startMs,
    known,
    caution,
    releaseCaution = 2 * caution,
  } = times;
  // a slot that is up at the deadline still runs something then
  const credit = Math.min(times.laterRestMs, waitMs / 2);
  const last = startMs + waitMs / 5;
  let enough = 0;
  let more = 0;
  const waiting = load.cohorts.at(-1)?.until ?? 0;
  const coming = load.coming + load.dueSoon;
  const future = {
    before: waiting + coming,
    until: waiting + coming,
    oldest: -startMs,
    youngest: -startMs,
  };
  const tasks =
    waiting + load.inFlight + load.dueSoon > 0 && coming >= 1 ? [...load.cohorts, future] : load.cohorts;
  for (const { before, until, oldest, youngest } of tasks) {
    for (const [k, age] of [
      [before + 1, oldest],
      [until, youngest],
    ] as const) {
      const queued = Math.max(0, k - 1);
      const ahead = queued + load.inFlight;
      const left = Math.max(waitMs - age, 0);
      // the sum of that many tasks varies as each of them does, and all of them as the mean does
      const spread = deviationMs * Math.sqrt(ahead + ahead ** 2 / known);
      const alone = queued * serviceMs + caution * spread + credit;
      // what is in flight keeps a slot from the tasks behind it, but only until they must have begun
      const work = (span: number): number => alone + load.inFlight * Math.min(restMs, span);
      // what is given up too early has to start again, in what is left of the target
      const spare = ((until <= waiting ? releaseCaution : 2 * caution) - caution) * spread;
      enough = Math.max(enough, (work(left + credit) + spare) / (left + credit));
      if (ahead < load.ready || work(left + credit) <= load.ready * (left + credit)) continue;
      const end = Math.max(left, last);
      let missing = work(end + credit) - load.ready * (end + credit);
      for (const { slots, inMs } of load.starting) missing -= slots * Math.max(0, end - inMs + credit);
      more = Math.max(more, missing / (end - startMs + credit));
    }
  }
  return { enough, more };
}
