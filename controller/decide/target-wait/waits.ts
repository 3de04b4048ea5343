/** How long tasks waited, many with one wait together. Pure. */
export interface Wait {
  readonly waitMs: number;
  readonly tasks: number;
}

/** The wait that this share of the tasks kept to, ms: exact. `undefined` when there are none. */
export function waitQuantile(waits: readonly Wait[], share: number): number | undefined {
  let left = waits.reduce((sum, { tasks }) => sum + tasks, 0) * share;
  for (const { waitMs, tasks } of waits.toSorted((a, b) => a.waitMs - b.waitMs)) {
    left -= tasks;
    // shares of tasks do not add up to the last digit
    if (left <= 1e-6) return waitMs;
  }
  return undefined;
}
