/** Hours and days of a pool's timeline as the dashboard shows them. */
import { describe, expect, test } from 'vitest';
import { inSteps, stepsUntil, type Steps } from '../../controller/dashboard/read/buckets.ts';
import { distances, rowsOf, timesAt } from '../../dashboard/ticks.ts';
import { hrefOf, routeOf } from '../../dashboard/route.ts';
import { parseEntry, type TimelineEntry } from '../../queue/pool/timeline.ts';

const STEP = 60_000;
const steps: Steps = { from: 0, stepMs: STEP, count: 5 };
const NOW = 5 * STEP - 1;

/** Ten seconds that end at `at`, ms. */
function entry(at: number, more: Partial<TimelineEntry> = {}): TimelineEntry {
  const nothing = parseEntry(`${at}-0`, '10000');
  if (!nothing) throw new Error('not an entry');
  return { ...nothing, ...more };
}

describe('in steps', () => {
  test('a step has the most there was of each level, and sums of what came and ended', () => {
    const busy = { arrived: 5, completed: 2, failed: 1, replicas: 2 };
    const { columns } = inSteps(
      [
        entry(10_000, { ...busy, waiting: 3, mostWaiting: 40 }),
        entry(20_000, { ...busy, waiting: 9, mostWaiting: 12, replicas: 4, desired: 6 }),
        entry(30_000),
      ],
      steps,
      NOW,
    );
    expect(columns.waiting).toEqual([40, 0, 0, 0, 0]);
    expect(columns.replicas).toEqual([4, 0, 0, 0, 0]);
    expect(columns.desired[0]).toBe(6);
    expect([columns.arrived[0], columns.finished[0]]).toEqual([10, 6]);
    expect(columns.arrived[1]).toBeNull();
  });

  test('an entry across two steps counts in both, its tasks in the one in which it ended', () => {
    const { columns } = inSteps([entry(STEP + 4_000, { inFlight: 3, completed: 7 })], steps, NOW);
    expect(columns.inFlight.slice(0, 2)).toEqual([3, 3]);
    expect(columns.finished).toEqual([null, 7, null, null, null]);
  });

  test('between entries all stays as it was left, also from before the first step', () => {
    const { columns } = inSteps(
      [entry(-3_600_000, { replicas: 2, mostWaiting: 1 }), entry(3 * STEP - 5_000, { replicas: 1 })],
      steps,
      NOW,
    );
    expect(columns.replicas).toEqual([2, 2, 2, 1, 1]);
    expect(columns.waiting).toEqual([1, 1, 1, 0, 0]);
  });

  test('before the first entry nothing is known, and nothing after one that is followed by silence', () => {
    const { columns } = inSteps([entry(STEP + 20_000, { taken: 1, replicas: 3 })], steps, NOW);
    expect(columns.replicas).toEqual([null, 3, null, null, null]);
    expect(inSteps([], steps, NOW).columns.waiting).toEqual([null, null, null, null, null]);
  });

  test('the current state continues until now, and not beyond', () => {
    const now = 3 * STEP + 10;
    const { columns } = inSteps([entry(now - 5_000, { taken: 1, replicas: 3 })], steps, now);
    expect(columns.replicas).toEqual([null, null, 3, 3, null]);
  });

  test('waits: exact for one entry, never too short for several, unknown where none was taken', () => {
    const fast = { taken: 90, waitP50Ms: 10, waitP95Ms: 20, waitMaxMs: 30 };
    const slow = { taken: 10, waitP50Ms: 1_000, waitP95Ms: 2_000, waitMaxMs: 3_000 };
    const { columns } = inSteps(
      [entry(10_000, fast), entry(STEP + 10_000, fast), entry(STEP + 20_000, slow)],
      steps,
      NOW,
    );
    expect(columns.waitP50).toEqual([10, 20, null, null, null]);
    expect(columns.waitP95).toEqual([20, 1_000, null, null, null]);
  });

  test('a busy week is a few hundred steps', () => {
    const week = stepsUntil(1_700_000_000_000, 7 * 86_400_000, 20 * 60_000);
    expect(week.count).toBe(504);
    expect(week.from % week.stepMs).toBe(0);
    const end = week.from + week.count * week.stepMs;
    expect(end > 1_700_000_000_000 && end - week.stepMs <= 1_700_000_000_000).toBe(true);
    const entries = Array.from({ length: 60_480 }, (_, i) => entry(end - i * 10_000, { mostWaiting: i }));
    const { columns } = inSteps(entries.toReversed(), week, end - 1);
    expect(columns.waiting.every((value) => value !== null)).toBe(true);
    expect(columns.waiting[0]).toBe(60_479);
  });
});

