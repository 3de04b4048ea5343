/**
 * The curve of arrivals: how many tasks had ever come, and how many had been taken, at each of the last samples. The list is
 * first in, first out, so the curve yields the age of every waiting task without a timestamp in any: task number n came
 * between the two samples around n. Pure.
 *
 * From the same curve comes the lazy demand: the fewest slots that, had they been there, would have begun every task of a
 * stretch of time within W (the delay bound of a constant-rate server; Le Boudec and Thiran, "Network Calculus", 2001).
 */
import type { Wait } from './waits.ts';

export interface CurvePoint {
  /** ms. */
  readonly at: number;
  /** Tasks that had come until then: taken + waiting. Never goes down. */
  readonly arrived: number;
  readonly taken: number;
  /** Tasks that had finished, and slot-ms that tasks had run for, finished or not. */
  readonly done: number;
  readonly runMs: number;
}

/** Oldest first. */
export type Curve = readonly CurvePoint[];

/** Points that are kept; beyond them, old ones are thinned out. */
const MOST = 64;

/** Adds a point; drops those older than `horizonMs` that no waiting task needs. A counter that went back starts a new curve. */
export function withPoint(curve: Curve, look: CurvePoint, horizonMs: number): Curve {
  const last = curve.at(-1);
  if (last && (look.taken < last.taken || look.at < last.at)) return [look];
  // a task that went back to the list leaves the sum as it was
  const arrived = Math.max(look.arrived, last?.arrived ?? 0);
  const kept = curve.filter((_, i) => {
    const next = curve[i + 1];
    return !next || next.at > look.at - horizonMs || next.arrived > look.taken;
  });
  const longer = kept.concat({ ...look, arrived });
  if (longer.length <= MOST) return longer;
  const half = MOST / 2;
  return longer.filter((_, i) => i === 0 || i >= half || i % 2 === 0);
}

/** Waiting tasks that came between the same two samples. */
export interface Cohort {
  /** Waiting tasks before and with this cohort. */
  readonly before: number;
  readonly until: number;
  /** Age of its oldest and of its youngest task, ms. */
  readonly oldest: number;
  readonly youngest: number;
}

/** The waiting tasks by age, oldest first. Tasks that were there before the first sample are as old as it. */
export function cohorts(curve: Curve, waiting: number, now: number): Cohort[] {
  const found: Cohort[] = [];
  const last = curve.at(-1);
  if (!last || waiting <= 0) return found;
  const first = last.arrived - waiting;
  let before = 0;
  for (const [i, look] of curve.entries()) {
    const until = Math.min(look.arrived - first, waiting);
    if (until <= before) continue;
    const previous = curve[i - 1]?.at ?? look.at;
    // evenly spread between the samples
    const since = previous + (look.at - previous) / (until - before + 1);
    found.push({ before, until, oldest: now - since, youngest: now - look.at });
    before = until;
  }
  return found;
}

/** Tasks taken between the last two samples, and about how long they had waited, ms. */
export function waitsOf(curve: Curve): Wait[] {
  const [previous, last] = [curve.at(-2), curve.at(-1)];
  if (!previous || !last) return [];
  const found: Wait[] = [];
  const taken = last.taken - previous.taken;
  let from = previous.taken;
  for (const [i, look] of curve.entries()) {
    const to = Math.min(look.arrived, last.taken);
    if (to <= from) continue;
    const came = (look.at + (curve[i - 1]?.at ?? look.at)) / 2;
    // evenly spread over the time between the samples
    const left = previous.at + ((last.at - previous.at) * ((from + to) / 2 - previous.taken)) / taken;
    found.push({ tasks: to - from, waitMs: Math.max(0, left - came) });
    from = to;
  }
  return found;
}

/** The `tasks` that were taken last, and how long ago, ms: what is in flight is no younger than they are. */
export function lastTaken(curve: Curve, tasks: number, now: number): { ageMs: number; tasks: number }[] {
  const found: { ageMs: number; tasks: number }[] = [];
  let left = tasks;
  for (let i = curve.length - 1; i >= 0 && left > 0; i--) {
    const { at, taken } = curve[i] as CurvePoint;
    const before = curve[i - 1];
    const here = before ? Math.min(left, Math.max(0, taken - before.taken)) : left;
    if (here > 0) found.push({ ageMs: now - (before ? (at + before.at) / 2 : at), tasks: here });
    left -= here;
  }
  return found;
}

/** Their mean age, ms. */
export function ageOfLast(curve: Curve, tasks: number, now: number): number {
  const sum = lastTaken(curve, tasks, now).reduce((total, one) => total + one.tasks * one.ageMs, 0);
  return tasks > 0 ? sum / tasks : 0;
}

/**
 * The fewest slots that, always there, would have begun within `waitMs` what came last before a sample; with a deviation of
 * the service time, enough that a run of long tasks is begun in time, too.
 */
export function demandAt(
  curve: Curve,
  index: number,
  serviceMs: number,
  waitMs: number,
  deviationMs = 0,
): number {
  const end = curve[index];
  let most = 0;
  for (let i = 0; end && i < index; i++) {
    const begin = curve[i] as CurvePoint;
    const tasks = end.arrived - begin.arrived;
    const work = tasks * serviceMs + Math.sqrt(tasks) * deviationMs;
    if (tasks > 0) most = Math.max(most, work / (end.at - begin.at + waitMs));
  }
  return most;
}

/** The same for all that came within the last `waitMs`: what came before has been served by then. */
export function lazyDemand(curve: Curve, now: number, serviceMs: number, waitMs: number): number {
  let most = 0;
  for (const [i, { at }] of curve.entries())
    if (at > now - waitMs) most = Math.max(most, demandAt(curve, i, serviceMs, waitMs));
  return most;
}

/** Arrivals a ms over about the last `spanMs`. */
export function rateOf(curve: Curve, now: number, spanMs: number): number {
  const last = curve.at(-1);
  const from = curve.findLast(({ at }) => at <= now - spanMs) ?? curve[0];
  if (!last || !from) return 0;
  return (last.arrived - from.arrived) / Math.max(now - from.at, spanMs);
}

/** What ran and what finished over the last `spanMs`, or since `tasks` tasks have finished if that is longer. */
export function progressOf(
  curve: Curve,
  spanMs: number,
  tasks: number,
): { readonly tasks: number; readonly runMs: number } {
  const last = curve.at(-1);
  const from =
    last &&
    (curve.findLast(({ at, done }) => at <= last.at - spanMs && done <= last.done - tasks) ?? curve[0]);
  return last && from
    ? { tasks: last.done - from.done, runMs: last.runMs - from.runMs }
    : { tasks: 0, runMs: 0 };
}
