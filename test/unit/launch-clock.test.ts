/** The clock of the worker in its image, which stands in for Node's `performance`. */
import { expect, test } from 'vitest';
import { performance as clock } from '../../worker/process/performance.ts';

/** The clocks are read one after the other, and the system's is set now and then by less than this, ms. */
const ROUNDING_MS = 2;

test('it counts from the start of the process', () => {
  const before = process.uptime() * 1_000;
  const now = clock.now();
  expect(now).toBeGreaterThanOrEqual(before - ROUNDING_MS);
  expect(now).toBeLessThanOrEqual(process.uptime() * 1_000 + ROUNDING_MS);
});

test('it knows when that was', () => {
  const before = Date.now();
  const now = clock.timeOrigin + clock.now();
  expect(now).toBeGreaterThanOrEqual(before - ROUNDING_MS);
  expect(now).toBeLessThanOrEqual(Date.now() + ROUNDING_MS);
});

test('it has fractions, and never goes back', () => {
  const times = Array.from({ length: 1_000 }, () => clock.now());
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect(times.some((time) => !Number.isInteger(time))).toBe(true);
});
