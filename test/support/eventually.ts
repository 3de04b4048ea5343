/** Waiting for what cannot be awaited: checks repeatedly, up to a limit. */
import { availableParallelism, loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

export interface Patience {
  /**
   * ms, on a machine that has nothing else to do. Far more than anything takes, since it is for what never comes: the
   * load average rises only minutes after the load. Less only where `look` begins something anew.
   */
  readonly withinMs?: number;
  readonly everyMs?: number;
}

/** The default of `withinMs`. */
export const WITHIN_MS = 30_000;

/** The limits per test in vitest.config.ts leave room for the longest wait that this makes of WITHIN_MS. */
const MOST_BUSY = 6;

/** How many times longer things take because the machine is busy: what wants to run for each processor, at least 1. */
function busyness(): number {
  const [lastMinute = 0] = loadavg();
  return Math.min(MOST_BUSY, Math.max(1, lastMinute / availableParallelism()));
}

/** The limit, ms, on this machine under its current load for something that takes this long on an idle one. */
export function patient(ms: number): number {
  return ms * busyness();
}

/**
 * Calls `look` until it does not throw, and resolves to its result; pass assertions. After `withinMs` it rejects
 * with what `look` threw last; on a busy machine, after as much longer as that is busy.
 */
export async function eventually<T>(
  look: () => T | Promise<T>,
  { withinMs = WITHIN_MS, everyMs = 10 }: Patience = {},
): Promise<T> {
  const began = performance.now();
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() - began > patient(withinMs)) throw error;
      await delay(everyMs);
    }
  }
}

/** Asserts that `look` does not throw for `forMs`: for what must not happen. */
export async function throughout(forMs: number, look: () => unknown): Promise<void> {
  const deadline = performance.now() + forMs;
  while (performance.now() < deadline) {
    await look();
    await delay(10);
  }
}

/**
 * Asserts that something takes less than `ms`, if without the tested feature it would take longer every time: a wait for the
 * next poll, for example. A busy machine delays anything now and then, so one try of several in time is enough.
 * `attempt` gets the number of the try and resolves to how long it took, ms.
 */
export async function sooner(
  ms: number,
  attempt: (round: number) => Promise<number>,
  rounds = 30,
): Promise<void> {
  const took: number[] = [];
  while (took.length < rounds) {
    const now = await attempt(took.length);
    if (now < ms) return;
    took.push(Math.round(now));
  }
  throw new Error(`not once in ${rounds} tries within ${ms} ms, but after ${took.join(', ')} ms`);
}
