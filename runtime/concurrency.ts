/** How many tasks a worker runs at a time: a number, or bounds within which it finds the number itself. */

export interface ConcurrencyBounds {
  readonly min: number;
  readonly max: number;
}

export type Concurrency = number | ConcurrencyBounds;

export const MAX_CONCURRENCY = 10_000;
/** Of `auto`. */
export const AUTO_BOUNDS: ConcurrencyBounds = { min: 1, max: 32 };

const AUTO = /^auto(?::(\d{1,9})-(\d{1,9}))?$/;

/** Reads `8`, `auto` or `auto:4-64`. Throws `RangeError` with what to write instead. */
export function parseConcurrency(value: number | string): Concurrency {
  const number = typeof value === 'number' || /^\d+$/.test(value) ? Number(value) : undefined;
  if (number !== undefined) {
    if (Number.isSafeInteger(number) && number >= 1 && number <= MAX_CONCURRENCY) return number;
    throw new RangeError(`${value} is not a number of tasks from 1 to ${MAX_CONCURRENCY}`);
  }
  const found = AUTO.exec(String(value));
  if (!found)
    throw new RangeError(
      `${JSON.stringify(value)} is neither a number of tasks such as 8, nor auto, nor auto:4-64`,
    );
  if (found[1] === undefined) return AUTO_BOUNDS;
  const [min, max] = [Number(found[1]), Number(found[2])];
  if (min > max)
    throw new RangeError(`${value} has no numbers in it: write the smaller one first, auto:${max}-${min}`);
  if (min < 1 || max > MAX_CONCURRENCY)
    throw new RangeError(`${value}: the numbers of tasks are from 1 to ${MAX_CONCURRENCY}`);
  return { min, max };
}

/** The same as text. */
export function formatConcurrency(concurrency: Concurrency): string {
  return typeof concurrency === 'number' ? String(concurrency) : `auto:${concurrency.min}-${concurrency.max}`;
}

/** The tasks at a time that a worker begins with, and that one of a version without `auto` runs. */
export function leastTasks(concurrency: Concurrency): number {
  return typeof concurrency === 'number' ? concurrency : concurrency.min;
}

/** The most tasks that there may be at a time. */
export function mostTasks(concurrency: Concurrency): number {
  return typeof concurrency === 'number' ? concurrency : concurrency.max;
}
