/** What is kept of objects that pass through a structure: V8 may keep all of them, where an old part of it refers to newer ones. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const AT_A_TIME = 100;
const OBJECTS = 20_000;
const BYTES = 1_024;

interface Structure<T> {
  readonly add: (one: T) => void;
  readonly remove: (one: T) => void;
}

/**
 * Lets objects pass through a structure that has some of them at a time, and collects only young garbage meanwhile. Returns how many of them
 * are kept then beyond those that are in it, by the memory that they take.
 */
export function keptAfterChurn<T>(
  make: (number: number, load: unknown) => T,
  { add, remove }: Structure<T>,
): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (how?: { type: 'minor' }) => void;
  const passing: T[] = [];
  let made = 0;
  const next = (): void => {
    const one = make(
      ++made,
      Array.from({ length: BYTES / 8 }, () => made),
    );
    add(one);
    passing.push(one);
  };
  while (passing.length < AT_A_TIME) next();
  // all of it becomes old
  collect();
  collect();
  const before = process.memoryUsage().heapUsed;
  while (made < OBJECTS) {
    const first = passing.shift();
    if (first) remove(first);
    next();
    if (made % 2_000 === 0) collect({ type: 'minor' });
  }
  collect({ type: 'minor' });
  return Math.max(0, process.memoryUsage().heapUsed - before) / BYTES;
}
