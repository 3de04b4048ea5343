/** How fast the parts of a batch end, from what was seen of it. */
import { expect, test } from 'vitest';
import { createPaces } from '../../queue/batches/pace.ts';
import type { BatchView } from '../../queue/batches/record.ts';

const MINUTE = 60_000;
const batch = (succeeded: number, more: Partial<BatchView> = {}): BatchView => ({
  id: 'b',
  state: 'running',
  size: 1_000,
  succeeded,
  failed: 0,
  cancelled: 0,
  waiting: 0,
  inner: 0,
  left: 1_000 - succeeded,
  onFailure: 'wait',
  then: undefined,
  partitions: undefined,
  why: undefined,
  createdAt: 0,
  activeAt: 0,
  endedAt: undefined,
  ...more,
});

test('at the first look, the mean since it began; once it was seen for a while, that of late', () => {
  const paces = createPaces();
  paces.seen(100_000, [batch(200, { activeAt: 100_000 })]);
  expect(paces.of('b')).toBe(2);
  for (let i = 1; i <= 10; i++) paces.seen(100_000 + 2_000 * i, [batch(200 + 20 * i, { activeAt: 120_000 })]);
  expect(paces.of('b')).toBe(10);
});

test('failed and cancelled parts have ended, too', () => {
  const paces = createPaces();
  paces.seen(10_000, [batch(10, { failed: 5, cancelled: 5, activeAt: 10_000 })]);
  expect(paces.of('b')).toBe(2);
});

test('one in which nothing ends any more has no pace, and has one again', () => {
  const paces = createPaces();
  for (let at = 0; at <= 5 * MINUTE; at += 2_000) paces.seen(at, [batch(100, { activeAt: 1_000 })]);
  expect(paces.of('b')).toBeUndefined();
  paces.seen(5 * MINUTE + 1_000, [batch(281, { activeAt: 5 * MINUTE })]);
  expect(paces.of('b')).toBeCloseTo(1, 1);
});

test('what left the list is forgotten, and a clock that was set back begins anew', () => {
  const paces = createPaces();
  paces.seen(100_000, [batch(100)]);
  paces.seen(101_000, []);
  expect(paces.of('b')).toBeUndefined();
  for (let at = 100_000; at <= 120_000; at += 2_000) paces.seen(at, [batch(at / 1_000, { activeAt: at })]);
  paces.seen(50_000, [batch(130, { activeAt: 120_000 })]);
  expect(paces.of('b')).toBe(2.6);
});
