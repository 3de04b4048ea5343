/**
 * Ten seconds of a pool as one entry of its timeline: means over time, sums, waits. Pure; recorder.ts has the schedule, and
 * queue/pool/timeline.ts the storage.
 *
 * An entry is written only if something happened: tasks arrived, were taken or ended, replicas became ready, or the state differs
 * from that of the last entry. So one more entry follows when activity ends, with the final state, and then none.
 */
import type { TimelineEntry } from '../../queue/pool/timeline.ts';
import type { Observation } from '../observe/observation.ts';
import { waitQuantile } from '../decide/target-wait/waits.ts';

/** The state of a pool between two observations. */
export type Standing = Pick<
  Observation,
  'known' | 'waiting' | 'inFlight' | 'delayed' | 'dead' | 'replicas' | 'ready' | 'desired'
>;

const MEANS = ['waiting', 'inFlight', 'replicas', 'ready'] as const;
const SUMS = ['arrived', 'taken', 'completed', 'failed', 'retried', 'serviceMs'] as const;

/** A period of time, as far as it has been observed. Times are by the monotonic clock. */
export interface Stretch {
  readonly from: number;
  /** The time of the last observation, ms, and the state since then. */
  readonly until: number;
  readonly standing: Standing;
  /** Integrals over time, in units × ms. */
  readonly areas: Readonly<Record<(typeof MEANS)[number], number>>;
  readonly sums: Readonly<Record<(typeof SUMS)[number], number>>;
  readonly mostWaiting: number;
  readonly blindMs: number;
  readonly waits: Observation['waits'];
  readonly startsMs: readonly number[];
  /** The most arrivals in one observation, and when, ms from the beginning. */
  readonly peak: number;
  readonly peakMs: number;
  /** Something has happened in it. */
  readonly eventful: boolean;
}

/** A stretch that begins at `at`, ms. */
export function beginStretch(at: number, standing: Standing): Stretch {
  return {
    from: at,
    until: at,
    standing,
    areas: { waiting: 0, inFlight: 0, replicas: 0, ready: 0 },
    sums: { arrived: 0, taken: 0, completed: 0, failed: 0, retried: 0, serviceMs: 0 },
    mostWaiting: standing.waiting,
    blindMs: 0,
    waits: [],
    startsMs: [],
    peak: 0,
    peakMs: 0,
    eventful: false,
  };
}

/** The previous state lasted until the observation. */
export function extendStretch(stretch: Stretch, seen: Observation): Stretch {
  const held = heldUntil(stretch, seen.elapsed);
  const sums = { ...held.sums };
  for (const name of SUMS) sums[name] += seen[name];
  return {
    ...held,
    sums,
    standing: standingOf(seen),
    mostWaiting: Math.max(held.mostWaiting, seen.waiting),
    waits: [...held.waits, ...seen.waits],
    startsMs: [...held.startsMs, ...seen.startsMs],
    ...(seen.arrived > held.peak && { peak: seen.arrived, peakMs: seen.elapsed - held.from }),
    eventful: held.eventful || isEventful(seen, stretch.standing),
  };
}

/** The entry of a stretch that ends at `now`, ms. */
export function entryOf(stretch: Stretch, now: number): Omit<TimelineEntry, 'at'> {
  const { from, until, areas, sums, standing, mostWaiting, blindMs, waits, startsMs } = heldUntil(
    stretch,
    now,
  );
  const spanMs = Math.max(1, until - from);
  const { desired, delayed, dead } = standing;
  return {
    spanMs,
    waiting: areas.waiting / spanMs,
    inFlight: areas.inFlight / spanMs,
    replicas: areas.replicas / spanMs,
    ready: areas.ready / spanMs,
    desired,
    delayed,
    dead,
    mostWaiting,
    blindMs,
    ...sums,
    serviceMs: Math.round(sums.serviceMs),
    waitP50Ms: Math.round(waitQuantile(waits, 0.5) ?? 0),
    waitP95Ms: Math.round(waitQuantile(waits, 0.95) ?? 0),
    waitMaxMs: Math.round(waits.reduce((longest, { waitMs }) => Math.max(longest, waitMs), 0)),
    peak: stretch.peak,
    peakMs: Math.round(stretch.peakMs),
    starts: startsMs.length,
    startMs: startsMs.reduce((sum, ms) => sum + ms, 0),
  };
}

/** Whether anything happened since `before`, the last observed state. */
export function isEventful(seen: Observation, before: Standing): boolean {
  return (
    SUMS.some((name) => seen[name] > 0) ||
    seen.startsMs.length > 0 ||
    Object.entries(standingOf(seen)).some(([name, value]) => before[name as keyof Standing] !== value)
  );
}

export function standingOf(seen: Standing): Standing {
  const { known, waiting, inFlight, delayed, dead, replicas, ready, desired } = seen;
  return { known, waiting, inFlight, delayed, dead, replicas, ready, desired };
}

function heldUntil(stretch: Stretch, now: number): Stretch {
  const ms = Math.max(0, now - stretch.until);
  if (ms === 0) return stretch;
  const areas = { ...stretch.areas };
  for (const name of MEANS) areas[name] += stretch.standing[name] * ms;
  return { ...stretch, areas, until: now, blindMs: stretch.blindMs + (stretch.standing.known ? 0 : ms) };
}
