/** What the dashboard keeps in memory of each pool. */
import { describe, expect, test } from 'vitest';
import type { Observation } from '../../controller/observe/observation.ts';
import { observation } from '../support/observations.ts';
import { SPAN_MS, STEP_MS } from '../../controller/dashboard/minutes.ts';
import { createSeries, SPARK_MS } from '../../controller/dashboard/series.ts';
import { SPARK_MS as PAGE_SPARK_MS } from '../../dashboard/overview.ts';

const START = 1_700_000_000_000 - (1_700_000_000_000 % 60_000);

const seen = (at: number, more: Partial<Observation> = {}): Observation => observation({ at, ...more });

test('an idle pool costs nothing, however long it is recorded', () => {
  const series = createSeries();
  for (let at = START; at < START + 3_600_000; at += 30_000) series.add(seen(at));
  expect(series.size).toBe(0);
  expect(series.read(START + 3_600_000).columns.desired.at(-1)).toBe(0);
});

test('a busy pool keeps a quarter of an hour, and no more', () => {
  const series = createSeries();
  for (let i = 0; i < 4_000; i++) series.add(seen(START + i * 1_000, { waiting: i, arrived: 1 }));
  expect(series.size).toBeLessThanOrEqual(SPAN_MS / 60_000 + 1);
  const { from, columns } = series.read(START + 3_999_000);
  expect(columns.waiting).toHaveLength(SPAN_MS / STEP_MS + 1);
  expect(from).toBe(START + 3_998_000 - SPAN_MS);
  // the most of the two looks in each step
  expect(columns.waiting.slice(-2)).toEqual([3_997, 3_999]);
});

describe('between observations', () => {
  test('levels stay, and sums and waits are not known', () => {
    const series = createSeries();
    series.add(seen(START, { replicas: 2, waits: [{ waitMs: 40, tasks: 1 }], arrived: 3 }));
    series.add(seen(START + 10_000, { replicas: 5 }));
    const { columns } = series.read(START + 12_000, START);
    expect(columns.replicas).toEqual([2, 2, 2, 2, 2, 5, 5]);
    expect(columns.waitP50).toEqual([40, null, null, null, null, null, null]);
    expect(columns.arrived).toEqual([3, null, null, null, null, 0, null]);
  });

  test('nothing is known from before the first', () => {
    const series = createSeries();
    series.add(seen(START, { desired: 1 }));
    expect(series.read(START, START - 4_000).columns.desired).toEqual([null, null, 1]);
  });

  test('a level outlives the minutes that it came from', () => {
    const series = createSeries();
    series.add(seen(START, { replicas: 7 }));
    series.add(seen(START + 2 * SPAN_MS, { replicas: 7 }));
    expect(series.size).toBe(0);
    expect(new Set(series.read(START + 2 * SPAN_MS).columns.replicas)).toEqual(new Set([7]));
  });
});

test('waits are weighted by their tasks, within a step exactly', () => {
  const series = createSeries();
  series.add(seen(START, { waits: [{ waitMs: 10, tasks: 94 }] }));
  series.add(seen(START + 1_000, { waits: [{ waitMs: 5_000, tasks: 6 }] }));
  const { columns } = series.read(START + 1_000, START);
  expect([columns.waitP50.at(-1), columns.waitP95.at(-1)]).toEqual([10, 5_000]);
});

test('the last minute or two: rates and waits, which fade when nothing happens', () => {
  const series = createSeries();
  for (let i = 0; i < 60; i++)
    series.add(seen(START + i * 1_000, { arrived: 2, completed: 1, waits: [{ waitMs: 200, tasks: 1 }] }));
  const now = series.recent(START + 60_000);
  expect(now.arriving).toBeCloseTo(2, 1);
  expect(now.finishing).toBeCloseTo(1, 1);
  expect(now.p95).toBeGreaterThan(170);
  expect(now.p95).toBeLessThan(230);
  expect(series.recent(START + 180_000)).toEqual({ p50: null, p95: null, arriving: 0, finishing: 0 });
});

test('the sparkline has the most of each quarter of a minute', () => {
  const series = createSeries();
  series.add(seen(START, { waiting: 3 }));
  series.add(seen(START + 4_000, { waiting: 9 }));
  series.add(seen(START + SPARK_MS + 1_000, { waiting: 1 }));
  const { at, values } = series.spark(START + SPARK_MS + 2_000);
  expect(at).toBe(START + SPARK_MS);
  expect(values.slice(-3)).toEqual([0, 9, 1]);
});

test('the page continues a sparkline in the steps in which the controller began it', () => {
  expect(PAGE_SPARK_MS).toBe(SPARK_MS);
});
