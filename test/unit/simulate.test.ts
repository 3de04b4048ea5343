/** The simulator against results that can be computed by hand. */
import { describe, expect, test } from 'vitest';
import { comparedRows, comparedTable } from '../../cli/simulate/report.ts';
import type { Autoscaler } from '../../simulate/autoscaler.ts';
import { clairvoyant } from '../../simulate/clairvoyant.ts';
import { compare } from '../../simulate/compare.ts';
import { figuresOf } from '../../simulate/figures.ts';
import { generate } from '../../simulate/generate.ts';
import { millrace } from '../../simulate/millrace.ts';
import { simulate } from '../../simulate/simulate.ts';
import { fixed } from '../../simulate/static.ts';
import { createTrace, workOf } from '../../simulate/trace.ts';
import { targetRule as policy } from '../support/policies.ts';

/** Replicas by time, in ms; looks once a second. */
const plan = (replicas: (now: number) => number, victims: 'idle' | 'any', initial = 0): Autoscaler => ({
  name: 'a plan',
  victims,
  initial,
  look: (now) => ({ replicas: replicas(now), next: now + 1_000, wakesOnPush: false }),
});

describe('the run', () => {
  test('tasks begin in the order in which they came, on the slots there are', () => {
    const trace = createTrace('three at once', [
      [0, 1_000],
      [0, 2_000],
      [0, 500],
      [100, 100],
    ]);
    const one = simulate(trace, fixed(1), { startMs: 0, slots: 1 });
    expect([...one.waits]).toEqual([0, 1_000, 3_000, 3_400]);
    expect(one).toMatchObject({ endMs: 3_600, podMs: 3_600, starts: 1 });
    const two = simulate(trace, fixed(1), { startMs: 0, slots: 2 });
    expect([...two.waits]).toEqual([0, 0, 1_000, 1_400]);
  });

  test('a pod is paid from its creation and takes tasks after its start', () => {
    const trace = createTrace('one', [[0, 1_000]]);
    const run = simulate(
      trace,
      plan(() => 1, 'idle'),
      { startMs: 5_000, slots: 1 },
    );
    expect([...run.waits]).toEqual([5_000]);
    expect(run.podMs).toBe(6_000);
    expect(figuresOf(trace, run, 4_000)).toMatchObject({ over: 1, p50Ms: 5_000, podSeconds: 6, cost: 16 });
  });

  test('a queue with one server has the waits of the Pollaczek–Khinchine formula', () => {
    const trace = generate('steady', { durationMs: 2e8, rate: 0.5, serviceMs: 1_400, variation: 1 });
    const run = simulate(trace, fixed(1), { startMs: 0, slots: 1 });
    const mean = run.waits.reduce((sum, wait) => sum + wait, 0) / run.waits.length;
    const load = workOf(trace) / 2e8;
    expect(mean / (((load / (1 - load)) * 1_400 * (1 + 1 ** 2)) / 2)).toBeCloseTo(1, 0.5);
  });

  test('the same input gives the same run', () => {
    const run = (): number[] => [
      ...simulate(
        generate('onoff'),
        plan((now) => (now / 1_000) % 7, 'any'),
        { startMs: 1_000, slots: 2 },
      ).waits,
    ];
    expect(run()).toEqual(run());
  });

  test('a million tasks take less than 30 s of a processor', { timeout: 600_000 }, () => {
    const before = process.cpuUsage();
    const trace = generate('diurnal', { durationMs: 1e7, rate: 100, serviceMs: 200 });
    const run = simulate(trace, millrace({ ...policy, maxReplicas: 200 }), { startMs: 2_000, slots: 1 });
    expect(run.waits.length).toBeGreaterThan(990_000);
    expect(figuresOf(trace, run, 10_000).over).toBeLessThan(0.005);
    expect(process.cpuUsage(before).user).toBeLessThan(30_000_000);
  });
});

