const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

/** The pause before a worker is restarted, after `streak` crashes in a row, ms. */
export function crashPause(streak: number): number {
  return streak === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (streak - 1), LONGEST_PAUSE_MS);
}
