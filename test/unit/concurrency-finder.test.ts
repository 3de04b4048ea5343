/** How a worker finds its number of slots: rows of what it sees and does next, and whole runs on machines of all kinds in simulated time. */
import { describe, expect, test } from 'vitest';
import { createRandom, type Random } from '../../simulate/random.ts';
import { describeWhy } from '../../worker/epoch/auto/describe.ts';
import { enoughTasks, find, sampleSize, slotsOf, startFinder } from '../../worker/epoch/auto/finder.ts';
import type { FinderState, Observation } from '../../worker/epoch/auto/finder-state.ts';
import { runSlots, type Curve, type SlotRun } from '../support/slot-curves.ts';

const bounds = { min: 1, max: 32 };
const MINUTES = 60_000;

/** Machines: how fast a task runs beside others. */
const waits = (): number => 1;
const cores =
  (count: number) =>
  (busy: number): number =>
    Math.min(1, count / busy);
const collapses =
  (after: number) =>
  (busy: number): number =>
    busy <= after ? 1 : 1 / (1 + 3 * (busy - after));
/** Each one more slows the others a little; the ratio of throughput to the time of a task is best at 8. */
const softly = (busy: number): number => 1 / (1 + (busy - 1) / 7);

/** Tasks: how long each would take alone, 200 ms on the average. */
const equal = (): number => 200;
const memoryless = (random: Random): number => random.exponential(200);
const varied = (random: Random): number => random.lognormal(200, 1.3);
const heavy = (random: Random): number => random.lognormal(200, 5);

function levelOf({ lateLevels }: SlotRun): number {
  const all = [...lateLevels].reduce((sum, [, ms]) => sum + ms, 0);
  const mean = [...lateLevels].reduce((sum, [level, ms]) => sum + level * ms, 0) / all;
  return Number(mean.toFixed(3));
}

describe('settles near the best number, and stays within bounds', () => {
  test.each<[name: string, speed: Curve['speed'], work: Curve['work'], from: number, to: number]>([
    ['tasks that wait, all equal', waits, equal, 32, 32],
    ['tasks that wait', waits, memoryless, 30, 32],
    ['tasks that wait, of varied length', waits, varied, 30, 32],
    ['tasks that compute, one core', cores(1), equal, 1, 1],
    ['tasks that compute, one core, memoryless', cores(1), memoryless, 1, 1.5],
    ['tasks that compute, one core, varied', cores(1), varied, 1, 1.5],
    ['two cores', cores(2), equal, 2, 2],
    ['two cores, varied', cores(2), varied, 1.5, 3],
    ['three cores', cores(3), memoryless, 2.5, 4],
    ['eight cores', cores(8), equal, 8, 8],
    ['eight cores, memoryless', cores(8), memoryless, 7, 10],
    ['eight cores, varied', cores(8), varied, 6, 11],
    ['a machine that collapses above 10', collapses(10), equal, 9, 10],
    ['a machine that collapses above 10, varied', collapses(10), varied, 7, 11],
    ['a machine that slows gradually', softly, equal, 4, 10],
    ['a machine that slows gradually, memoryless', softly, memoryless, 3, 12],
  ])('%s', (_name, speed, work, from, to) => {
    for (const seed of [1, 2, 3]) {
      const run = runSlots({ speed, work }, bounds, 30 * MINUTES, createRandom(seed));
      expect(levelOf(run)).toBeGreaterThanOrEqual(from);
      expect(levelOf(run)).toBeLessThanOrEqual(to);
      expect(run.most).toBeLessThanOrEqual(bounds.max);
    }
  });

  test('very different tasks take longer, and no number that is far too large', () => {
    for (const seed of [1, 2, 3]) {
      const waiting = runSlots({ speed: waits, work: heavy }, bounds, 60 * MINUTES, createRandom(seed));
      expect(levelOf(waiting)).toBeGreaterThan(16);
      const computing = runSlots({ speed: cores(2), work: heavy }, bounds, 60 * MINUTES, createRandom(seed));
      expect(levelOf(computing)).toBeLessThan(8);
    }
  });

  test('from far above: it comes down as it goes up', () => {
    const run = runSlots({ speed: cores(2), work: memoryless }, bounds, 30 * MINUTES, createRandom(4), 32);
    expect(levelOf(run)).toBeLessThanOrEqual(3);
  });

  test('it costs little: the throughput of tasks that wait is nearly that of the maximum', () => {
    const run = runSlots({ speed: waits, work: memoryless }, bounds, 30 * MINUTES, createRandom(5));
    expect(run.finished).toBeGreaterThan(0.9 * ((30 * MINUTES * bounds.max) / 200));
  });
});

