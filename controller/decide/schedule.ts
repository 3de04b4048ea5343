/** Bounds that change with the time of day: each schedule applies for its duration from each of its starts. Pure. */
import type { CronTimes } from './cron.ts';

export interface Schedule extends CronTimes {
  readonly name: string;
  readonly durationMs: number;
  readonly minReplicas: number | undefined;
  readonly maxReplicas: number | undefined;
}

export interface Bounds {
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

export interface BoundsNow extends Bounds {
  /** Names of the active schedules, and of those that set the bounds. */
  readonly on: readonly string[];
  readonly minBy: string | undefined;
  readonly maxBy: string | undefined;
  /** When a schedule begins or ends next, ms since the epoch. */
  readonly until: number | undefined;
}

/**
 * The pool's own bounds, replaced by those of the active schedules. Where several are active, the largest of each wins; a
 * minimum over the maximum raises the maximum, since a schedule that asks for replicas means it. A schedule that starts
 * again before its end continues.
 */
export function boundsAt(own: Bounds, schedules: readonly Schedule[], now: number): BoundsNow {
  const on: Schedule[] = [];
  let until = Infinity;
  for (const schedule of schedules) {
    const last = schedule.lastStart(now);
    const end = last === undefined ? -Infinity : last + schedule.durationMs;
    if (now < end) on.push(schedule);
    until = Math.min(until, now < end ? end : (schedule.nextStart(now) ?? Infinity));
  }
  const least = highest(on, 'minReplicas');
  const most = highest(on, 'maxReplicas');
  const maxReplicas = most?.maxReplicas ?? own.maxReplicas;
  const minReplicas = least?.minReplicas ?? Math.min(own.minReplicas, maxReplicas);
  return {
    minReplicas,
    maxReplicas: Math.max(maxReplicas, least ? minReplicas : 0),
    on: on.map(({ name }) => name),
    minBy: least?.name ?? (minReplicas < own.minReplicas ? most?.name : undefined),
    maxBy: least && minReplicas > maxReplicas ? least.name : most?.name,
    until: until === Infinity ? undefined : until,
  };
}

function highest(schedules: readonly Schedule[], bound: keyof Bounds): Schedule | undefined {
  let found: Schedule | undefined;
  for (const schedule of schedules)
    if (schedule[bound] !== undefined && !(schedule[bound] <= (found?.[bound] ?? -1))) found = schedule;
  return found;
}
