import { expect, test } from 'vitest';
import { createRateLimit } from '../../controller/report/rate-limit.ts';

test('alone, a pool has a turn as often as one may', () => {
  const turns = createRateLimit(2_000, 50);
  expect(turns.next(10_000, 10_100)).toBe(12_000);
  expect(turns.next(12_000, 12_900)).toBe(14_000);
  // long ago: at once
  expect(turns.next(14_000, 60_000)).toBe(60_000);
});

test('a thousand pools have their turns one after the other, and none is forgotten', () => {
  const turns = createRateLimit(2_000, 50);
  const got = Array.from({ length: 1_000 }, () => turns.next(0, 3_000));
  expect(got[0]).toBe(3_000);
  expect(got.at(-1)).toBe(3_000 + 999 * 50);
  expect(new Set(got).size).toBe(1_000);
  // when all have had theirs, waiting is over
  expect(turns.next(3_000, 60_000)).toBe(60_000);
});
