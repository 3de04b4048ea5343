/** Priorities by name, and which of them a pool serves while its spec changes. */
import { expect, test } from 'vitest';
import {
  hasLetters,
  leftLevels,
  levelsAfter,
  levelsBefore,
  withWantedLevels,
} from '../../controller/connect/levels.ts';
import { partitionConditions } from '../../controller/report/partition-conditions.ts';
import { isLevelName, levelName, parseLevels } from '../../queue/priorities.ts';
import type { ListSample } from '../../queue/pool/pool-sample.ts';
import { known, pool } from '../support/pool-status.ts';

const empty = { waiting: 0, inFlight: 0, delayed: 0, dead: 0, workers: 1, paused: false };
const list = (queue: string, what: Partial<ListSample> = {}): ListSample => ({ ...empty, queue, ...what });

test('a list of priorities on a command line', () => {
  expect(parseLevels('high')).toEqual(['high']);
  expect(parseLevels('low, high')).toEqual(['low', 'high']);
  for (const wrong of ['', 'High', 'normal', 'high,high', 'high,', '1'])
    expect(() => parseLevels(wrong)).toThrow(`high, low or both with a comma, high,low: got "${wrong}"`);
});

test('the list of a priority is told from a partition', () => {
  expect(isLevelName(levelName('tiles', 'low'))).toBe(true);
  expect(isLevelName('tiles:{15}')).toBe(false);
});

test('one that is taken away is served until its list has been empty for a while', () => {
  const both = { queue: 'tiles', priorities: ['high', 'low'] as ('high' | 'low')[] };
  const one = { queue: 'tiles', priorities: ['high'] as 'high'[] };
  let levels = withWantedLevels({ served: [] }, both);
  expect(levels).toEqual({ served: ['high', 'low'] });
  levels = withWantedLevels(levels, one);
  expect(leftLevels(levels, one)).toEqual(['low']);
  const after = (now: number, low: Partial<ListSample>): readonly string[] => {
    levels = levelsAfter(levels, one, [list('tiles'), list('{tiles}:low', low)], now);
    return levels.served;
  };
  // the first sample may have met a task between two keys
  expect(after(0, {})).toEqual(['high', 'low']);
  for (const what of [{ waiting: 1 }, { inFlight: 1 }, { delayed: 1 }])
    expect(after(10_000, what)).toEqual(['high', 'low']);
  expect(after(12_000, { dead: 3 })).toEqual(['high', 'low']);
  expect(after(13_000, { dead: 3 })).toEqual(['high']);
  expect(levels).toEqual({ served: ['high'] });
  // what waits in the lists that stay is no reason
  expect(levelsAfter(levels, one, [list('{tiles}:high', { waiting: 1 })], 0)).toEqual({ served: ['high'] });
  expect(hasLetters(one, 'low', [list('{tiles}:low', { dead: 3 })])).toBe(true);
  expect(hasLetters(one, 'low', [list('{tiles}:low'), list('tiles', { dead: 1 })])).toBe(false);
});

test('another controller goes on with what the status says, whoever wrote that', () => {
  const before = (priorities: string[]): unknown => levelsBefore(pool({}, { priorities }));
  expect(before(['high', 'odd'])).toEqual({ served: ['high'] });
  expect(levelsBefore(pool({}))).toEqual({ served: [] });
});

test('tasks in the list of a priority that no worker takes from are reported after a while', () => {
  const lists = [list('tiles'), list('{tiles}:high', { waiting: 2, workers: 0 })];
  const said = (unservedMs: number | undefined, spec: object): string[] =>
    partitionConditions(
      pool({ queue: 'tiles', priorities: ['high'], ...spec }),
      { numbers: { served: [1], workers: [1] }, unservedMs },
      { ...known, sample: { ...known.sample, lists } },
    ).map(({ type, message }) => `${type}: ${message}`);
  expect(said(undefined, {})).toEqual([]);
  expect(said(29_000, {})).toEqual([]);
  expect(said(30_000, {})).toEqual([
    expect.stringMatching(
      /^PrioritiesUnserved: 2 tasks wait in \{tiles\}:high, .* a version that knows priorities/,
    ),
  ]);
  expect(said(30_000, { template: undefined, scaleTargetRef: { name: 'old' } })).toEqual([
    expect.stringMatching(
      /Set MILLRACE_PRIORITIES=high \(or --priorities\) for the workers of Deployment "old"/,
    ),
  ]);
});
