/**
 * The highest need of the last while, as a sliding maximum: only needs that no later one has reached are kept, so the first is
 * the highest. Pure.
 */

/** Oldest first, each smaller than the one before it; `at` in ms. */
export type Needs = readonly { readonly at: number; readonly replicas: number }[];

/** Adds a need; drops those that it reaches and those older than `windowMs`. */
export function slideWindow(needs: Needs, replicas: number, at: number, windowMs: number): Needs {
  const kept = needs.filter((need) => need.at > at - windowMs && need.replicas > replicas);
  // not a spread, which leaves room for more: most pools have this one only
  return kept.concat({ at, replicas });
}

/** 0 where there is none. */
export function highestNeed(needs: Needs): number {
  return needs[0]?.replicas ?? 0;
}
