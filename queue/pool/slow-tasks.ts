/**
 * A histogram of slow tasks: a pod's grace period must cover all but the slowest hundredth. Kept in the queue's stats, written
 * only by turns that settle a slow task: a fast one costs nothing.
 *
 * Bucket b ≥ 1 counts tasks that took up to SLOW_MS · 2^(b/4), and more than the bucket before it: a value is exact to
 * 19 %. Tasks that took SLOW_MS or less are in none.
 */
export const SLOW_MS = 12_500;
/** Counts everything over 45 minutes. */
export const SLOW_BUCKETS = 32;

/** The bucket for a service time, ms; 0 if it was not slow. */
export function slowBucket(serviceMs: number): number {
  if (serviceMs <= SLOW_MS) return 0;
  const bucket = Math.ceil(4 * Math.log2(serviceMs / SLOW_MS));
  return Math.max(0, Math.min(bucket, SLOW_BUCKETS));
}

/** Upper end of a bucket, ms. */
export function slowestOf(bucket: number): number {
  return SLOW_MS * 2 ** (bucket / 4);
}

/**
 * The 99th percentile of the service time, ms, as the upper end of its bucket; at least SLOW_MS. `slow[b - 1]` is the count of
 * bucket b, `tasks` that of all.
 */
export function p99(slow: readonly number[], tasks: number): number {
  let above = 0;
  for (let bucket = slow.length; bucket > 0; bucket--) {
    above += slow[bucket - 1] ?? 0;
    if (above > tasks / 100) return slowestOf(bucket);
  }
  return SLOW_MS;
}
