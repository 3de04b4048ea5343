import { expect, test } from 'vitest';
import { createRateLimit } from '../../controller/report/rate-limit.ts';

test('a pool alone may write once per interval', () => {
  const limit = createRateLimit(2_000, 50);
  expect(limit.next(10_000, 10_100)).toBe(12_000);
  expect(limit.next(12_000, 12_900)).toBe(14_000);
  // the last write was long ago: immediately
  expect(limit.next(14_000, 60_000)).toBe(60_000);
});

test('a thousand pools write one after the other, and none is forgotten', () => {
  const limit = createRateLimit(2_000, 50);
  const slots = Array.from({ length: 1_000 }, () => limit.next(0, 3_000));
  expect(slots[0]).toBe(3_000);
  expect(slots.at(-1)).toBe(3_000 + 999 * 50);
  expect(new Set(slots).size).toBe(1_000);
  // after all have written, there is no more waiting
  expect(limit.next(3_000, 60_000)).toBe(60_000);
});