describe('what changes', () => {
  test('tasks that computed and wait now get more slots, and lose them again', () => {
    const third = 30 * MINUTES;
    const speed: Curve['speed'] = (busy, now) => (now > third && now < 2 * third ? 1 : Math.min(1, 2 / busy));
    const run = runSlots({ speed, work: memoryless }, bounds, 3 * third, createRandom(6));
    const at = (time: number): number => run.changes.findLast((change) => change.at <= time)?.level ?? 0;
    expect(at(third)).toBeLessThanOrEqual(3);
    expect(at(2 * third)).toBeGreaterThanOrEqual(16);
    expect(at(3 * third)).toBeLessThanOrEqual(4);
  });

  test('a number at which tasks fail is not taken, however fast they fail', () => {
    const fails: Curve['fails'] = (busy) => (busy > 6 ? 0.8 : 0);
    const run = runSlots({ speed: waits, work: memoryless, fails }, bounds, 20 * MINUTES, createRandom(7));
    expect(levelOf(run)).toBeLessThanOrEqual(6);
    expect(run.state.why.kind).toBe('failing');
  });

  test.each<[name: string, work: Curve['work'], start: number]>([
    ['found from below', memoryless, 1],
    ['found from below, all equal', equal, 1],
    ['that has become too large', memoryless, 16],
  ])('nor a number at which all tasks fail: %s', (_name, work, start) => {
    const fails: Curve['fails'] = (busy) => (busy > 6 ? 1 : 0);
    for (const seed of [1, 2, 3]) {
      const run = runSlots({ speed: waits, work, fails }, bounds, 30 * MINUTES, createRandom(seed), start);
      expect(levelOf(run)).toBeGreaterThanOrEqual(4);
      expect(levelOf(run)).toBeLessThanOrEqual(6);
    }
  });

  test('tasks that all fail, whatever the number: it stays, and goes on once they succeed', () => {
    const until = 10 * MINUTES;
    const fails: Curve['fails'] = (_busy, now) => (now < until ? 1 : 0);
    for (const seed of [1, 2, 3]) {
      const run = runSlots(
        { speed: waits, work: memoryless, fails },
        bounds,
        2 * until,
        createRandom(seed),
        4,
      );
      const before = run.changes.filter(({ at }) => at < until);
      expect(new Set(before.map(({ level }) => level))).toEqual(new Set([4]));
      expect(Math.max(...before.map(({ slots }) => slots))).toBe(4);
      expect(levelOf(run)).toBeGreaterThanOrEqual(24);
    }
  });

  test('short of memory, it stays; and never has more than a part of the limit would allow', () => {
    const memory: Curve['memory'] = (busy) => 0.1 * busy;
    const run = runSlots({ speed: waits, work: memoryless, memory }, bounds, 20 * MINUTES, createRandom(8));
    expect(levelOf(run)).toBeGreaterThanOrEqual(6);
    expect(levelOf(run)).toBeLessThan(10);
    expect(describeWhy(run.state.why)).toMatch(/^more might not fit: \d+ % of the memory limit is in use$/);
  });
});

describe('without enough tasks it knows nothing, and stays', () => {
  test('no task at all, or never two at a time', () => {
    const idle = runSlots(
      { speed: waits, work: equal, hasWork: () => false },
      bounds,
      MINUTES,
      createRandom(9),
    );
    expect(idle.changes).toHaveLength(1);
    const seldom: Curve['hasWork'] = (now) => now % 1_000 < 10;
    const rare = runSlots(
      { speed: waits, work: equal, hasWork: seldom },
      bounds,
      10 * MINUTES,
      createRandom(9),
    );
    expect(rare.state.level).toBe(1);
  });

  test('bursts with pauses in between are enough', () => {
    const hasWork: Curve['hasWork'] = (now) => now % MINUTES < 20_000;
    const run = runSlots(
      { speed: cores(4), work: memoryless, hasWork },
      bounds,
      60 * MINUTES,
      createRandom(10),
    );
    expect(levelOf(run)).toBeGreaterThanOrEqual(3);
    expect(levelOf(run)).toBeLessThanOrEqual(6);
  });
});

