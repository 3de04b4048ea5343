/** KEDA, the HPA and Knative's KPA, case by case, as their documents describe them. */
import { describe, expect, test } from 'vitest';
import type { World } from '../../simulate/autoscaler.ts';
import { createHpa, hpa } from '../../simulate/hpa.ts';
import { keda } from '../../simulate/keda.ts';
import { createKpa, knative } from '../../simulate/knative.ts';

const world = (part: Partial<World>): World => ({
  waiting: 0,
  inFlight: 0,
  taken: 0,
  completed: 0,
  serviceMs: 0,
  squaresMs2: 0,
  demandMs: 0,
  wanted: 0,
  existing: 0,
  ready: 0,
  parked: 0,
  ...part,
});

describe('HPA', () => {
  const options = { target: 5, minReplicas: 1, maxReplicas: 50 };
  /** Rows of [s, metric, expected replicas]; replicas follow what it says. */
  const run = (rows: readonly (readonly [number, number, number])[], from = 1, minReplicas = 1): void => {
    const decide = createHpa({ ...options, minReplicas });
    let replicas = from;
    for (const [s, metric, expected] of rows) {
      replicas = decide(s * 1_000, metric, replicas);
      expect({ s, replicas }).toEqual({ s, replicas: expected });
    }
  };

  test('ceil(metric / target)', () => run([[0, 11, 3]]));
  test('no change within a tolerance of 10 %', () =>
    run(
      [
        [0, 43, 8],
        [15, 37, 8],
      ],
      8,
    ));
  test('just outside it, there is one', () => run([[0, 44.1, 9]], 8));
  test('up by 4 pods or by 100 %, whichever is more, in 15 s', () =>
    run([
      [0, 500, 5],
      [15, 500, 10],
      [30, 500, 20],
      [45, 500, 40],
      [60, 500, 50],
    ]));
  test('down to the highest recommendation of the last 300 s', () =>
    run(
      [
        [0, 50, 10],
        [15, 0, 10],
        [285, 15, 10],
        [299, 0, 10],
        [300, 0, 3],
        [584, 0, 3],
        [585, 0, 1],
      ],
      10,
    ));
  test('a minimum of 1 keeps it from zero, and the maximum holds', () =>
    run([
      [0, 0, 1],
      [15, 1e6, 5],
      [30, 1e6, 10],
    ]));
  test('with a minimum of 0, to zero after 300 s and back by what it wants, at most 4 pods at first', () =>
    run(
      [
        [0, 4, 1],
        [15, 0, 1],
        [299, 0, 1],
        [300, 0, 0],
        [315, 0, 0],
        [330, 17, 4],
        [345, 170, 8],
      ],
      1,
      0,
    ));
  test('a metric of 1 wakes one replica', () =>
    run(
      [
        [0, 0, 0],
        [15, 1, 1],
      ],
      1,
      0,
    ));
  test.each([0, 1])('created at zero with a minimum of %d, it sleeps for good', (minReplicas) =>
    run(
      [
        [0, 17, 0],
        [3_600, 17, 0],
      ],
      0,
      minReplicas,
    ),
  );
  test('it scales up from zero only what it scaled to zero itself, according to its last write', () => {
    const decide = createHpa({ ...options, minReplicas: 0 });
    expect(decide(0, 0, 1)).toBe(0);
    // by hand to 3, which is what it wants: it writes nothing, and takes the next zero for its own
    expect(decide(15_000, 15, 3)).toBe(3);
    expect(decide(30_000, 15, 0)).toBe(3);
    // that was a write: the next zero is somebody else's
    expect(decide(45_000, 15, 0)).toBe(0);
    expect(decide(3_600_000, 50, 0)).toBe(0);
  });
  test('alone and with a minimum of 0, it begins with the one pod that it needs to wake at all', () => {
    const autoscaler = hpa({ ...options, minReplicas: 0, phaseMs: 0 });
    expect(autoscaler.initial).toBe(1);
    expect(autoscaler.look(0, world({ wanted: 1 }))).toMatchObject({ replicas: 0, wakesOnPush: false });
    expect(autoscaler.look(15_000, world({ waiting: 3 }))).toMatchObject({ replicas: 1, next: 30_000 });
  });
  test('it decides every 15 s and does nothing in between', () => {
    const autoscaler = hpa({ ...options, phaseMs: 20_000 });
    expect(autoscaler.look(0, world({ waiting: 100, wanted: 1 }))).toMatchObject({
      replicas: 1,
      next: 5_000,
    });
    expect(autoscaler.look(5_000, world({ waiting: 100, wanted: 1 }))).toMatchObject({
      replicas: 5,
      next: 20_000,
    });
  });
});

