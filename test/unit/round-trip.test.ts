import { expect, test } from 'vitest';
import { medianOf, withRoundTrip, type RoundTrips } from '../../controller/sample/round-trip.ts';

/** Looks in order, ms; -1: there was no connection. */
test.each<[number[], number | undefined]>([
  [[], undefined],
  [[900, 900, 900, 900], undefined],
  [[900, 900, 900, 900, 900], 900],
  [[2, 3, 2, 3_000, 2], 2],
  [[...Array<number>(20).fill(2), 800, 800, 800, 800], 2],
  [[...Array<number>(20).fill(2), 800, 800, 800, 800, 800], 800],
  [[...Array<number>(20).fill(800), 1, 1, 1, 1, 1, 1], 1],
  [[800, 800, 800, 800, 800, -1], undefined],
  [[800, 800, 800, 800, 800, -1, 2, 2, 2, 2, 2], 2],
])('after looks of %j ms: %j', (looks, expected) => {
  let trips: RoundTrips = [];
  for (const ms of looks) {
    trips = withRoundTrip(trips, ms < 0 ? undefined : ms);
    expect(trips.length).toBeLessThanOrEqual(10);
  }
  expect(medianOf(trips)).toBe(expected);
});
