/**
 * A long stretch of a pool's timeline in a few hundred steps, for charts. Pure.
 *
 * Each step has the maximum, so that a burst of seconds is visible in a week. Where the timeline has no entry, the state is that
 * of the last entry, provided that nothing happened in it: such an entry is written for this purpose. After an entry in which
 * something happened, a gap means that nothing was recorded, and the state is unknown until the next entry.
 */
import type { TimelineEntry } from '../../../queue/pool/timeline.ts';
import { waitQuantile } from '../../decide/target-wait/waits.ts';
import type { Column, Series } from '../api.ts';

/** How much later the next entry may end while something happens: ten seconds, and a busy Redis. */
const LATE_MS = 30_000;

export interface Steps {
  readonly from: number;
  readonly stepMs: number;
  readonly count: number;
}

/** `spanMs` in steps of `stepMs`, the last of them the one that `now` is in. */
export function stepsUntil(now: number, spanMs: number, stepMs: number): Steps {
  const count = Math.ceil(spanMs / stepMs);
  return { from: (Math.floor(now / stepMs) + 1 - count) * stepMs, stepMs, count };
}

/**
 * `entries`: oldest first, with the last one from before the first step where there is one. Values until `now`, ms; steps, or
 * parts of them, of which nothing is known are `null`.
 */
export function inSteps(entries: readonly TimelineEntry[], steps: Steps, now: number): Series {
  const { from, stepMs, count } = steps;
  const none = (): (number | null)[] => Array.from<number | null>({ length: count }).fill(null);
  const columns = {
    waiting: none(),
    inFlight: none(),
    replicas: none(),
    ready: none(),
    desired: none(),
    waitP50: none(),
    waitP95: none(),
    arrived: none(),
    finished: none(),
  } satisfies Record<Column, (number | null)[]>;
  const taken = Array.from({ length: count }, (): TimelineEntry[] => []);
  const stepOf = (at: number): number => Math.floor((at - from) / stepMs);

  /** It was like that from `begin` to before `end`. */
  function raise(entry: TimelineEntry, begin: number, end: number): void {
    const last = Math.min(count - 1, stepOf(Math.min(end, now + 1) - 1));
    for (let step = Math.max(0, stepOf(begin)); step <= last; step++) {
      lift(columns.waiting, step, entry.mostWaiting);
      lift(columns.inFlight, step, entry.inFlight);
      lift(columns.replicas, step, entry.replicas);
      lift(columns.ready, step, entry.ready);
      lift(columns.desired, step, entry.desired);
    }
  }

  for (const [i, entry] of entries.entries()) {
    const { at, spanMs, arrived, completed, failed } = entry;
    const next = entries[i + 1];
    const until = next ? next.at - next.spanMs : now + 1;
    const holds = isStill(entry) || until - at <= LATE_MS;
    raise(entry, at - spanMs, holds ? Math.max(at, until) : at);
    const step = stepOf(at - 1);
    if (step < 0 || step >= count) continue;
    columns.arrived[step] = (columns.arrived[step] ?? 0) + arrived;
    columns.finished[step] = (columns.finished[step] ?? 0) + completed + failed;
    if (entry.taken > 0) taken[step]?.push(entry);
  }
  for (const [step, those] of taken.entries()) {
    columns.waitP50[step] = waitOf(those, 0.5);
    columns.waitP95[step] = waitOf(those, 0.95);
  }
  return { from, stepMs, columns };
}

function lift(column: (number | null)[], step: number, level: number): void {
  const before = column[step];
  if (typeof before !== 'number' || before < level) column[step] = level;
}

/** Nothing happened in it: it only records the state. */
function isStill({ arrived, taken, completed, failed, retried, starts }: TimelineEntry): boolean {
  return arrived + taken + completed + failed + retried + starts === 0;
}

/**
 * A quantile of several entries together: exact for one, and never too short for several. An entry has three points of its
 * waits; all tasks up to each of them count as having waited that long.
 */
function waitOf(entries: readonly TimelineEntry[], share: number): number | null {
  const parts = entries.flatMap(({ taken, waitP50Ms, waitP95Ms, waitMaxMs }) => [
    { waitMs: waitP50Ms, tasks: 0.5 * taken },
    { waitMs: waitP95Ms, tasks: 0.45 * taken },
    { waitMs: waitMaxMs, tasks: 0.05 * taken },
  ]);
  return waitQuantile(parts, share) ?? null;
}