/** A spell in which all slots were in use, and each of its tasks took `ms`. */
function spell(state: FinderState, now: number, ms: number, more: Partial<Observation> = {}): Observation {
  const tasks = sampleSize(state);
  const lastedMs = (tasks * ms) / slotsOf(state);
  return {
    now,
    begun: true,
    overfull: false,
    lastedMs,
    busyMs: lastedMs * slotsOf(state),
    spell: { tasks, failed: 0, roots: tasks * Math.sqrt(ms), ms: tasks * ms },
    running: { tasks: 0, failed: 0, roots: 0, ms: 0 },
    ...more,
  };
}

describe('one step', () => {
  const begin = startFinder({ min: 2, max: 16 }, 4, 0);
  const trial = find(begin, spell(begin, 1_000, 100)).state;

  test('a spell of what there is, then one of twice as many', () => {
    expect(slotsOf(begin)).toBe(4);
    expect(slotsOf(trial)).toBe(8);
  });

  test.each<[name: string, ms: number, level: number, next: number]>([
    ['as fast: eight, and sixteen are tried', 100, 8, 16],
    ['1.2 times as long: still worth it', 120, 8, 16],
    ['twice as long: four, which are measured again before less is tried', 200, 4, 4],
    ['ten times as long', 1_000, 4, 4],
  ])('%s', (_name, ms, level, next) => {
    const after = find(trial, spell(trial, 2_000, ms)).state;
    expect(after.level).toBe(level);
    expect(slotsOf(after)).toBe(next);
  });

  test('then less is tried', () => {
    const after = find(trial, spell(trial, 2_000, 200)).state;
    expect(slotsOf(find(after, spell(after, 3_000, 100)).state)).toBe(2);
  });

  test('nothing is concluded before enough tasks have ended', () => {
    const few = { tasks: enoughTasks(trial) - 1, failed: 0, roots: 1, ms: 1 };
    expect(find(trial, spell(trial, 2_000, 100, { spell: few })).fresh).toBe(false);
  });

  test('slots that were free say nothing; a trial that never fills its slots ends', () => {
    const free = spell(trial, 2_000, 100);
    const voided = find(trial, { ...free, busyMs: free.busyMs / 2 });
    expect(voided.state.level).toBe(4);
    expect(voided.state.comparison?.spells).toBe(1);
    const stuck = find(trial, { ...spell(trial, 60_000, 100), begun: false });
    expect(stuck.state.comparison).toBeUndefined();
    expect(slotsOf(stuck.state)).toBe(4);
    expect(describeWhy(stuck.state.why)).toBe('there were not enough tasks at a time to try more');
  });

  test('a trial in which tasks hardly end is not waited for', () => {
    const running = { tasks: 8, failed: 0, roots: 8 * Math.sqrt(60_000), ms: 8 * 60_000 };
    const none = { tasks: 0, failed: 0, roots: 0, ms: 0 };
    const aborted = find(trial, spell(trial, 61_000, 100, { spell: none, running }));
    expect(aborted.state.level).toBe(4);
    expect(aborted.state.why).toMatchObject({ kind: 'slower', at: 8 });
  });

  test('a trial ends when memory is nearly full', () => {
    const full = find(trial, spell(trial, 2_000, 100, { memory: 0.95 }));
    expect(full.state.level).toBe(4);
    expect(full.state.why.kind).toBe('memory');
  });

  test('a number at which the worker died is not tried again for hours', () => {
    const deadly = { ...begin, deadly: { at: 8, until: 3_600_000 } };
    const after = find(deadly, spell(deadly, 1_000, 100)).state;
    expect(slotsOf(after)).toBeLessThan(8);
    expect(describeWhy({ kind: 'died', at: 8 })).toBe('at 8 the worker was killed');
  });

  test('bounds of one number: nothing is tried', () => {
    const fixed = startFinder({ min: 3, max: 3 }, 1, 0);
    const after = find(fixed, spell(fixed, 1_000, 100));
    expect(slotsOf(after.state)).toBe(3);
    expect(after.state.comparison).toBeUndefined();
  });
});
