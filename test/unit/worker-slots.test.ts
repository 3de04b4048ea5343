/** The slots of a worker while their number changes. */
import { expect, test } from 'vitest';
import { createWorkerSlots } from '../../worker/epoch/slots/slots.ts';

test('fewer slots: what runs keeps its own, and none is free until enough tasks have ended', () => {
  const slots = createWorkerSlots(4, () => Promise.resolve(new Set()));
  for (let i = 0; i < 4; i++) slots.occupy();
  slots.resize(2);
  expect([slots.total, slots.usable, slots.busy, slots.free]).toEqual([2, 2, 4, -2]);
  slots.release();
  slots.release();
  expect(slots.free).toBe(0);
  slots.release();
  expect(slots.free).toBe(1);
  slots.resize(5);
  expect([slots.total, slots.busy, slots.free]).toEqual([5, 1, 4]);
});
