/** Pools at which a controller ended: when they are left out, for how long, and when that is forgotten. */
import { expect, test } from 'vitest';
import {
  leftOutFor,
  merged,
  packMarks,
  parseMarks,
  withEnd,
  type Marks,
} from '../../controller/process/crash-backoff.ts';

const NOW = 1_764_000_000_000;
const MINUTE = 60_000;
const none = parseMarks(undefined);

/** Ends at these minutes, each at these pools. */
function after(...ends: readonly (readonly [minute: number, ...pools: string[]])[]): Marks {
  return ends.reduce((marks, [minute, ...pools]) => withEnd(marks, pools, NOW + minute * MINUTE), none);
}
const minutesOut = (marks: Marks, pool: string, minute: number): number =>
  leftOutFor(marks, pool, NOW + minute * MINUTE) / MINUTE;

test.each<[what: string, marks: Marks, pool: string, atMinute: number, minutesLeft: number]>([
  ['once is chance', after([0, 'a']), 'a', 0, 0],
  ['twice is not', after([0, 'a'], [1, 'a']), 'a', 1, 5],
  ['each further time, twice as long', after([0, 'a'], [1, 'a'], [7, 'a']), 'a', 7, 10],
  [
    'and no longer than six hours',
    after(...Array.from({ length: 20 }, () => [0, 'a'] as const)),
    'a',
    0,
    360,
  ],
  ['then it is back', after([0, 'a'], [1, 'a']), 'a', 6, 0],
  ['all others go on', after([0, 'a'], [1, 'a']), 'b', 1, 0],
  ['two ends at two pools', after([0, 'a'], [1, 'b']), 'b', 1, 0],
  ['after an hour, the first is forgotten', after([0, 'a'], [61, 'a']), 'a', 61, 0],
  ['of several, the first is back first', after([0, 'a', 'b'], [1, 'a', 'b']), 'a', 1, 5],
  ['and the second after it', after([0, 'a', 'b'], [1, 'a', 'b']), 'b', 1, 5.5],
])('%s', (_, marks, pool, minute, left) => expect(minutesOut(marks, pool, minute)).toBe(left));

test('goes through an annotation as it was', () => {
  const marks = after([0, 'ns/a', 'ns/b'], [1, 'ns/a']);
  expect(parseMarks(packMarks(marks))).toEqual(marks);
});

test.each([
  '',
  '{',
  'null',
  '[]',
  '7',
  '{"a":1}',
  '{"a":[1,2]}',
  '{"a":["1",2,3]}',
  '{"a":[0,1,1]}',
  '{"a":[1e999,1,1]}',
])('is nothing: %s', (text) => expect(parseMarks(text).size).toBe(0));

test('of two records, the longer one; and never more than an annotation can hold', () => {
  const [one, two] = [after([0, 'a']), after([0, 'a'], [1, 'a'], [1, 'b'])];
  expect(merged(one, two, NOW + MINUTE)).toEqual(merged(two, one, NOW + MINUTE));
  expect(minutesOut(merged(one, two, NOW + MINUTE), 'a', 1)).toBe(5);
  const many = withEnd(
    none,
    Array.from({ length: 500 }, (_, i) => `namespace-${i}/pool-${i}`),
    NOW,
  );
  expect(many.size).toBe(64);
  expect(packMarks(many).length).toBeLessThan(64 * 1_024);
});

test('a clock that was set back leaves nothing out for longer than ever', () => {
  const marks = after([0, 'a'], [1, 'a']);
  expect(leftOutFor(marks, 'a', 0)).toBeLessThanOrEqual(6 * 60 * MINUTE + 64 * 30_000);
});
