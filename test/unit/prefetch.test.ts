import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { MovingPace, holdTarget } from '../../worker/epoch/tasks/prefetch.ts';

describe('holdTarget', () => {
  test.each([
    // slots, ms a task, bytes a task, to hold
    [1, undefined, 0, 1],
    [8, undefined, 0, 8],
    [1, 1, 10, 100],
    [4, 1, 10, 400],
    [1, 0.001, 10, 2_000],
    [1, 100, 10, 1],
    [1, 5_000, 10, 1],
    [4, 200, 10, 4],
    [2_000, 1, 10, 2_000],
    [1, 0.1, 1 << 20, 16],
    [4, 0.1, 100 << 20, 4],
  ])('%d slots, %s ms and %d bytes a task: %d', (slots, serviceMs, taskBytes, target) =>
    expect(holdTarget(slots, { serviceMs, taskBytes })).toBe(target),
  );

  test('never fewer than the slots, and a slower task never means more', () => {
    const positive = fc.double({ min: 0.001, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        positive,
        positive,
        fc.nat(),
        (slots, a, b, taskBytes) => {
          const [quick, slow] = [Math.min(a, b), Math.max(a, b)];
          const held = [quick, slow].map((serviceMs) => holdTarget(slots, { serviceMs, taskBytes }));
          expect(Math.min(...held)).toBeGreaterThanOrEqual(slots);
          expect(held[0]).toBeGreaterThanOrEqual(held[1] ?? 0);
        },
      ),
    );
  });
});

describe('MovingPace', () => {
  test('has no estimate before the first task, and adopts that one', () => {
    const pace = new MovingPace();
    expect(pace.serviceMs).toBeUndefined();
    pace.finished(40, 1_000);
    expect(pace.serviceMs).toBe(40);
  });

  test('forgets half within 14 tasks', () => {
    const pace = new MovingPace();
    pace.finished(100, 0);
    for (let i = 0; i < 14; i++) pace.finished(0, 0);
    expect(pace.serviceMs).toBeGreaterThan(47);
    expect(pace.serviceMs).toBeLessThan(51);
  });

  test('a task that still runs gives a lower bound, and nothing else', () => {
    const pace = new MovingPace();
    pace.atLeast(300);
    expect(pace.serviceMs).toBe(300);
    pace.atLeast(200);
    expect(pace.serviceMs).toBe(300);
  });
});
