/** The deadline rule, against sums done by hand. Tasks take 1 s each, exactly; the target is 10 s. */
import { describe, expect, test } from 'vitest';
import { slotsFor, type Load, type Times } from '../../controller/decide/target-wait/deadline.ts';

const times: Times = {
  waitMs: 10_000,
  serviceMs: 1_000,
  deviationMs: 0,
  restMs: 500,
  laterRestMs: 500,
  startMs: 4_500,
  known: Infinity,
  caution: 1,
};
const none: Load = { cohorts: [], coming: 0, dueSoon: 0, inFlight: 0, ready: 0, starting: [] };
const burst = (tasks: number, age = 0): Load['cohorts'] => [
  { before: 0, until: tasks, oldest: age, youngest: age },
];
const more = (load: Partial<Load>, change: Partial<Times> = {}): number =>
  slotsFor({ ...none, ...load }, { ...times, ...change }).more;

test('nothing to do needs nothing', () => expect(slotsFor(none, times)).toEqual({ enough: 0, more: 0 }));

test('a burst: all tasks before the last one must fit between start and deadline', () => {
  // 60 s of work before the last of 61, and half a second that slots may still run, in 5.5 + 0.5 s
  expect(more({ cohorts: burst(61) })).toBeCloseTo(60.5 / 6);
});

test('the older the tasks, the more slots', () => {
  expect(more({ cohorts: burst(61, 2_000) })).toBeCloseTo(60.5 / 4);
});

test('slots that are up serve all the time until the deadline', () => {
  expect(more({ cohorts: burst(61), ready: 6 })).toBe(0);
  expect(more({ cohorts: burst(61), ready: 4 })).toBeCloseTo((60.5 - 4 * 10.5) / 6);
});

test('the deviation of work is that of a sum of tasks, and larger if the mean is of few tasks', () => {
  // 64 tasks ahead of the last: 8 deviations, and as many again in squares where the mean is that of 64
  const burstOf = { cohorts: burst(65) };
  expect(more(burstOf, { deviationMs: 500 })).toBeCloseTo((64.5 + 8 * 0.5) / 6);
  expect(more(burstOf, { deviationMs: 500, known: 64 })).toBeCloseTo((64.5 + Math.sqrt(128) * 0.5) / 6);
});

test('slots are given up with twice the caution with which they are asked for', () => {
  const up = { ...none, cohorts: burst(65), ready: 20 };
  expect(slotsFor(up, { ...times, deviationMs: 500 }).enough).toBeCloseTo((64.5 + 2 * 8 * 0.5) / 10.5);
});

test('where others are to be started soon anyway, they are given up with more, while tasks wait', () => {
  const up = { ...none, cohorts: burst(65), ready: 20 };
  const careful = { ...times, deviationMs: 500, releaseCaution: 4 };
  expect(slotsFor(up, careful).enough).toBeCloseTo((64.5 + 4 * 8 * 0.5) / 10.5);
  const coming = { ...none, coming: 64, inFlight: 1, ready: 20 };
  expect(slotsFor(coming, careful)).toEqual(slotsFor(coming, { ...times, deviationMs: 500 }));
});

test('how many of the replicas that are up would be enough', () => {
  expect(slotsFor({ ...none, cohorts: burst(61), ready: 20 }, times).enough).toBeCloseTo(60.5 / 10.5);
});

test('slots that start count from when they are up', () => {
  const starting = [{ slots: 5, inMs: 2_500 }];
  expect(more({ cohorts: burst(61), starting })).toBeCloseTo((60.5 - 5 * 8) / 6);
  expect(more({ cohorts: burst(61), starting: [{ slots: 8, inMs: 2_500 }] })).toBe(0);
});

test('tasks in flight come first, with half of their time', () => {
  expect(more({ cohorts: burst(61), inFlight: 4, ready: 4 })).toBeCloseTo((62.5 - 4 * 10.5) / 6);
});

test('tasks that fit into free slots start immediately', () => {
  expect(more({ cohorts: burst(3, 9_999), ready: 4 })).toBe(0);
});

test('what cannot be in time any more is to be soon', () => {
  const late = more({ cohorts: burst(61, 30_000) });
  expect(late).toBeCloseTo(60.5 / 2.5);
  expect(more({ cohorts: burst(61) }, { startMs: 30_000 })).toBeCloseTo(60.5 / 2.5);
});

test('work that varies asks for more', () => {
  expect(more({ cohorts: burst(61) }, { deviationMs: 1_000 })).toBeCloseTo((60.5 + Math.sqrt(60)) / 6);
});

describe('tasks that come while a slot starts', () => {
  test('are reckoned with while there is work', () => {
    // 90 more within 4.5 s have their deadline 10 s after that
    expect(more({ cohorts: burst(11), coming: 90, ready: 4 })).toBeCloseTo((101.5 - 4 * 15) / 10.5);
  });
  test('need no replica while no task waits', () => expect(more({ coming: 90 })).toBe(0));
});
