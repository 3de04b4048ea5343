/**
 * Loads for which a sum of work is not enough: a row for each kind, small enough to compute by hand. Replicas take 5 s to
 * start, the target is 10 s; this rule has to reach what a fixed pool or Knative's rule reaches.
 */
import { describe, expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import {
  noMemory,
  type Decision,
  type Memory,
  type Policy,
  type Sample,
} from '../../controller/decide/decision.ts';
import { figuresOf, type Figures } from '../../simulate/figures.ts';
import { millrace } from '../../simulate/millrace.ts';
import { simulate } from '../../simulate/simulate.ts';
import { createTrace } from '../../simulate/trace.ts';
import { targetRule } from '../support/policies.ts';

const policy: Policy = { ...targetRule, maxReplicas: 100 };
type Task = [at: number, service: number];
const at = (seconds: number, count: number, service: number): Task[] =>
  Array.from({ length: count }, () => [seconds * 1_000, service * 1_000]);
const every = (seconds: number, from: number, until: number, service: number): Task[] =>
  Array.from({ length: Math.round((until - from) / seconds) }, (_, i) => [
    (from + i * seconds) * 1_000,
    service * 1_000,
  ]);
const run = (tasks: Task[], change: Partial<Policy> = {}, startMs = 5_000): Figures => {
  const trace = createTrace('', tasks);
  const using = { ...policy, ...change };
  return figuresOf(trace, simulate(trace, millrace(using), { startMs, slots: using.slots ?? 1 }), 10_000);
};

describe('a whole run', () => {
  const rows: [string, Task[], lateTasks: number, cost: number][] = [
    ['a new pool, 20 tasks of an hour at once', at(0, 20, 3_600), 0, 1.05],
    ['a new pool, 50 tasks of a minute at once', at(0, 50, 60), 0, 1.3],
    ['a new pool, a task of half an hour every 5 s', every(5, 0, 100, 1_800), 0, 1.05],
    [
      'tasks of 0.1 s, then 30 of ten minutes at once',
      [...every(0.5, 0, 300, 0.1), ...at(300, 30, 600)],
      0,
      1.1,
    ],
    [
      'tasks of 0.5 s, from the half on of 30 s',
      [...every(1, 0, 300, 0.5), ...every(1, 300, 500, 30)],
      8,
      1.45,
    ],
    [
      'as long as the target, 12 every 2 min',
      [0, 120, 240, 360].flatMap((s) => every(1, s, s + 12, 10)),
      0,
      2.8,
    ],
    ['twice the target, 20 every 2 min', [0, 120, 240].flatMap((s) => every(1, s, s + 20, 20)), 0, 2.2],
    [
      '99 of 100 take 50 ms, one 120 s',
      every(0.2, 0, 600, 0.05).map(([t], i) => [t, i % 100 === 50 ? 120_000 : 50]),
      30,
      2.8,
    ],
  ];
  test.each(rows)('%s', (_, tasks, lateTasks, cost) => {
    const figures = run(tasks);
    expect(Math.round(figures.over * figures.tasks)).toBeLessThanOrEqual(lateTasks);
    expect(figures.cost).toBeLessThanOrEqual(cost);
  });

  test('a flow of tasks of milliseconds into a new pool waits for the first results', () => {
    const figures = run(every(0.002, 0, 30, 0.005));
    expect(figures.over).toBe(0);
    expect(figures.starts).toBeLessThanOrEqual(25);
  });

  test('slots: a replica has room for several', () => {
    const figures = run(at(0, 20, 3_600), { slots: 4 });
    expect(figures.over).toBe(0);
    expect(figures.starts).toBeLessThanOrEqual(6);
  });
});

/** One look a second at `waiting` and `inFlight` tasks that all came at 0 s, of which none ends. */
function stuck(
  looks: readonly [second: number, waiting: number, inFlight: number, current: number][],
  change: Partial<Policy> = {},
): Decision {
  let memory: Memory = noMemory;
  let decision: Decision | undefined;
  for (const [second, waiting, inFlight, current] of looks) {
    const counters = { taken: inFlight, completed: 0, failed: 0, retried: 0, serviceUs: 0 };
    const sample: Sample = { kind: 'known', waiting, inFlight, due: 0, leaving: 0, counters };
    decision = decide({ ...policy, ...change }, sample, current, memory, second * 1_000, inFlight);
    ({ memory } = decision);
  }
  return decision as Decision;
}

describe('before anything has finished', () => {
  test('five tasks a replica at first, and a slot for each a start before their deadline', () => {
    expect(stuck([[0, 50, 0, 0]]).desired).toBe(10);
    expect(
      stuck([
        [0, 50, 0, 0],
        [3, 50, 0, 10],
      ]).desired,
    ).toBe(10);
    expect(
      stuck([
        [0, 50, 0, 0],
        [4, 50, 0, 10],
      ]).desired,
    ).toBe(50);
  });

  test('a maximum that is too low is named as soon as tasks are late, with the number that would do', () => {
    const change = { maxReplicas: 10 };
    expect(
      stuck(
        [
          [0, 50, 0, 0],
          [6, 40, 10, 10],
        ],
        change,
      ).advice,
    ).toBeUndefined();
    expect(
      stuck(
        [
          [0, 50, 0, 0],
          [6, 40, 10, 10],
          [12, 40, 10, 10],
        ],
        change,
      ).advice,
    ).toEqual({
      reason: 'MaxReplicasTooLow',
      message:
        'tasks have waited for 12 s, the target is 10 s, and none has finished yet: maxReplicas 50 would begin all that wait',
      minReplicas: undefined,
      maxReplicas: 50,
    });
  });

  test('a start that is longer than the target is named, too', () => {
    const looks: [number, number, number, number][] = [
      [0, 50, 0, 0],
      [1, 50, 0, 10],
      [20, 40, 10, 10],
    ];
    expect(stuck(looks).advice).toMatchObject({ reason: 'StartTimeAboveTarget', minReplicas: 50 });
  });
});
