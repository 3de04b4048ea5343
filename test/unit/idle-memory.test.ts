/** When a worker that has nothing to do gives memory back, and that it does. */
import { cachedDataVersionTag } from 'node:v8';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { collectGarbage, idleCollections } from '../../worker/process/idle-memory.ts';

/** The seconds, of as many as are given, in which it collects. `busy`: tasks run then. `computes`: ms of processor time in a second. */
function collectsAt(
  seconds: number,
  { busy = [], computes = () => 2 }: { busy?: readonly number[]; computes?: (second: number) => number },
): number[] {
  let computedMs = 60;
  const due = idleCollections({ tasks: 0, computedMs });
  return Array.from({ length: seconds }, (_, i) => i + 1).filter((second) => {
    computedMs += computes(second);
    return due({ tasks: busy.includes(second) ? 1 : 0, computedMs }, second * 1_000);
  });
}

test('soon after a start, and every five minutes while nothing happens', () => {
  expect(collectsAt(700, {})).toEqual([2, 302, 602]);
});

test('not while a task runs, or while something else computes', () => {
  expect(collectsAt(7, { busy: [1, 2, 3, 5] })).toEqual([7]);
  expect(collectsAt(7, { computes: (second) => (second <= 5 ? 30 : 2) })).toEqual([7]);
});

test('once in half a minute at most, however often there is a pause between tasks', () => {
  const busy = Array.from({ length: 100 }, (_, i) => 4 * i + 3);
  expect(collectsAt(70, { busy })).toEqual([2, 33, 65]);
});

test('what the collection itself computes is nothing that calls for another one', () => {
  expect(collectsAt(100, { computes: (second) => (second === 3 ? 35 : 2) })).toEqual([2]);
});

test('what nobody holds is collected; flags of V8 and globals are as before', async () => {
  const tag = cachedDataVersionTag();
  const held = new WeakRef({});
  await setImmediate(); // until then a new WeakRef holds its target
  expect(held.deref()).toBeDefined();
  await setImmediate();
  collectGarbage();
  expect(held.deref()).toBeUndefined();
  // Node's own modules and the worker's code were compiled with these flags
  expect(cachedDataVersionTag()).toBe(tag);
  expect(globalThis.gc).toBeUndefined();
});
