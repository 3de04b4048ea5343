/** The curve of arrivals, and what follows from it. */
import { describe, expect, test } from 'vitest';
import {
  cohorts,
  demandAt,
  lazyDemand,
  progressOf,
  rateOf,
  waitsOf,
  withPoint,
  type Curve,
} from '../../controller/decide/target-wait/arrivals.ts';

/** From rows of [s, arrived, taken]; a task runs for 2 s of slot time, and each that was taken is done. */
const curveOf = (rows: readonly (readonly [number, number, number])[], horizonMs = 60_000): Curve =>
  rows.reduce<Curve>(
    (curve, [s, arrived, taken]) =>
      withPoint(curve, { at: s * 1_000, arrived, taken, done: taken, runMs: taken * 2_000 }, horizonMs),
    [],
  );

test('waiting tasks are as old as the samples between which they arrived', () => {
  const curve = curveOf([
    [0, 0, 0],
    [1, 10, 0],
    [2, 10, 4],
    [3, 14, 6],
  ]);
  expect(cohorts(curve, 8, 3_000)).toEqual([
    // numbers 7 to 10 came in the first second; evenly spread, the oldest of them a fifth into it
    { before: 0, until: 4, oldest: 2_800, youngest: 2_000 },
    { before: 4, until: 8, oldest: 800, youngest: 0 },
  ]);
  expect(cohorts(curve, 0, 3_000)).toEqual([]);
});

test('tasks that waited before the first sample count as having arrived then', () => {
  expect(cohorts(curveOf([[5, 100, 20]]), 80, 6_000)).toEqual([
    { before: 0, until: 80, oldest: 1_000, youngest: 1_000 },
  ]);
});

test('the waits of taken tasks', () => {
  const curve = curveOf([
    [0, 0, 0],
    [1, 10, 0],
    [9, 20, 0],
    [10, 20, 15],
  ]);
  const [first, second, ...more] = waitsOf(curve);
  // the first ten came about 0.5 s, and left about a third into the last second; the others came about 5 s
  expect(first).toMatchObject({ tasks: 10 });
  expect(first?.waitMs).toBeCloseTo(9_333 - 500, -1);
  expect(second).toMatchObject({ tasks: 5 });
  expect(second?.waitMs).toBeCloseTo(9_833 - 5_000, -1);
  expect(more).toEqual([]);
});

test('counters that went back begin a new curve', () => {
  const curve = curveOf([
    [0, 10, 5],
    [1, 20, 15],
    [2, 3, 1],
  ]);
  expect(curve).toHaveLength(1);
});

test('it keeps what a waiting task needs, drops the rest, and never grows beyond its bound', () => {
  const rows = Array.from({ length: 10_000 }, (_, s) => [s, 2 * s, s] as const);
  const curve = curveOf(rows);
  expect(curve.length).toBeLessThanOrEqual(64);
  // half of all tasks wait: the oldest came 5,000 s ago, and that is still roughly known
  const [oldest] = cohorts(curve, 9_999, 9_999_000);
  expect(oldest?.oldest).toBeGreaterThan(4_900_000);
  const quiet = curveOf([
    [0, 10, 10],
    [100, 10, 10],
    [200, 12, 10],
  ]);
  expect(quiet.map(({ at }) => at)).toEqual([100_000, 200_000]);
});

describe('the fewest slots that would have been in time', () => {
  test('a burst must be begun within the wait', () => {
    const curve = curveOf([
      [0, 0, 0],
      [1, 30, 0],
    ]);
    // 30 tasks of 2 s, that came within 1 s and have 9 s left: 60 s of work in 10 s
    expect(demandAt(curve, 1, 2_000, 9_000)).toBe(6);
  });
  test('a steady flow needs its work, for any wait', () => {
    const rows = Array.from({ length: 64 }, (_, s) => [s, 3 * s, 3 * s] as const);
    expect(lazyDemand(curveOf(rows, 1e9), 63_000, 2_000, 1_000)).toBeCloseTo(6, 0);
  });
  test('arrivals longer ago than the wait have been served', () => {
    const curve = curveOf([
      [0, 0, 0],
      [1, 30, 0],
      [5, 30, 30],
      [20, 30, 30],
    ]);
    expect(lazyDemand(curve, 5_000, 2_000, 9_000)).toBe(6);
    expect(lazyDemand(curve, 20_000, 2_000, 9_000)).toBeLessThan(3);
  });
});

test('rate and progress, over a stretch of time', () => {
  const curve = curveOf([
    [0, 0, 0],
    [5, 50, 10],
    [10, 60, 40],
  ]);
  expect(rateOf(curve, 10_000, 5_000)).toBe(10 / 5_000);
  expect(rateOf(curve, 10_000, 20_000)).toBe(60 / 20_000);
  expect(progressOf(curve, 5_000, 20)).toEqual({ tasks: 30, runMs: 60_000 });
  expect(progressOf(curve, 5_000, 35)).toEqual({ tasks: 40, runMs: 80_000 });
  expect(progressOf([], 5_000, 20)).toEqual({ tasks: 0, runMs: 0 });
});