describe('times below a chart', () => {
  const midnight = new Date(2024, 4, 7).getTime();
  const every = (from: number, apart: number, count: number): string[] =>
    timesAt(Array.from({ length: count }, (_, i) => from + i * apart));

  test('have seconds only if less than a minute apart', () => {
    expect(every(midnight + 3_600_000, 15_000, 3)).toEqual(['01:00:00', '01:00:15', '01:00:30']);
    expect(every(midnight + 3_600_000, 60_000, 2)).toEqual(['01:00', '01:01']);
  });
  test('have the date at midnight, and if a day or more apart', () => {
    expect(every(midnight - 6 * 3_600_000, 6 * 3_600_000, 3)).toEqual(['18:00', '7 May', '06:00']);
    expect(every(midnight, 86_400_000, 3)).toEqual(['7 May', '8 May', '9 May']);
  });
  test.each([180_000, 600_000, 900_000, 6 * 3_600_000, 24 * 3_600_000, 7 * 24 * 3_600_000])(
    'never read the same twice, over %i ms',
    (spanMs) => {
      // no chart has room for more
      for (const apart of distances(spanMs).filter((one) => spanMs / one < 40)) {
        const first = Math.ceil((midnight + 5 * 3_600_000) / apart) * apart;
        const said = every(first, apart, Math.max(1, Math.floor(spanMs / apart)));
        expect(new Set(said).size).toBe(said.length);
      }
    },
  );
});

test('the range is in the address, and an unknown range is live', () => {
  const place = { page: 'pool', key: 'media/tiles' };
  expect(routeOf(hrefOf('media/tiles', '24h'))).toEqual({ ...place, range: '24h' });
  expect(routeOf(hrefOf('media/tiles'))).toEqual({ ...place, range: undefined });
  expect(routeOf('#/pools/media/tiles?range=1y')).toEqual({ ...place, range: undefined });
});

test('the rows of a table stay as time passes: each minute, and the latest', () => {
  const at = (from: number): number[] =>
    Array.from({ length: 450 }, (_, i) => Date.UTC(2026, 0, 1, 12) + from + i * 2_000);
  const shown = (times: readonly number[]): (number | undefined)[] => rowsOf(times, 15).map((i) => times[i]);
  const [latest, ...before] = shown(at(4_000));
  expect(latest).toBe(at(4_000).at(-1));
  expect(before.map((time) => (time ?? 0) % 60_000)).toEqual(before.map(() => 0));
  expect(before).toHaveLength(15);
  expect(shown(at(6_000)).slice(1)).toEqual(before);
  expect(shown(at(64_000)).slice(2)).toEqual(before.slice(0, -1));
});
test.each([
  ['6 h in minutes', 360, 60_000],
  ['a day in steps of 3 min', 480, 180_000],
  ['a week in steps of 20 min', 504, 1_200_000],
  ['the first moments', 1, 2_000],
])('a table of %s has some fifteen rows', (_, length, stepMs) => {
  const rows = rowsOf(
    Array.from({ length }, (__, i) => i * stepMs),
    15,
  );
  expect(rows.length).toBeLessThanOrEqual(16);
  expect(rows.length).toBeGreaterThanOrEqual(Math.min(length, 12));
  expect(rows[0]).toBe(length - 1);
});
