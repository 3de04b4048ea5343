/** What happened between two samples of a pool: sums, waits and starts, from samples made by a test. */
import { describe, expect, test } from 'vitest';
import { noMemory, type Decision } from '../../controller/decide/decision.ts';
import { observe, type Observation, type Baseline } from '../../controller/observe/observation.ts';
import type { Sampled } from '../../controller/sample/sampled.ts';
import { nothingKept, type Step } from '../../controller/act/step.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';

const T0 = 1_764_000_000_000;
/** Redis has a clock of its own. */
const REDIS_AHEAD = 5_000;

interface Look {
  /** Seconds. */
  readonly at: number;
  readonly waiting?: number;
  readonly inFlight?: number;
  /** Counters since ever: taken, completed, failed, retried, and the service time of the last three in seconds. */
  readonly counted?: readonly [number, number, number, number, number];
  readonly quietUntil?: number;
  /** What the clock of Redis was set by until then, seconds. */
  readonly clockSetBy?: number;
  readonly unknown?: true;
  readonly wanted?: number;
  readonly ready?: number;
  /** What the step made of `wanted`. */
  readonly scaledTo?: number;
}

function sampleOf({
  at,
  clockSetBy = 0,
  waiting = 0,
  inFlight = 0,
  counted = [0, 0, 0, 0, 0],
}: Look): PoolSample {
  const [taken, completed, failed, retried, service] = counted;
  const none = {
    recovered: 0,
    fenced: 0,
    cancelled: 0,
    expired: 0,
    duplicates: 0,
    squaresS2: 0,
    squaredTasks: 0,
  };
  return {
    now: T0 + REDIS_AHEAD + (at + clockSetBy) * 1_000,
    waiting,
    inFlight,
    delayed: 3,
    dead: 2,
    counters: { taken, completed, failed, retried, serviceUs: service * 1e6, ...none },
    suspects: 0,
    solitary: 0,
    apart: { workers: 0, tasks: 0 },
    due: 0,
    dueSoon: 0,
    nextDue: undefined,
    nextExpiry: undefined,
    paused: false,
    workers: 0,
    expired: 0,
    silent: false,
    overdue: false,
    leaving: 0,
    slow: [],
    runnable: { waiting, due: 0, dueSoon: 0, suspects: 0, solitary: 0 },
    pausedQueues: 0,
  };
}

function stepOf({ wanted = 0, ready = wanted, scaledTo }: Look): Step {
  const desired = scaledTo ?? wanted;
  const decision: Decision = {
    desired,
    cause: scaledTo === undefined ? 'Enough' : 'ScaleUp',
    reason: `${wanted}→${desired}`,
    limited: undefined,
    bounds: { minReplicas: 0, maxReplicas: 10, on: [], minBy: undefined, maxBy: undefined, until: undefined },
    decideAgainAt: undefined,
    startMs: 0,
    numbers: { current: wanted, ready, bounds: { minReplicas: 0, maxReplicas: 10 } },
    memory: noMemory,
  };
  return {
    replicas: { wanted, existing: wanted, ready, trouble: undefined, rollingOut: false },
    decision,
    scaled: scaledTo === undefined ? undefined : { from: wanted, to: scaledTo },
    held: undefined,
    kept: nothingKept,
    requeueInMs: undefined,
  };
}

function observeAll(looks: readonly Look[]): {
  all: Observation[];
  last: Observation;
  kept: Baseline | undefined;
} {
  let kept: Baseline | undefined;
  const all = looks.map((look) => {
    const quiet =
      look.quietUntil === undefined ? {} : { quietUntil: T0 + REDIS_AHEAD + look.quietUntil * 1_000 };
    const sampled: Sampled = look.unknown
      ? { kind: 'unknown', reason: 'Unreachable', why: 'gone' }
      : { kind: 'known', sample: sampleOf(look), readAt: look.at * 1_000, ...quiet };
    const { observation, baseline } = observe(
      { now: T0 + look.at * 1_000, sampled, step: stepOf(look) },
      kept,
    );
    kept = baseline;
    return observation;
  });
  return { all, last: all.at(-1) as Observation, kept };
}

const sums = ({ arrived, taken, completed, failed, retried, serviceMs, sinceMs }: Observation) => ({
  arrived,
  taken,
  completed,
  failed,
  retried,
  serviceMs,
  sinceMs,
});
const zeros = { arrived: 0, taken: 0, completed: 0, failed: 0, retried: 0, serviceMs: 0, sinceMs: 0 };

