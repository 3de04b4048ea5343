/** When a worker that has nothing to do gives memory back, and that it does. */
import { cachedDataVersionTag } from 'node:v8';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { collect, idleCollections } from '../../worker/process/idle-memory.ts';

/** What it collects, and in which second of as many as are given. `busy`: tasks run then. `computes`: ms of processor time in a second. */
function collections(
  seconds: number,
  { busy = [], computes = () => 2 }: { busy?: readonly number[]; computes?: (second: number) => number },
): string[] {
  let computedMs = 60;
  const due = idleCollections({ tasks: 0, computedMs });
  return Array.from({ length: seconds }, (_, i) => i + 1).flatMap((second) => {
    computedMs += computes(second);
    return (
      due({ tasks: busy.includes(second) ? 1 : 0, computedMs }, second * 1_000)?.concat(` ${second}`) ?? []
    );
  });
}

test('twice after a start, then with code that has not run any more, and every five minutes while nothing happens', () => {
  expect(collections(700, {})).toEqual(['garbage 1', 'garbage-and-code 3', 'garbage 303', 'garbage 603']);
});

test('not while a task runs, or while something else computes', () => {
  expect(collections(40, { busy: [1, 2, 3] })).toEqual(['garbage 4']);
  const computes = (second: number): number => (second <= 5 ? 30 : 2);
  expect(collections(9, { computes })).toEqual(['garbage 6', 'garbage-and-code 8']);
});

test('once in half a minute at most, however often there is a pause between tasks, and with the code of tasks never', () => {
  const busy = Array.from({ length: 100 }, (_, i) => 5 * i + 2);
  expect(collections(71, { busy })).toEqual(['garbage 1', 'garbage 31', 'garbage 61']);
});

test('the code of tasks that end immediately is kept as well', () => {
  const computes = (second: number): number => (second === 3 ? 400 : 2);
  expect(collections(70, { computes })).toEqual(['garbage 1', 'garbage 31']);
});

test('what a collection computes is nothing that calls for another one', () => {
  const computes = (second: number): number => (second === 2 || second === 4 ? 35 : 2);
  expect(collections(100, { computes })).toEqual(['garbage 1', 'garbage-and-code 3']);
});

test('what nobody holds is collected; flags of V8 and globals are as before', async () => {
  const tag = cachedDataVersionTag();
  const held = new WeakRef({});
  await setImmediate(); // until then a new WeakRef holds its target
  expect(held.deref()).toBeDefined();
  await setImmediate();
  collect('garbage-and-code');
  expect(held.deref()).toBeUndefined();
  // Node's own modules and the worker's code were compiled with these flags
  expect(cachedDataVersionTag()).toBe(tag);
  expect(globalThis.gc).toBeUndefined();
});
