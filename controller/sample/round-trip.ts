/** A server's round-trip time: the median of the last reads, so that a single late one does not count. Pure. */

/** ms, oldest first. */
export type RoundTrips = readonly number[];

const MOST = 10;
/** Fewer are not enough for a median. */
const ENOUGH = 5;

/** Adds the time of a read; `undefined` if there was no connection, which makes earlier times obsolete. */
export function withRoundTrip(before: RoundTrips, ms: number | undefined): RoundTrips {
  // a spread leaves room for more
  return ms === undefined ? [] : before.slice(1 - MOST).concat(ms);
}

/** ms; `undefined` when too few reads were answered. */
export function medianOf(trips: RoundTrips): number | undefined {
  return trips.length < ENOUGH ? undefined : trips.toSorted((a, b) => a - b)[Math.floor(trips.length / 2)];
}
