/** The page's model: order, sparklines, series, texts. */
import { describe, expect, test } from 'vitest';
import type { Overview, PoolPage, PoolRow } from '../../controller/dashboard/api.ts';
import { COLUMNS } from '../../controller/dashboard/minutes.ts';
import { ago, formatCount, formatMs, rate } from '../../dashboard/format.ts';
import { arrange, counts } from '../../dashboard/order.ts';
import { applyOverview, SPARK_MS, sparkAt } from '../../dashboard/overview.ts';
import { applyPool, until } from '../../dashboard/pool-state.ts';
import { poolRow } from '../support/pool-row.ts';

const keys = (rows: readonly PoolRow[]): string[] => rows.map(({ key }) => key);

describe('the order of the list', () => {
  const pools = [
    poolRow('b/mail', { waiting: 5, state: 'working' }),
    poolRow('a/tiles', { waiting: 50, state: 'trouble', queue: 'tiles_queue' }),
    poolRow('a/mail', { waiting: 5, state: 'paused' }),
  ];
  test('by name, then by namespace', () => {
    expect(keys(arrange(pools, '', 'all', { by: 'name', down: false }))).toEqual([
      'a/mail',
      'b/mail',
      'a/tiles',
    ]);
  });
  test('by a number, the largest first', () => {
    expect(keys(arrange(pools, '', 'all', { by: 'waiting', down: true }))[0]).toBe('a/tiles');
  });
  test('trouble first', () => {
    expect(keys(arrange(pools, '', 'all', { by: 'state', down: true }))[0]).toBe('a/tiles');
  });
  test('every word of a search must fit', () => {
    expect(keys(arrange(pools, 'A mai', 'all', { by: 'name', down: false }))).toEqual(['a/mail', 'b/mail']);
    expect(keys(arrange(pools, 'a/ mail', 'all', { by: 'name', down: false }))).toEqual(['a/mail']);
    expect(keys(arrange(pools, 'tiles_queue', 'all', { by: 'name', down: false }))).toEqual(['a/tiles']);
  });
  test('filters, and how many each has', () => {
    expect(keys(arrange(pools, '', 'paused', { by: 'name', down: false }))).toEqual(['a/mail']);
    expect(counts(pools)).toEqual({ all: 3, trouble: 1, working: 1, paused: 1, idle: 0 });
  });
});

describe('changes of the list', () => {
  const about = { version: '1', actions: 'none', showTasks: false, host: 'dev' } as const;
  const whole: Overview = { seq: 'x-0', now: 0, about, pools: [poolRow('a/b'), poolRow('a/c')] };
  test('fields that came are the new ones, pools come and go', () => {
    const changed = [{ key: 'a/b', waiting: 4 }, poolRow('a/d')];
    const after = applyOverview(whole, { now: SPARK_MS, changed, gone: ['a/c'] });
    expect(keys(after.pools)).toEqual(['a/b', 'a/d']);
    expect(after.pools[0]).toMatchObject({ waiting: 4, ready: 0 });
  });
  test('a sparkline continues with time: a queue keeps its last length', () => {
    const one = applyOverview(whole, { now: 10 * SPARK_MS, changed: [{ key: 'a/b', waiting: 4 }], gone: [] });
    const [pool] = one.pools;
    if (!pool) throw new Error('the pool is gone');
    expect(sparkAt(pool, 12 * SPARK_MS).slice(-4)).toEqual([0, 4, 4, 4]);
  });
});

describe('changes of a pool', () => {
  const column = [1, null];
  const columns = Object.fromEntries(
    COLUMNS.map((name) => [name, column]),
  ) as unknown as PoolPage['series']['columns'];
  const series = { from: 100_000, stepMs: 2_000, columns };
  test('points are put where they belong, also where one was before', () => {
    const page = { series } as PoolPage;
    const points = [
      [102_000, [7, 7, 7, 7, 7, null, null, 1, 1]],
      [106_000, [8, 8, 8, 8, 8, 20, 30, 1, 1]],
    ] as const;
    const after = applyPool(page, { now: 107_000, points }).series;
    expect(after.columns.waiting.slice(0, 2)).toEqual([1, 7]);
    expect(after.columns.waiting.at(-1)).toBe(8);
    expect(after.columns.waitP95).toHaveLength(4);
  });
  test('without updates, levels continue and waits do not', () => {
    const after = until({ ...series, columns: { ...columns, waiting: [1, 5] } }, 107_000);
    expect(after.columns.waiting).toEqual([1, 5, 5, 5]);
    expect(after.columns.waitP50).toEqual([1, null, null, null]);
  });
});

test.each([
  [formatMs(0), '0 ms'],
  [formatMs(999.6), '1 s'],
  [formatMs(3_000), '3 s'],
  [formatMs(1_234), '1.2 s'],
  [formatMs(61_000), '61 s'],
  [formatMs(600_000), '10 min'],
  [formatMs(9_000_000), '2.5 h'],
  [formatCount(12_345), '12,345'],
  [formatCount(1_234_567), '1.23M'],
  [rate(0), '0/s'],
  [rate(0.01), '0.60/min'],
  [rate(123.4), '123/s'],
  [ago(1_000, 2_000), 'just now'],
  [ago(0, 61_999), '61 s ago'],
])('%s', (words, expected) => expect(words).toBe(expected));
