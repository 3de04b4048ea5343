/**
 * How often values of each size were seen, in classes that grow by a tenth. Old values count less and less, so that the
 * whole never stands for more than `remembered`. A plain array, of at most `CLASSES` numbers. Pure.
 */
export type BucketCounts = readonly number[];

const CLASSES = 192;
const PER_DOUBLING = 8;

/** Adds a value, in units of the smallest that matters, `weight` times. */
export function withValue(
  before: BucketCounts,
  value: number,
  weight: number,
  remembered: number,
): BucketCounts {
  if (!(weight > 0) || !(value >= 0)) return before;
  const index = Math.min(CLASSES - 1, value <= 1 ? 0 : Math.ceil(PER_DOUBLING * Math.log2(value)));
  const total = totalOf(before) + weight;
  const fade = Math.min(1, remembered / total);
  const counts = Array.from(
    { length: Math.max(before.length, index + 1) },
    (_, i) => (before[i] ?? 0) * fade,
  );
  counts[index] = (counts[index] ?? 0) + Math.min(weight, remembered) * fade;
  return counts.map((count) => (count < 1e-6 ? 0 : Math.round(count * 1e4) / 1e4));
}

/**
 * The value below which this share of all values lies: the middle of its class, or the top, which is no less than the true one; 0
 * when there are none.
 */
export function quantileOf(counts: BucketCounts, share: number, of: 'middle' | 'top' = 'middle'): number {
  let left = totalOf(counts) * (1 - share);
  for (let i = counts.length - 1; i >= 0; i--) {
    left -= counts[i] ?? 0;
    if (left < -1e-9) return 2 ** (Math.max(0, of === 'top' ? i : i - 0.5) / PER_DOUBLING);
  }
  return 0;
}

/** The share of values above one, to within a class; 0 when there are none. */
export function shareAbove(counts: BucketCounts, value: number): number {
  const last = value <= 1 ? 0 : Math.ceil(PER_DOUBLING * Math.log2(value));
  const total = totalOf(counts);
  return total > 0 ? totalOf(counts.slice(last + 1)) / total : 0;
}

export function totalOf(counts: BucketCounts): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
