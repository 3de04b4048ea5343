import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  graceOf,
  noService,
  recall,
  recentP99,
  type ServiceMemory,
} from '../../controller/act/grace-period.ts';
import type { QueueSample } from '../../queue/pool/sample.ts';
import { p99, slowBucket, SLOW_BUCKETS, SLOW_MS, slowestOf } from '../../queue/pool/slow-tasks.ts';

describe('buckets', () => {
  test.each([
    [0, 0],
    [12_500, 0],
    [12_501, 1],
    [25_000, 4],
    [60_000, 10],
    [1e9, SLOW_BUCKETS],
  ])('%i ms is of bucket %i', (ms, bucket) => expect(slowBucket(ms)).toBe(bucket));

  test('a slow task is known to 19 %, and never for faster than it was', () => {
    fc.assert(
      fc.property(fc.double({ min: SLOW_MS + 1, max: slowestOf(SLOW_BUCKETS), noNaN: true }), (ms) => {
        const said = slowestOf(slowBucket(ms));
        expect(said).toBeGreaterThanOrEqual(ms * 0.999_999);
        expect(said).toBeLessThan(ms * 1.19);
      }),
    );
  });

  test('99 of 100 kept to it', () => {
    expect(p99([], 1_000)).toBe(SLOW_MS);
    expect(p99([0, 0, 0, 10], 1_000)).toBe(SLOW_MS);
    expect(p99([0, 0, 0, 11], 1_000)).toBe(25_000);
    expect(p99([0, 0, 0, 500, 0, 0, 0, 11], 1_000)).toBe(50_000);
    expect(p99([0, 0, 0, 500, 0, 0, 0, 10], 1_000)).toBe(25_000);
  });
});

function sample(tasks: number, slow: readonly number[]): QueueSample {
  return { counters: { completed: tasks, failed: 0, retried: 0 }, slow } as unknown as QueueSample;
}

/** What is known after each of these samples. */
function follow(...samples: QueueSample[]): (number | undefined)[] {
  let memory: ServiceMemory = noService;
  return samples.map((now) => {
    memory = recall(memory, now);
    return recentP99(memory, now);
  });
}

describe('what tasks took lately', () => {
  test('is not known before a hundred', () => {
    expect(follow(sample(99, [0, 0, 0, 99]), sample(100, [0, 0, 0, 100]))).toEqual([undefined, 25_000]);
  });
  test('forgets old tasks', () => {
    const slow = [0, 0, 0, 1_000];
    const seen = follow(sample(1_000, slow), sample(1_999, slow), sample(2_000, slow), sample(2_100, slow));
    expect(seen).toEqual([25_000, 25_000, SLOW_MS, SLOW_MS]);
  });
  test('starts over when the counters do', () => {
    expect(follow(sample(5_000, [0, 0, 0, 5_000]), sample(200, [200]))).toEqual([25_000, slowestOf(1)]);
  });
});

describe('the grace period', () => {
  const quiet = { changing: false, empty: false, idle: false };
  const rows: [
    what: string,
    current: number,
    p99Ms: number | undefined,
    when: Partial<typeof quiet>,
    s: number,
  ][] = [
    ['stays while nothing is known', 30, undefined, { changing: true }, 30],
    ['is never under 30 s', 30, 12_500, { changing: true }, 30],
    ['is one and a half of the p99 and 10 s', 30, 60_000, { idle: true }, 100],
    ['is never over an hour', 30, 1e8, { changing: true }, 3_600],
    ['does not grow while tasks run: a rollout would cut them off', 30, 60_000, {}, 30],
    ['grows when the template changes anyway', 30, 60_000, { changing: true }, 100],
    ['does not shrink for its own sake', 600, 60_000, { idle: true }, 600],
    ['does not shrink for less than half', 150, 60_000, { empty: true }, 150],
    ['shrinks when there are no pods', 600, 60_000, { empty: true }, 100],
  ];
  test.each(rows)('%s', (_, current, p99Ms, when, seconds) =>
    expect(graceOf({ current, p99Ms, ...quiet, ...when }).seconds).toBe(seconds),
  );

  test('reports what is missing while it cannot be changed without interrupting tasks', () => {
    expect(graceOf({ current: 30, p99Ms: 60_000, ...quiet })).toEqual({ seconds: 30, missing: 100 });
    expect(graceOf({ current: 100, p99Ms: 60_000, ...quiet })).toEqual({ seconds: 100, missing: undefined });
  });
});
