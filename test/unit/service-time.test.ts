/** What a pool learns of its tasks and replicas. */
import { describe, expect, test } from 'vitest';
import {
  withValue,
  quantileOf,
  totalOf,
  type BucketCounts,
} from '../../controller/decide/target-wait/histogram.ts';
import {
  learnService,
  meanInView,
  restAt,
  restOf,
  serviceQuantile,
  unripeMs,
  type LearnedService,
} from '../../controller/decide/target-wait/service-time.ts';
import {
  learnStart,
  restOfStart,
  settleStarts,
  startTime,
  worthOfStart,
  type Start,
} from '../../controller/decide/target-wait/start-time.ts';
import { createRandom } from '../../simulate/random.ts';

/** Feeds `looks` looks of 1 to 10 tasks each. */
function taught(
  before: LearnedService | undefined,
  looks: number,
  draw: () => number,
  seed = 1,
): LearnedService {
  const random = createRandom(seed);
  let service = before;
  for (let i = 0; i < looks; i++) {
    const tasks = 1 + Math.floor(random.uniform() * 10);
    service = learnService(
      service,
      tasks,
      Array.from({ length: tasks }, draw).reduce((a, b) => a + b, 0),
    );
  }
  if (!service) throw new Error('nothing was learned');
  return service;
}

describe('service time', () => {
  const random = createRandom(2);
  test('mean, spread and quantiles come out of sums alone', () => {
    const service = taught(undefined, 400, () => random.lognormal(1_400, 1));
    expect(service.mean / 1_400).toBeCloseTo(1, 0.7);
    expect(Math.sqrt(service.variance) / 1_400).toBeGreaterThan(0.7);
    expect(Math.sqrt(service.variance) / 1_400).toBeLessThan(1.4);
    // of a log-normal with this mean and spread: median 990 ms, 95 % below 3.9 s
    expect(serviceQuantile(service, 0)).toBeGreaterThan(750);
    expect(serviceQuantile(service, 0)).toBeLessThan(1_250);
    expect(serviceQuantile(service, 1.645)).toBeGreaterThan(3_000);
    expect(serviceQuantile(service, 1.645)).toBeLessThan(5_000);
  });
  test('one value far out changes little', () => {
    const before = taught(undefined, 100, () => 1_000);
    const after = learnService(before, 1, 3_600_000);
    expect(after?.mean).toBeLessThan(1_100);
  });
  test.each([
    ['ten times as long', 10],
    ['a tenth', 0.1],
    ['a hundred times as long', 100],
  ])('%s is noticed within 100 tasks', (_, factor) => {
    const before = taught(undefined, 200, () => random.lognormal(1_000, 0.5));
    let service: LearnedService | undefined = before;
    for (let i = 0; i < 100; i++) service = learnService(service, 1, random.lognormal(1_000, 0.5) * factor);
    expect((service?.mean ?? 0) / (1_000 * factor)).toBeGreaterThan(0.6);
    expect((service?.mean ?? 0) / (1_000 * factor)).toBeLessThan(1.6);
  });
  test('noise is no change', () => {
    const heavy = createRandom(3);
    let service: LearnedService | undefined;
    for (let i = 0; i < 20_000; i++) {
      service = learnService(service, 1, heavy.lognormal(1_000, 1.5));
      if (i > 400) expect(service?.tasks, `after ${i} tasks`).toBeGreaterThan(100);
    }
  });
  test('tasks that began together end in the order of their length: the squares give the spread, intervals do not', () => {
    let [told, untold]: (LearnedService | undefined)[] = [];
    for (let batch = 0; batch < 20; batch++) {
      const ended = Array.from({ length: 100 }, () => random.lognormal(3_000, 0.5)).toSorted((a, b) => a - b);
      for (let from = 0; from < 100; from += 10) {
        const some = ended.slice(from, from + 10);
        const sum = some.reduce((a, b) => a + b, 0);
        told = learnService(told, 10, sum, some.reduce((a, b) => a + b * b, 0) / 10);
        untold = learnService(untold, 10, sum);
      }
    }
    expect(Math.sqrt(told?.variance ?? 0) / 1_500).toBeGreaterThan(0.8);
    expect(Math.sqrt(told?.variance ?? 0) / 1_500).toBeLessThan(1.2);
    expect(Math.sqrt(untold?.variance ?? 0) / 1_500).toBeGreaterThan(2);
  });
  test.each([
    ['less than if all were alike', 0],
    ['more than if one took all the time', 1e300],
  ])('a mean square that cannot be counts as one that can: %s', (_, square) => {
    const service = learnService(
      taught(undefined, 40, () => 1_000),
      10,
      10_000,
      square,
    );
    expect(service?.mean).toBe(1_000);
    expect(service?.variance).toBeGreaterThanOrEqual(0);
    expect(service?.variance).toBeLessThanOrEqual(9 * 1_000 ** 2);
  });
  test('a sample without finished tasks teaches nothing', () => {
    const service = taught(undefined, 10, () => 1_000);
    expect(learnService(service, 0, 0)).toBe(service);
    expect(learnService(service, -3, 100)).toBe(service);
  });
  test('slots that run for long without finishing count', () => {
    const service = taught(undefined, 100, () => 1_000);
    expect(meanInView(service, 50, 50_000)).toBe(1_000);
    expect(meanInView(service, 0, 15_000)).toBeCloseTo((15_000 + 24_000) / 24);
    // sixteen should have finished, give or take four: what was learned counts as one task more
    expect(meanInView(service, 0, 17_000)).toBe(18_000);
    // and of tasks that differ by ten times their mean, give or take forty
    expect(meanInView({ ...service, variance: 100 * service.mean ** 2 }, 0, 17_000)).toBeCloseTo(41_000 / 24);
  });
  test('if tasks are alike, their age tells how long they still run, and a young one does not affect the mean', () => {
    const alike = { ...taught(undefined, 10, () => 1_000), variance: 0 };
    expect([0, 250, 1_000, 5_000].map((age) => restAt(alike, age))).toEqual([1_000, 750, 0, 0]);
    const exponential = { ...alike, variance: 1e6 };
    expect([0, 5_000].map((age) => restAt(exponential, age))).toEqual([1_000, 1_000]);
    const inFlight = [
      { ageMs: 400, tasks: 3 },
      { ageMs: 9_000, tasks: 1 },
    ];
    expect(unripeMs(alike, inFlight)).toBe(2_200);
    expect(unripeMs(exponential, inFlight)).toBe(0);
  });
  test('what a task in flight has still to run', () => {
    const steady = { ...taught(undefined, 10, () => 1_000), variance: 0 };
    expect(restOf(steady)).toBe(500);
    // exponential: as long as ever
    expect(restOf({ ...steady, variance: 1e6 })).toBe(1_000);
  });
});

