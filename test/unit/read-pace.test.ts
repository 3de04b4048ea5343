import { expect, test } from 'vitest';
import { initialPace, pauseAfter, safetyMs, sized, spaced, vainIds } from '../../queue/results/read-pace.ts';

const reads = (gapMs: number) => ({ ...initialPace, gapMs });

test.each([
  // gap before, ids looked up, found, waits left, after a notice → gap
  ['few waits: the next notice is followed immediately', 8, 1, 1, 32, true, 0],
  ['many waits and many results: it halves', 8, 64, 16, 33, true, 4],
  ['and ends', 1, 64, 16, 33, true, 0],
  ['many waits and a single result: it grows', 2, 64, 1, 33, true, 4],
  ['up to some ms', 8, 64, 15, 33, true, 10],
  ['a notice of something else: it begins', 0, 64, 0, 1, true, 1],
  ['and grows', 32, 64, 0, 1, true, 50],
  ['nothing found without a notice: it stays', 8, 64, 0, 1, false, 8],
])('the gap between reads: %s', (_, gapMs, asked, found, waits, noticed, expected) => {
  expect(spaced(reads(gapMs), { asked, found, waits, noticed }).gapMs).toBe(expected);
});

test('lookups in vain are paid for by a pause in proportion, and by results found', () => {
  const outcome = { waits: 1, noticed: false };
  expect(pauseAfter(spaced(initialPace, { asked: 400, found: 0, ...outcome }))).toBe(20);
  expect(pauseAfter(spaced(initialPace, { asked: 400, found: 25, ...outcome }))).toBe(10);
  expect(pauseAfter(spaced(initialPace, { asked: 400, found: 50, ...outcome }))).toBe(0);
  expect(pauseAfter(spaced(initialPace, { asked: 9_000, found: 0, ...outcome }))).toBe(50);
  expect(vainIds(reads(10))).toBe(200);
});

test('a command asks for twice as many ids as the last one, as far as their results fit into memory', () => {
  expect(sized(initialPace, 64, 64).mostIds).toBe(128);
  expect(sized({ ...initialPace, mostIds: 900 }, 0, 0).mostIds).toBe(1_000);
  expect(sized({ ...initialPace, mostIds: 900 }, 10, 10 << 20).mostIds).toBe(8);
  expect(sized(initialPace, 1, 64 << 20).mostIds).toBe(1);
});

test('without a notice all ids are read every two seconds, or less often if there are many', () => {
  expect(safetyMs(100)).toBe(2_000);
  expect(safetyMs(100_000)).toBe(50_000);
});
