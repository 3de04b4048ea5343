/**
 * How long a worker that was told to stop lets its tasks run. What comes after that (aborting them, a last turn, the goodbye) has to
 * be over before the kubelet kills the process, and takes longer on a node that is starved of processor time. Nobody tells
 * a process that; it notices by its own timers, which fire late though it did not compute.
 */
import type { Clock } from '../../runtime/clock.ts';

/** What comes after the abort waits about this often for the process to get its turn: the abort, a last turn, the goodbye, the exit. */
const WAITS = 4;
/** How often it checks how late its timers are, ms. */
const CHECK_MS = 100;
/** No more of the grace period than this is given up, ms: a timer can also be late because a handler waits without letting go. */
const LONGEST_EARLY_MS = 10_000;

/** How long after it was told to stop what runs is aborted, ms. `starvedMs`: the most that a timer was late since. Pure. */
export function runsFor(graceMs: number, starvedMs: number): number {
  return graceMs - Math.min(graceMs / 2, LONGEST_EARLY_MS, WAITS * starvedMs);
}

/**
 * Resolves when what runs is to be aborted: after `graceMs`, or earlier where timers are late, but not before half of it.
 * `computedMs`: processor time that the process has used; a timer is late by as much because of its own handlers.
 */
export async function waitOutGrace(graceMs: number, clock: Clock, computedMs: () => number): Promise<void> {
  const began = clock.elapsed();
  for (let now = began, starvedMs = 0; ;) {
    const left = runsFor(graceMs, starvedMs) - (now - began);
    if (left <= 0) return;
    const pause = Math.min(left, CHECK_MS);
    const computed = computedMs();
    await clock.sleep(pause);
    const after = clock.elapsed();
    starvedMs = Math.max(starvedMs, after - now - pause - (computedMs() - computed));
    now = after;
  }
}
