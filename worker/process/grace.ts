/**
 * How long a worker that was told to stop lets its tasks run. What comes after that (aborting them, a last turn, the goodbye) has to
 * be over before the kubelet kills the process, and takes longer on a node that is starved of processor time. Nobody tells
 * a process that; it notices by its own timers, which fire late.
 */
import type { Clock } from '../../runtime/clock.ts';

/** What comes after the abort waits about this often for the process to get its turn: the abort, a last turn, the goodbye, the exit. */
const WAITS = 4;
/** How often it checks how late its timers are, ms. */
const CHECK_MS = 100;

/** How long after it was told to stop what runs is aborted, ms. `lateMs`: the most that a timer was late since. Pure. */
export function runsFor(graceMs: number, lateMs: number): number {
  return Math.max(graceMs / 2, graceMs - WAITS * lateMs);
}

/** Resolves when what runs is to be aborted: after `graceMs`, or earlier where timers are late, but not before half of it. */
export async function waitOutGrace(graceMs: number, clock: Clock): Promise<void> {
  const began = clock.elapsed();
  for (let now = began, lateMs = 0; ;) {
    const left = runsFor(graceMs, lateMs) - (now - began);
    if (left <= 0) return;
    const pause = Math.min(left, CHECK_MS);
    await clock.sleep(pause);
    const after = clock.elapsed();
    lateMs = Math.max(lateMs, after - now - pause);
    now = after;
  }
}