describe('KEDA', () => {
  const options = { minReplicas: 0, maxReplicas: 50, phaseMs: 0 };

  test('polls every 30 s: then one replica, and the HPA takes it from there', () => {
    const autoscaler = keda({ ...options, phaseMs: 10_000 });
    expect(autoscaler.look(0, world({ waiting: 100 }))).toMatchObject({
      replicas: 0,
      next: 10_000,
      wakesOnPush: false,
    });
    // both timers at once: from zero to one, and at once to what the HPA wants, within its limits
    expect(autoscaler.look(10_000, world({ waiting: 100 }))).toMatchObject({ replicas: 5, next: 25_000 });
    expect(autoscaler.look(25_000, world({ waiting: 100, wanted: 5 }))).toMatchObject({
      replicas: 10,
      next: 40_000,
    });
  });

  test('tasks in flight are not in the list, so they count for nothing', () => {
    const autoscaler = keda(options);
    expect(autoscaler.look(0, world({ inFlight: 50 }))).toMatchObject({ replicas: 0 });
  });

  test('to zero after 300 s without a task in the list, and not before', () => {
    const autoscaler = keda(options);
    let replicas = 0;
    let emptied: number | undefined;
    for (let now = 0; now <= 700_000;) {
      const { replicas: wanted, next } = autoscaler.look(
        now,
        world({ waiting: now <= 60_000 ? 3 : 0, wanted: replicas }),
      );
      if (replicas > 0 && wanted === 0) emptied = now;
      replicas = wanted;
      now = next;
    }
    expect(emptied).toBe(360_000);
  });

  test('a minimum of 2 stays', () => {
    const autoscaler = keda({ ...options, minReplicas: 2 });
    expect(autoscaler.initial).toBe(2);
    let replicas = 2;
    for (let now = 0; now <= 900_000;) {
      const { replicas: wanted, next } = autoscaler.look(now, world({ wanted: replicas }));
      replicas = wanted;
      now = next;
    }
    expect(replicas).toBe(2);
  });
});

describe('Knative KPA', () => {
  // rows of [s, stable, panic, ready, expected]; target 0.7
  const rows: [string, [number, number, number, number, number][]][] = [
    ['stable: ceil(concurrency / target)', [[0, 7, 7, 8, 10]]],
    ['twice as many as are ready is panic', [[0, 1, 7, 4, 10]]],
    ['less than twice is none', [[0, 1, 4.8, 4, 2]]],
    [
      'down by half at most at a time',
      [
        [0, 0, 0, 10, 5],
        [2, 0, 0, 5, 2],
        [4, 0, 0, 2, 1],
        [6, 0, 0, 1, 0],
      ],
    ],
    ['up by a factor of 1,000 at most', [[0, 7_000, 7_000, 1, 1_000]]],
    [
      'in panic it does not go down, until 60 s after it was last over',
      [
        [0, 1, 14, 2, 20],
        [2, 1, 0, 20, 20],
        [60, 1, 0, 20, 20],
        [61, 1, 0, 20, 10],
      ],
    ],
    [
      'in panic it goes further up, and still over the threshold makes it last',
      [
        [0, 1, 14, 2, 20],
        [30, 1, 28, 20, 40],
        [89, 1, 0, 40, 40],
        [91, 1, 0, 40, 20],
      ],
    ],
  ];
  test.each(rows)('%s', (_, looks) => {
    const decide = createKpa(0.7);
    for (const [s, stable, panic, ready, expected] of looks)
      expect({ s, pods: decide(s * 1_000, stable, panic, ready) }).toEqual({ s, pods: expected });
  });

  test('its averages are those of 60 s and of 6 s', () => {
    const autoscaler = knative({ slots: 10, minReplicas: 0, maxReplicas: 100 });
    const at = (s: number, demandS: number, ready: number): number =>
      autoscaler.look(s * 1_000, world({ demandMs: demandS * 1_000, wanted: ready, ready })).replicas;
    expect(at(0, 0, 2)).toBe(1);
    // 21 in flight for 2 s: 42 / 60 and 42 / 6, for a target of 7
    expect(at(2, 42, 2)).toBe(1);
    // 21 for 6 s: 126 / 6 = 21 makes 3 pods, less than twice 2; 126 / 60 makes 1
    expect(at(6, 126, 2)).toBe(1);
    // 56 for the last 6 s: 8 pods are panic
    expect(at(12, 462, 2)).toBe(8);
  });

  test('at zero it is notified of a request immediately, and keeps the last pod for 30 s', () => {
    const autoscaler = knative({ slots: 1, minReplicas: 0, maxReplicas: 100 });
    expect(autoscaler.look(0, world({}))).toMatchObject({ replicas: 0, wakesOnPush: true });
    expect(autoscaler.look(500, world({ waiting: 1 }))).toMatchObject({
      replicas: 2,
      next: 2_500,
      wakesOnPush: false,
    });
    const idle = (s: number): number => autoscaler.look(s * 1_000, world({ wanted: 1, ready: 1 })).replicas;
    const [first, kept, gone] = [idle(100), idle(129), idle(130)];
    expect([first, kept, gone]).toEqual([1, 1, 0]);
  });
});
