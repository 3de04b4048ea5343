/** Which replicas are kept though nothing needs them. A start is worth 20 s of idling. */
import { describe, expect, test } from 'vitest';
import {
  neverIdle,
  patience,
  withNeed,
  worthKeeping,
  type Idle,
} from '../../controller/decide/target-wait/keep-warm.ts';
import { createRandom } from '../../simulate/random.ts';

const WORTH = 20_000;

/** Need goes up to `high` for 2 s, then to `low` for a gap; looks come once a second. */
function lived(gaps: readonly number[], high = 1, low = 0): { idle: Idle; now: number } {
  let idle = neverIdle;
  let now = 0;
  const look = (replicas: number): void => {
    idle = withNeed(idle, replicas, now, now - 1_000);
    now += 1_000;
  };
  for (const gap of gaps) {
    look(high);
    look(high);
    for (let s = 1; s < gap; s++) look(low);
  }
  look(high);
  return { idle, now };
}

test('without experience, a replica is kept for less than a start is worth', () => {
  const ms = patience(neverIdle, 1, WORTH);
  expect(ms).toBeGreaterThan(1_000);
  expect(ms).toBeLessThanOrEqual(WORTH);
});

test('gaps that are always short are sat out', () => {
  const { idle } = lived(Array.from({ length: 50 }, () => 10));
  expect(patience(idle, 1, WORTH)).toBeGreaterThanOrEqual(10_000);
});

test('gaps that are always long are not worth a second', () => {
  const { idle } = lived(Array.from({ length: 50 }, () => 300));
  expect(patience(idle, 1, WORTH)).toBeLessThanOrEqual(2_000);
});

test('short or very long: as long as the short ones', () => {
  const { idle } = lived(Array.from({ length: 100 }, (_, i) => (i % 3 === 0 ? 900 : 8)));
  expect(patience(idle, 1, WORTH)).toBeGreaterThanOrEqual(8_000);
  expect(patience(idle, 1, WORTH)).toBeLessThan(30_000);
});

test('what a start is worth decides where the gaps are alike', () => {
  const { idle } = lived(Array.from({ length: 50 }, () => 30));
  expect(patience(idle, 1, 5_000)).toBeLessThan(2_000);
  expect(patience(idle, 1, 100_000)).toBeGreaterThanOrEqual(30_000);
});

test('each number of replicas has gaps of its own', () => {
  const { idle } = lived(
    Array.from({ length: 50 }, () => 300),
    8,
    2,
  );
  expect(patience(idle, 8, WORTH)).toBeLessThanOrEqual(2_000);
  // the first two are always needed, and have no gaps
  expect(patience(idle, 2, WORTH)).toBe(patience(neverIdle, 2, WORTH));
});

test('a new habit replaces an old one', () => {
  const { idle } = lived([
    ...Array.from({ length: 200 }, () => 300),
    ...Array.from({ length: 200 }, () => 10),
  ]);
  expect(patience(idle, 1, WORTH)).toBeGreaterThanOrEqual(10_000);
});

describe('the highest number that is worth keeping', () => {
  const needs = [
    { at: 0, replicas: 10 },
    { at: 5_000, replicas: 4 },
    { at: 9_000, replicas: 1 },
  ];
  test.each([
    [0, 10],
    [9_999, 10],
    [10_000, 4],
    [14_999, 4],
    [15_000, 1],
    [19_000, 0],
  ])('with a window of 10 s: at %d ms %d', (now, replicas) =>
    expect(worthKeeping({ needs, gaps: [] }, now, WORTH, 10_000)).toBe(replicas),
  );
});

test('its memory is bounded, and good for JSON', () => {
  const random = createRandom(1);
  let idle = neverIdle;
  for (let i = 0; i < 20_000; i++)
    idle = withNeed(idle, Math.floor(random.pareto(50, 1.2)), i * 1_000, (i - 1) * 1_000);
  expect(idle.needs.length).toBeLessThanOrEqual(64);
  expect(JSON.stringify(idle).length).toBeLessThan(30_000);
  expect(JSON.parse(JSON.stringify(idle))).toEqual(idle);
});
