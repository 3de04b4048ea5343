/** Of several parts with one id, the first is added, however far apart they are. */
import { expect, test } from 'vitest';
import { createPartIds } from '../../queue/batches/part-ids.ts';

/** Which of these are added. */
function added(ids: readonly string[]): boolean[] {
  const known = createPartIds('b');
  return ids.map((id, number) => known.add(number, id));
}

test.each([
  [
    ['b:0', 'b:1', 'b:2'],
    [true, true, true],
  ],
  [
    ['x', 'y', 'x', 'b:3', 'x'],
    [true, true, false, true, false],
  ],
  // one that looks like the id of an earlier, of a later, and of its own number
  [
    ['b:0', 'b:0'],
    [true, false],
  ],
  [
    ['b:1', 'b:1'],
    [true, false],
  ],
  [
    ['b:0', 'b:1', 'b:1'],
    [true, true, false],
  ],
  // the number is taken by another spelling, or by nothing
  [
    ['b:0', 'b:00', 'b:-0', 'b: 0', 'b:'],
    [true, true, true, true, true],
  ],
  [
    ['x', 'b:0', 'b:0'],
    [true, true, false],
  ],
  // as Redis gets them, these are one
  [
    ['\ud800', '\ud801'],
    [true, false],
  ],
] as const)('%j', (ids, expected) => {
  expect(added(ids)).toEqual(expected);
});