describe('start time', () => {
  test('it is learned, and one that hangs does not spoil it', () => {
    let start: Start | undefined;
    for (let i = 0; i < 10; i++) start = learnStart(start, 5_000 + (i % 2) * 200);
    expect(start?.mean).toBeCloseTo(5_100, -2);
    start = learnStart(start, 3_600_000);
    expect(start.mean).toBeLessThan(7_000);
  });
  test('unknown, it is 2 s, or half of the target', () => {
    expect(startTime(undefined, 60_000)).toBe(2_000);
    expect(startTime(undefined, 1_000)).toBe(500);
    expect(startTime({ mean: 5_000, deviation: 500, pods: 3 }, 60_000)).toBe(5_500);
  });
  test('one that is late may be as late again', () => {
    expect(restOfStart(1_000, 5_000)).toBe(4_000);
    expect(restOfStart(8_000, 5_000)).toBe(3_000);
  });
  test('the nearer the start time is to the target, the more idling a start is worth', () => {
    expect(worthOfStart(0, 10_000)).toBe(10_000);
    expect(worthOfStart(5_000, 10_000)).toBe(30_000);
    expect(worthOfStart(30_000, 10_000)).toBe(160_000);
  });
});

describe('replicas on their way', () => {
  const two = [
    { at: 0, replicas: 3 },
    { at: 4_000, replicas: 2 },
  ];
  test('the oldest become ready first, and give the start time', () => {
    const settled = settleStarts(two, undefined, { starting: 2, up: 3, now: 5_000 });
    expect(settled).toEqual({
      starts: [{ at: 4_000, replicas: 2 }],
      start: { mean: 5_000, deviation: 1_250, pods: 1 },
      tookMs: [5_000, 5_000, 5_000],
    });
  });
  test('part of a group may be up', () =>
    expect(settleStarts(two, undefined, { starting: 4, up: 1, now: 5_000 }).starts).toEqual([
      { at: 0, replicas: 2 },
      { at: 4_000, replicas: 2 },
    ]));
  test('the newest are taken back first, and teach nothing', () =>
    expect(settleStarts(two, undefined, { starting: 2, up: 0, now: 5_000 })).toEqual({
      starts: [{ at: 0, replicas: 2 }],
      start: undefined,
      tookMs: [],
    }));
  test('something else may have requested more', () =>
    expect(settleStarts(two, undefined, { starting: 7, up: 0, now: 5_000 }).starts).toEqual([
      ...two,
      { at: 5_000, replicas: 2 },
    ]));
});

describe('histogram', () => {
  const filled = (values: readonly number[]): BucketCounts =>
    values.reduce<BucketCounts>((counts, value) => withValue(counts, value, 1, 1e6), []);
  test('quantiles to within a class', () => {
    const counts = filled(Array.from({ length: 1_000 }, (_, i) => i + 1));
    for (const share of [0.5, 0.9, 0.99]) {
      expect(quantileOf(counts, share) / (1_000 * share)).toBeGreaterThan(0.9);
      expect(quantileOf(counts, share) / (1_000 * share)).toBeLessThan(1.1);
    }
    expect(quantileOf([], 0.5)).toBe(0);
  });
  test('the new outweighs the old, and the size is bounded', () => {
    let counts: BucketCounts = [];
    for (let i = 0; i < 1_000; i++) counts = withValue(counts, 1e12, 1, 100);
    for (let i = 0; i < 300; i++) counts = withValue(counts, 10, 1, 100);
    expect(quantileOf(counts, 0.9)).toBeLessThan(12);
    expect(totalOf(counts)).toBeCloseTo(100, 0);
    expect(counts.length).toBeLessThanOrEqual(192);
  });
});