test('the first sample has levels only; nothing has happened yet', () => {
  const { last } = observeAll([
    { at: 0, waiting: 7, inFlight: 1, counted: [90, 80, 5, 4, 100], wanted: 2, ready: 1 },
  ]);
  expect(last).toMatchObject({
    known: true,
    waiting: 7,
    inFlight: 1,
    delayed: 3,
    dead: 2,
    replicas: 2,
    ready: 1,
  });
  expect(last).toMatchObject({ ...zeros, at: T0, desired: 2, cause: 'Enough', waits: [], startsMs: [] });
});

test('the oldest waiting task is as old as the first sample that had it, or its share of the time before', () => {
  const arriving = [
    { at: 0, counted: [4, 4, 0, 0, 4] },
    { at: 10, waiting: 1, counted: [4, 4, 0, 0, 4] },
    { at: 20, waiting: 2, counted: [4, 4, 0, 0, 4] },
  ] as const;
  expect(observeAll(arriving).all.map(({ oldestMs }) => oldestMs)).toEqual([0, 5_000, 15_000]);
  const taken = observeAll([...arriving, { at: 30, waiting: 1, counted: [5, 4, 0, 0, 4] }]);
  expect(taken.last.oldestMs).toBe(15_000);
  expect(
    observeAll([
      { at: 0, waiting: 9 },
      { at: 7, waiting: 9 },
    ]).last.oldestMs,
  ).toBe(7_000);
});

test('sums are what happened since the sample before', () => {
  const { last } = observeAll([
    { at: 0, waiting: 7, counted: [90, 80, 5, 4, 100] },
    { at: 2, waiting: 4, counted: [100, 86, 6, 5, 104] },
  ]);
  const counted = { completed: 6, failed: 1, retried: 1, serviceMs: 4_000 };
  expect(sums(last)).toEqual({ arrived: 7, taken: 10, ...counted, sinceMs: 2_000 });
});

describe('never a made-up number', () => {
  const busy: Look = { at: 0, waiting: 7, counted: [90, 80, 5, 4, 100] };
  test.each<[string, Look[], Partial<Observation>]>([
    ['a Redis that was emptied', [busy, { at: 1 }], zeros],
    [
      'one that was emptied and filled again',
      [busy, { at: 1, waiting: 50, counted: [3, 2, 0, 0, 2] }],
      zeros,
    ],
    [
      'and after that it goes on from there',
      [busy, { at: 1 }, { at: 2, waiting: 5, counted: [3, 2, 0, 0, 2] }],
      { arrived: 8, taken: 3, completed: 2, serviceMs: 2_000, sinceMs: 1_000 },
    ],
    [
      'emptied before anything had finished',
      [{ at: 0, waiting: 5, counted: [5, 0, 0, 0, 0] }, { at: 1 }],
      { arrived: 0, taken: 5 },
    ],
    [
      'tasks that were handed back',
      [busy, { at: 1, waiting: 12, counted: [85, 80, 5, 4, 100] }],
      { arrived: 0, taken: 0 },
    ],
    [
      'tasks that a plain worker took',
      [busy, { at: 1, waiting: 2, counted: [90, 80, 5, 4, 100] }],
      { arrived: 0, taken: 5 },
    ],
    [
      'a clock of Redis that was set back',
      [
        { ...busy, at: 9 },
        { ...busy, at: 1 },
      ],
      zeros,
    ],
    [
      'a queue that cannot be read',
      [busy, { at: 1, unknown: true }],
      { ...zeros, known: false, waiting: 7, dead: 2 },
    ],
    [
      'what happened meanwhile, when it can be read again',
      [busy, { at: 1, unknown: true }, { at: 9, waiting: 8, counted: [95, 85, 5, 4, 109] }],
      { known: true, arrived: 6, taken: 5, completed: 5, serviceMs: 9_000, sinceMs: 9_000 },
    ],
    ['one that never could be read', [{ at: 0, unknown: true }], { ...zeros, known: false, waiting: 0 }],
  ])('%s', (_, looks, expected) => expect(observeAll(looks).last).toMatchObject(expected));

  test('a sample that was seen before is not counted twice', () => {
    const first: Sampled = { kind: 'known', sample: sampleOf({ ...busy, at: 0 }) };
    const second: Sampled = {
      kind: 'known',
      sample: sampleOf({ at: 1, waiting: 3, counted: [94, 84, 5, 4, 108] }),
    };
    const step = stepOf({ at: 0 });
    const before = observe({ now: T0, sampled: first, step }, undefined);
    const once = observe({ now: T0 + 1_000, sampled: second, step }, before.baseline);
    expect(once.observation).toMatchObject({ taken: 4, completed: 4 });
    expect(once.observation.waits).toHaveLength(1);
    const twice = observe({ now: T0 + 1_300, sampled: second, step }, once.baseline);
    expect(twice.observation).toMatchObject({ ...zeros, waits: [], waiting: 3 });
  });
});

