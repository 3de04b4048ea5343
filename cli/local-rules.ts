/** The two choices that LocalTarget makes, apart from its processes. Pure. */

export interface Stoppable {
  readonly id: string;
  readonly number: number;
  readonly ready: boolean;
}

/** The `count` workers to stop: those that hold least, and among equals those that are not up yet, then the youngest. */
export function chooseToStop<T extends Stoppable>(
  workers: readonly T[],
  count: number,
  holding: ReadonlyMap<string, number>,
): T[] {
  const held = (worker: T): number => holding.get(worker.id) ?? 0;
  const order = (a: T, b: T): number =>
    held(a) - held(b) || Number(a.ready) - Number(b.ready) || b.number - a.number;
  return workers.toSorted(order).slice(0, Math.max(0, count));
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

/** How long to wait before a worker is started again after so many crashes in a row, ms. */
export function crashPause(streak: number): number {
  return streak === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (streak - 1), LONGEST_PAUSE_MS);
}
