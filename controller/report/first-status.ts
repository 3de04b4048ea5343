/**
 * When the first status of a pool is written. Where thousands of pools are new, each of them is made before the statuses are: a write
 * of one takes the API server twice as long as that of a Deployment, and no pool works any sooner for it. Pure.
 */

/** Fewer are made at once, as far as a person can see. */
const FEW = 100;
/** What an API server takes for a new pool, roughly. */
const POOL_MS = 10;
const LONGEST_MS = 120_000;

/** ms from now. `waiting`: pools that are still to be reconciled. */
export function firstStatusDelay(waiting: number): number {
  return waiting <= FEW ? 0 : Math.min(waiting * POOL_MS, LONGEST_MS);
}
