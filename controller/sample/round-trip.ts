/** How long a server takes to answer, from the last looks at it: a median, so that one that was late says nothing. Pure. */

/** ms, oldest first. */
export type RoundTrips = readonly number[];

const LOOKS = 10;
/** From fewer looks nothing follows. */
const ENOUGH = 5;

/** After a look; `undefined`: it never came to an answer, as there was no connection, and what was known before is past. */
export function withRoundTrip(before: RoundTrips, ms: number | undefined): RoundTrips {
  return ms === undefined ? [] : [...before.slice(1 - LOOKS), ms];
}

/** ms; `undefined` when too few looks were answered. */
export function medianOf(trips: RoundTrips): number | undefined {
  return trips.length < ENOUGH ? undefined : trips.toSorted((a, b) => a - b)[Math.floor(trips.length / 2)];
}
