/** Whole runs of the target rule, on traces that nothing was tuned to: the target is met, and at what cost. */
import { describe, expect, test } from 'vitest';
import type { Policy } from '../../controller/decide/decision.ts';
import { figuresOf, type Figures } from '../../simulate/figures.ts';
import { generate, type Shape, type TraceKind } from '../../simulate/generate.ts';
import { millrace } from '../../simulate/millrace.ts';
import { createTrace } from '../../simulate/trace.ts';
import { simulate, type Setting } from '../../simulate/simulate.ts';
import { targetRule as policy } from '../support/policies.ts';

describe('whole runs', () => {
  const run = (
    kind: TraceKind,
    shape: Partial<Shape>,
    setting: Setting,
    change: Partial<Policy> = {},
  ): Figures => {
    const trace = generate(kind, shape);
    const using = { ...policy, maxReplicas: 500, slots: setting.slots, ...change };
    return figuresOf(trace, simulate(trace, millrace(using), setting), using.targetWaitMs ?? 0);
  };
  // [traces, what they are made of, start s, slots, target s, share that may be late, cost with one slot]
  const rows: [TraceKind, Partial<Shape>, number, number, number, number, number][] = [
    ['steady', { seed: 101 }, 1, 1, 10, 0.005, 1.3],
    ['steady', { seed: 102, rate: 20, serviceMs: 5_000 }, 5, 4, 10, 0.005, 1.4],
    ['step', { seed: 103 }, 5, 1, 10, 0.005, 1.4],
    ['spike', { seed: 104 }, 2, 1, 10, 0.005, 2],
    ['spike', { seed: 105, serviceMs: 200, rate: 10 }, 5, 2, 20, 0.005, 3],
    ['onoff', { seed: 106 }, 1, 1, 10, 0.005, 1.8],
    ['onoff', { seed: 107 }, 5, 1, 10, 0.005, 2.8],
    ['onoff', { seed: 108, serviceMs: 10_000, rate: 1 }, 10, 8, 60, 0.005, 2],
    ['diurnal', { seed: 109, durationMs: 7_200_000 }, 5, 1, 10, 0.005, 1.4],
    ['heavy', { seed: 110 }, 5, 1, 10, 0.01, 1.4],
    ['heavy', { seed: 111, serviceMs: 100, rate: 20 }, 2, 1, 5, 0.01, 1.6],
  ];
  test.each(rows)(
    '%s %o: %d s to start, %d slots, target %d s',
    (kind, shape, startS, slots, targetS, late, cost) => {
      const figures = run(kind, shape, { startMs: startS * 1_000, slots }, { targetWaitMs: targetS * 1_000 });
      expect(figures.over).toBeLessThanOrEqual(late);
      expect(figures.cost * slots).toBeLessThanOrEqual(cost);
      expect(figures.busyStopped).toBe(0);
    },
  );

  test('tasks that are longer than the target: never more new replicas than there are tasks for them', () => {
    const shape = { seed: 116, rate: 0.4, serviceMs: 20_000, variation: 2 };
    const figures = run('step', shape, { startMs: 1_000, slots: 1 }, { targetWaitMs: 2_000 });
    expect(figures.over).toBeLessThanOrEqual(0.005);
    expect(figures.starts).toBeLessThan(figures.tasks);
    expect(figures.cost).toBeLessThan(2);
  });

  test('a rush at the same hour of every day is expected, and no task waits longer for it', () => {
    const DAY_MS = 86_400_000;
    const rush = Array.from({ length: 12 }, (_, day) =>
      Array.from({ length: 900 }, (__, i): [number, number] => [
        day * DAY_MS + 9 * 3_600_000 + i * 1_000,
        8_000,
      ]),
    ).flat();
    const trace = createTrace('rush', [[0, 1_000], ...rush]);
    const setting = { startMs: 7_000, slots: 1 };
    const runs = [true, false].map((forecast) => {
      const own = millrace({ ...policy, forecast });
      const made = simulate(trace, own, setting);
      return { figures: figuresOf(trace, made, 10_000), made };
    });
    const [using, without] = runs;
    expect(using?.figures.over).toBeLessThanOrEqual(without?.figures.over ?? 0);
    expect(using?.made.decisions.some(({ reason }) => reason.includes('expected at this hour'))).toBe(true);
    expect(without?.made.decisions.some(({ reason }) => reason.includes('expected at this hour'))).toBe(
      false,
    );
  });

  test('bursts of tasks of milliseconds are served by a few replicas once their length is known', () => {
    const bursts = Array.from({ length: 6 }, (_, minute) =>
      Array.from({ length: 5_000 }, (__, i): [number, number] => [60_000 * minute + (i % 2), 2]),
    ).flat();
    const burst = simulate(createTrace('bursts', bursts), millrace({ ...policy, maxReplicas: 100 }), {
      startMs: 5_000,
      slots: 1,
    });
    expect(Math.max(...burst.waits)).toBeLessThan(10_000);
    // the first one, of which nothing is known, by as many as there may be; each later one is 10 s of work
    expect(burst.starts).toBeLessThanOrEqual(100 + 5 * 3);
  });

  test('starts that vary by half of their mean do not break the promise', () => {
    const figures = run('onoff', { seed: 112 }, { startMs: 3_000, startVariation: 0.5, slots: 1 });
    expect(figures.over).toBeLessThanOrEqual(0.01);
  });

  test('noise does not make it swing: 28 replicas under a steady load are scaled about twice a minute', () => {
    // of one seed, the number depends on where the first tasks fall
    const seeds = [113, 1, 2, 3];
    const runs = seeds.map((seed) =>
      run('steady', { seed, rate: 20, durationMs: 3_600_000 }, { startMs: 2_000, slots: 1 }),
    );
    const mean = (of: (figures: (typeof runs)[number]) => number): number =>
      runs.reduce((sum, figures) => sum + of(figures), 0) / seeds.length;
    expect(mean(({ podSeconds }) => podSeconds)).toBeLessThan(1.1);
    expect(mean(({ scaleActions }) => scaleActions)).toBeLessThan(180);
    expect(mean(({ starts }) => starts)).toBeLessThan(150);
  });

  test('where replicas take longer to start than the target, the floor that it advises holds it', () => {
    const trace = generate('onoff', { seed: 114 });
    const setting = { startMs: 30_000, slots: 1 };
    const first = millrace(policy);
    const without = figuresOf(trace, simulate(trace, first, setting), 10_000);
    expect(without.over).toBeGreaterThan(0.2);
    expect(first.advice?.reason).toBe('StartTimeAboveTarget');
    const minReplicas = first.advice?.minReplicas ?? 0;
    const using = figuresOf(trace, simulate(trace, millrace({ ...policy, minReplicas }), setting), 10_000);
    expect(using.over).toBeLessThanOrEqual(0.02);
  });

  test('a maximum that is too low is named, and the number that would do does', () => {
    const trace = generate('spike', { seed: 115 });
    const setting = { startMs: 2_000, slots: 1 };
    const first = millrace({ ...policy, maxReplicas: 20 });
    expect(figuresOf(trace, simulate(trace, first, setting), 10_000).over).toBeGreaterThan(0.2);
    expect(first.advice?.reason).toBe('MaxReplicasTooLow');
    const maxReplicas = first.advice?.maxReplicas ?? 0;
    const using = figuresOf(trace, simulate(trace, millrace({ ...policy, maxReplicas }), setting), 10_000);
    expect(using.over).toBeLessThanOrEqual(0.02);
  });
});
