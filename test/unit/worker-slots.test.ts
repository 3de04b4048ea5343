/** The slots of a worker while their number changes. */
import { expect, test } from 'vitest';
import type { Lane } from '../../worker/epoch/slots/lane.ts';
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

test('tasks that end together are followed by others once, when all of them have ended', () => {
  const slots = createWorkerSlots(4, () => Promise.resolve(new Set()));
  const free: number[] = [];
  const lane = { rank: 0, fill: () => free.push(slots.free) };
  slots.join(lane as unknown as Lane);
  for (let i = 0; i < 4; i++) slots.occupy();
  slots.release();
  slots.together(() => {
    slots.release();
    slots.release();
    expect(slots.free).toBe(3);
  });
  expect(free).toEqual([1, 3]);
  slots.together(() => undefined);
  expect(() =>
    slots.together(() => {
      slots.release();
      throw new Error('a bug');
    }),
  ).toThrow('a bug');
  expect(free).toEqual([1, 3, 4]);
});