describe('parked replicas', () => {
  const parking = (replicas: number, atWork: (now: number) => number): Autoscaler => ({
    name: 'a plan',
    victims: 'idle',
    initial: 0,
    parking: { replicas, share: 0.1 },
    look: (now, { waiting, inFlight }) => {
      const busy = Math.max(atWork(now), Math.min(1, waiting + inFlight));
      return { replicas: busy, parked: Math.max(0, replicas - busy), next: now + 1_000, wakesOnPush: true };
    },
  });

  test('a parked one costs its share, works at once, and is parked again', () => {
    const trace = createTrace('three', [
      [0, 1_000],
      [100_000, 1_000],
      [200_000, 1_000],
    ]);
    const run = simulate(
      trace,
      parking(2, () => 0),
      { startMs: 5_000, slots: 1 },
    );
    // the first has to wait for the pods of a new pool
    expect([...run.waits]).toEqual([5_000, 0, 0]);
    expect(run).toMatchObject({ starts: 2, endMs: 201_000 });
    // both while they start, one for each second of work; for the rest of the time a tenth of a pod each
    const full = 2 * 5_000 + 3 * 1_000;
    expect(run.podMs).toBeCloseTo(full + (2 * 201_000 - full) / 10, 6);
  });

  test('what is needed beyond them starts; what is not, goes', () => {
    const trace = createTrace('late', [
      [0, 0],
      [100_000, 1_000],
    ]);
    const peak = (now: number): number => (now >= 20_000 && now < 40_000 ? 3 : 0);
    const run = simulate(trace, parking(1, peak), { startMs: 0, slots: 1 });
    expect(run.starts).toBe(3);
    // three for 20 s, one for each task until the next look; the one that stays is a tenth of a pod otherwise
    expect(run.podMs).toBeCloseTo(3 * 20_000 + 2 * 1_000 + 79_000 / 10, 6);
  });

  test('a busy one that is not needed is parked when it has finished', () => {
    const trace = createTrace('long', [
      [0, 30_000],
      [70_000, 0],
    ]);
    const early = {
      ...parking(1, () => 0),
      look: (now: number) => ({
        replicas: now < 5_000 ? 1 : 0,
        parked: now < 5_000 ? 0 : 1,
        next: now + 5_000,
        wakesOnPush: false,
      }),
    };
    const back = {
      ...early,
      look: (now: number) => ({ ...early.look(now), replicas: now < 5_000 || now >= 70_000 ? 1 : 0 }),
    };
    const run = simulate(trace, back, { startMs: 0, slots: 1 });
    expect(run).toMatchObject({ starts: 1, endMs: 70_000 });
    expect(run.podMs).toBeCloseTo(30_000 + 40_000 / 10, 6);
  });
});

describe('scale-in', () => {
  const trace = createTrace('long and short', [
    [0, 20_000],
    [0, 500],
    [100, 500],
    [10_000, 500],
  ]);
  const shrink = (now: number): number => (now < 5_000 ? 2 : 1);

  test('a drained pool lets the idle one go, and never stops the busy one', () => {
    const run = simulate(trace, plan(shrink, 'idle', 2), { startMs: 0, slots: 1, graceMs: 0 });
    expect(run).toMatchObject({ busyStopped: 0, busyKilled: 0, endMs: 20_500 });
    expect(run.podMs).toBe(20_500 + 5_000);
  });

  test('a busy one that drains takes nothing more, and is called back when it is needed again', () => {
    const busy = createTrace('busy', [
      [0, 10_000],
      [1_000, 10_000],
      [6_000, 1_000],
    ]);
    const back = (now: number): number => (now < 3_000 || now >= 8_000 ? 2 : 1);
    const run = simulate(busy, plan(back, 'idle', 2), { startMs: 60_000, slots: 1 });
    expect(run.starts).toBe(2);
    expect([...run.waits]).toEqual([0, 0, 4_000]);
  });

  test('a blind victim may finish within its grace period; what it cannot finish runs again', () => {
    const none = (now: number): number => (now < 5_000 ? 2 : now < 8_000 ? 0 : 1);
    const setting = { startMs: 1_000, slots: 1 };
    const patient = simulate(trace, plan(none, 'any', 2), { ...setting, graceMs: 30_000 });
    expect(patient).toMatchObject({ busyStopped: 1, busyKilled: 0 });
    expect(patient.waits[0]).toBe(0);
    const hasty = simulate(trace, plan(none, 'any', 2), { ...setting, graceMs: 2_000 });
    expect(hasty).toMatchObject({ busyStopped: 1, busyKilled: 1 });
    // killed at 7 s, and a new pod is up at 9 s
    expect(hasty.waits[0]).toBe(9_000);
  });
});

test('knowing the future costs less than not knowing it, and more than the work', () => {
  const trace = generate('onoff', { seed: 5 });
  const setting = { startMs: 5_000, slots: 1 };
  const goal = { targetMs: 10_000, maxReplicas: 500, allowed: 0.005 };
  const best = clairvoyant(trace, goal, setting);
  if (!best) throw new Error('no schedule holds the target');
  const own = simulate(trace, millrace({ ...policy, maxReplicas: 500 }), setting);
  const [known, unknown] = [best, own].map((run) => figuresOf(trace, run, goal.targetMs));
  expect(known?.over).toBeLessThanOrEqual(0.005);
  expect(known?.cost).toBeGreaterThan(1);
  expect(known?.cost).toBeLessThan(unknown?.cost ?? 0);
});

test('tasks that take no time have no cost per second of work: there is none in the table, nor as JSON', () => {
  const trace = createTrace('pings', [
    [0, 0],
    [1_000, 0],
  ]);
  const rows = compare(trace, policy, 10_000, ['keda'], { startMs: 5_000, slots: 1 });
  const text = comparedTable(rows);
  expect(text).toMatch(/^Millrace .* - +1 .* -\n/m);
  expect(text).toContain('COST are per second of work, and these tasks take no time.');
  expect(JSON.stringify(comparedRows(rows)) + text).not.toMatch(/Infinity|NaN/);
  expect(comparedRows(rows)).toMatchObject([{ cost: null, podSeconds: null }, { cost: null }]);
});