describe('how long tasks waited', () => {
  test('a backlog that is worked off: the longer ago a task came, the longer it waited', () => {
    const { all } = observeAll([
      { at: 0 },
      { at: 1, waiting: 20 },
      { at: 10, waiting: 20 },
      { at: 11, waiting: 10, counted: [10, 0, 0, 0, 0] },
      { at: 12, waiting: 0, counted: [20, 10, 0, 0, 10] },
    ]);
    expect(all.map(({ waits }) => waits)).toEqual([
      [],
      [],
      [],
      [{ tasks: 10, waitMs: 10_000 }],
      [{ tasks: 10, waitMs: 11_000 }],
    ]);
  });
  test('the first task after a long silence came when the wake rang, not some time in the last half minute', () => {
    const { last } = observeAll([
      { at: 0 },
      { at: 30 },
      { at: 55.01, waiting: 1, quietUntil: 55 },
      { at: 56.01, waiting: 0, counted: [1, 0, 0, 0, 0] },
    ]);
    expect(last.waits).toHaveLength(1);
    expect(last.waits[0]?.waitMs).toBeCloseTo(505, 0);
  });
  test('tasks that are handed back leave the ages of the others as they were', () => {
    const { last } = observeAll([
      { at: 0 },
      { at: 1, waiting: 20, counted: [5, 0, 0, 0, 0] },
      { at: 20, waiting: 25, counted: [0, 0, 0, 0, 0] },
      { at: 21, waiting: 5, counted: [20, 0, 0, 0, 0] },
    ]);
    expect(last.waits).toEqual([{ tasks: 20, waitMs: 20_000 }]);
  });
});

test.each([3_600, -3_600, 40])(
  'the clock of Redis is set by %i s: that is no time that tasks wait',
  (clockSetBy) => {
    const { all } = observeAll([
      { at: 0 },
      { at: 1, waiting: 10 },
      { at: 2, waiting: 10, clockSetBy },
      { at: 11, waiting: 0, counted: [10, 0, 0, 0, 0], clockSetBy },
      { at: 12, waiting: 1, counted: [10, 0, 0, 0, 0] },
      { at: 13, waiting: 1, counted: [10, 0, 0, 0, 0] },
    ]);
    expect(all.map(({ oldestMs }) => Math.round(oldestMs / 1_000))).toEqual([0, 1, 2, 0, 1, 2]);
    expect(all.flatMap(({ waits }) => waits)).toEqual([{ tasks: 10, waitMs: 6_000 }]);
    expect(all.map(({ sinceMs }) => sinceMs)).toEqual([0, 1_000, 1_000, 9_000, 1_000, 1_000]);
  },
);

test('a replica took from when it was asked for until it was up', () => {
  const { all } = observeAll([
    { at: 0, scaledTo: 3 },
    { at: 1, wanted: 3, ready: 0 },
    { at: 2, wanted: 3, ready: 2 },
    { at: 4, wanted: 3, ready: 3 },
    { at: 5, wanted: 3, ready: 3 },
  ]);
  expect(all.map(({ startsMs }) => startsMs)).toEqual([[], [], [2_000, 2_000], [4_000], []]);
});

test('the start time of a replica that was starting before the first sample is unknown', () => {
  const { all } = observeAll([
    { at: 0, wanted: 2, ready: 1 },
    { at: 1, wanted: 2, ready: 1, scaledTo: 3 },
    { at: 2, wanted: 3, ready: 2 },
    { at: 3, wanted: 3, ready: 3 },
  ]);
  expect(all.map(({ startsMs }) => startsMs)).toEqual([[], [], [], [2_000]]);
});

test('an idle pool costs next to nothing to remember', () => {
  const { kept } = observeAll(
    Array.from({ length: 1_000 }, (_, i) => ({ at: 30 * i, counted: [9, 9, 0, 0, 9] }) as const),
  );
  expect(kept?.curve).toEqual([]);
  expect(kept?.starts).toEqual([]);
});
