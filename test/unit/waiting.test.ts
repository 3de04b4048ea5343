/** Whose turn it is among many that wait. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { createWaitSet } from '../../queue/results/waiting.ts';

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

function waitingFor(count: number): ReturnType<typeof createWaitSet<number>> {
  const waits = createWaitSet<number>();
  for (const one of numbers(count)) waits.add(one);
  return waits;
}

/** Asks until nobody is left who was not asked. */
function askAll(waits: ReturnType<typeof createWaitSet<number>>, most: number): number[][] {
  const portions: number[][] = [];
  while (waits.unasked) {
    portions.push(waits.next(most));
    if (portions.length > 100_000) throw new Error('it does not end');
  }
  return portions;
}

describe('portions', () => {
  test.each([1, 7, 32, 33, 1_000, 25_000])(
    '%d waits: each is asked about, and no portion is too long',
    (count) => {
      const waits = waitingFor(count);
      const portions = askAll(waits, 1_000);
      expect(new Set(portions.flat())).toEqual(new Set(numbers(count)));
      for (const portion of portions) {
        expect(portion.length).toBeLessThanOrEqual(1_000);
        expect(new Set(portion).size).toBe(portion.length);
      }
    },
  );

  test('after a change all are asked about once more, in as many portions as it takes', () => {
    const waits = waitingFor(10_000);
    askAll(waits, 1_000);
    expect(waits.unasked).toBe(false);
    waits.changed();
    const portions = askAll(waits, 1_000);
    expect(new Set(portions.flat()).size).toBe(10_000);
    // 32 that wait longest in each, and 64 of the others
    expect(portions.length).toBeLessThan(10_000 / 64 + 2);
  });

  test('with room for others they take fewer', () => {
    const waits = waitingFor(10_000);
    askAll(waits, 1_000);
    waits.changed();
    const before = waits.next(1_000, 900);
    expect(before).toHaveLength(932);
  });

  test('one that came last is asked about with the next portion', () => {
    const waits = waitingFor(10_000);
    askAll(waits, 1_000);
    waits.changed();
    waits.add(99_999);
    expect(waits.next(1_000)).toContain(99_999);
  });

  test('the ids that wait longest are in each portion; those that left are in none', () => {
    const waits = waitingFor(10_000);
    for (const gone of numbers(5_000)) expect(waits.delete(gone)).toBe(true);
    expect(waits.delete(0)).toBe(false);
    const portions = askAll(waits, 100);
    for (const portion of portions) expect(portion[0]).toBe(5_000);
    expect(Math.min(...portions.flat())).toBe(5_000);
    expect(waits.size).toBe(5_000);
  });
});

describe('how many of those who wait longest', () => {
  const lengthOfFront = (waits: ReturnType<typeof createWaitSet<number>>): number => {
    const portion = waits.next(1_000);
    return portion.findIndex((one, place) => one !== place);
  };

  test('as many as results are found among', () => {
    const waits = waitingFor(100_000);
    askAll(waits, 1_000);
    waits.changed();
    for (let i = 0; i < 3; i++) {
      waits.next(1_000);
      waits.found([3, 30 + 20 * i]);
    }
    waits.next(1_000);
    waits.found([100]);
    waits.changed();
    expect(waits.next(1_000).slice(0, 150)).toEqual(numbers(150));
    waits.found([2]);
    waits.next(1_000);
    waits.found([]);
    expect(lengthOfFront(waits)).toBeLessThan(100);
  });

  test('where results come in no order, no more than half of a portion', () => {
    const waits = waitingFor(100_000);
    for (let i = 0; i < 20; i++) {
      waits.changed();
      const portion = waits.next(1_000);
      waits.found([portion.length - 1]);
    }
    expect(waits.next(1_000).slice(0, 512)).toEqual(numbers(512));
    expect(waits.next(1_000).slice(512, 1_000)).not.toEqual(numbers(1_000).slice(512));
  });
});

test('waits that have ended are let go, while others come for ever', async () => {
  const set = createWaitSet<object>();
  const waits: object[] = [];
  const past: WeakRef<object>[] = [];
  for (let round = 0; round < 5_000; round++) {
    while (waits.length < 20) {
      const wait = {};
      set.add(wait);
      waits.push(wait);
      past.push(new WeakRef(wait));
    }
    set.changed();
    set.next(200);
    set.found([0]);
    for (const wait of waits.splice(0, 10)) set.delete(wait);
  }
  // what a WeakRef was made for lives until the end of the task that made it
  await new Promise((resolve) => setImmediate(resolve));
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  expect(past.filter((wait) => wait.deref() !== undefined).length).toBeLessThan(1_000);
  expect(set.size).toBe(waits.length);
});
