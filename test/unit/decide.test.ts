import { describe, expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Memory, type Policy, type Sample } from '../../controller/decide/decision.ts';
import { plainRule as policy } from '../support/policies.ts';

const known = (waiting: number, inFlight = 0, due = 0): Sample => ({
  kind: 'known',
  waiting,
  inFlight,
  due,
  leaving: 0,
});
const unknown: Sample = { kind: 'unknown', why: 'Redis is away' };
/** A memory of a pool that has run for long and needed nothing. */
const seasoned: Memory = { since: -1e9, knownAt: -1, needs: [] };

describe('the plain rule', () => {
  const rows: [string, Partial<Policy>, Sample, number, number, string | undefined][] = [
    ['nothing to do', {}, known(0), 0, 0, undefined],
    ['one task wakes one replica', {}, known(1), 0, 1, undefined],
    ['five tasks are one replica', {}, known(5), 0, 1, undefined],
    ['six are two', {}, known(6), 0, 2, undefined],
    ['in flight counts', {}, known(3, 8), 0, 3, undefined],
    ['due counts', {}, known(0, 0, 6), 0, 2, undefined],
    ['max is the ceiling', {}, known(1_000), 0, 10, 'max'],
    ['min is the floor', { minReplicas: 2 }, known(0), 0, 2, 'min'],
    ['min = max is fixed', { minReplicas: 4, maxReplicas: 4 }, known(500), 0, 4, 'max'],
  ];
  test.each(rows)('%s', (_, change, sample, current, desired, limited) => {
    const decision = decide({ ...policy, ...change }, sample, current, seasoned, 0);
    expect(decision).toMatchObject({ desired, limited });
    expect(decision.cause).toBe(desired > current ? 'ScaleUp' : 'Enough');
  });

  test('says what it did and why', () => {
    expect(decide(policy, known(12), 0, seasoned, 0).reason).toBe(
      '0→3: 12 waiting, 0 in flight, 5 tasks a replica',
    );
    expect(decide(policy, known(1_000), 3, seasoned, 0).reason).toBe(
      '3→10: 1000 waiting, 0 in flight, 5 tasks a replica, maxReplicas 10',
    );
  });
});

/** Runs rows of [time s, waiting, expected replicas] against one pool and returns what it did. */
function run(
  rows: readonly [number, number | 'unknown', number][],
  change: Partial<Policy> = {},
  start = seasoned,
): void {
  let memory = start;
  let replicas = 0;
  for (const [seconds, waiting, expected] of rows) {
    const sample = waiting === 'unknown' ? unknown : known(waiting);
    const decision = decide({ ...policy, ...change }, sample, replicas, memory, seconds * 1_000);
    ({ memory } = decision);
    replicas = decision.desired;
    expect({ seconds, replicas, reason: decision.reason }).toMatchObject({ seconds, replicas: expected });
  }
}

describe('scale-in', () => {
  test('waits until the window never needed more', () => {
    run([
      [0, 50, 10],
      [10, 0, 10],
      [59, 0, 10],
      [60, 0, 0],
    ]);
  });
  test('goes down to the highest need within the window, not to the current one', () => {
    run([
      [0, 50, 10],
      [30, 15, 10],
      [50, 0, 10],
      [60, 0, 3],
      [89, 0, 3],
      [90, 0, 0],
    ]);
  });
  test('a rise within the window restarts it', () => {
    run([
      [0, 50, 10],
      [59, 50, 10],
      [60, 0, 10],
      [118, 0, 10],
      [119, 0, 0],
    ]);
  });
  test('goes up immediately, regardless of the window', () => {
    run([
      [0, 5, 1],
      [1, 50, 10],
      [2, 0, 10],
      [3, 50, 10],
    ]);
  });
  test('a window of zero follows the queue', () =>
    run(
      [
        [0, 50, 10],
        [1, 0, 0],
        [2, 10, 2],
        [3, 5, 1],
      ],
      { windowMs: 0 },
    ));
  test('a lowered maximum applies immediately', () => {
    const first = decide(policy, known(50), 0, seasoned, 0);
    const then = decide({ ...policy, maxReplicas: 4 }, known(50), 10, first.memory, 1_000);
    expect(then).toMatchObject({ desired: 4, cause: 'ScaleDown' });
  });
  test('a lowered maximum is the reason, where the others are needed still, or were in the window', () => {
    const first = decide(policy, known(50), 0, seasoned, 0);
    const lower = { ...policy, maxReplicas: 4 };
    const needed = decide(lower, known(50), 10, first.memory, 1_000);
    expect(needed.reason).toBe('10→4: 50 waiting, 0 in flight, 5 tasks a replica, maxReplicas 4');
    expect(needed.numbers.kept).toBeUndefined();
    const kept = decide(lower, known(5), 10, first.memory, 1_000);
    expect(kept.reason).toBe(
      '10→4: 5 waiting, 0 in flight, 5 tasks a replica; 1 would do, and of the others maxReplicas 4 allows no more',
    );
    expect(kept.numbers.kept).toBe(10);
  });
  test('after a restart it holds for a window, because earlier needs are unknown', () => {
    let memory = noMemory;
    for (const [now, desired] of [
      [0, 7],
      [30_000, 7],
      [59_999, 7],
      [60_000, 0],
    ] as const) {
      const decision = decide(policy, known(0), 7, memory, now);
      ({ memory } = decision);
      expect(decision.desired, `at ${now}`).toBe(desired);
    }
  });
  test('remembers no more than it needs', () => {
    let memory = seasoned;
    for (let i = 0; i < 10_000; i++)
      ({ memory } = decide(policy, known((i * 7919) % 50), 10, memory, i * 100));
    expect(memory.needs.length).toBeLessThanOrEqual(11);
  });
});

describe('a sample that failed is no zero', () => {
  test('holds', () =>
    run([
      [0, 25, 5],
      [1, 'unknown', 5],
      [1_000, 'unknown', 5],
      [100_000, 'unknown', 5],
    ]));
  test('does not count towards the window', () => {
    run([
      [0, 25, 5],
      [1, 'unknown', 5],
      [59, 'unknown', 5],
      [61, 0, 0],
    ]);
  });
  test('holds the floor that the user set', () => {
    expect(decide({ ...policy, minReplicas: 2 }, unknown, 0, noMemory, 0).desired).toBe(2);
  });
  test('is raised to the fallback, once blind for long enough, and never lowered', () => {
    const fallback = { afterMs: 60_000, replicas: 3 };
    run(
      [
        [0, 5, 1],
        [1, 'unknown', 1],
        [59, 'unknown', 1],
        [60, 'unknown', 3],
      ],
      { fallback },
    );
    run(
      [
        [0, 25, 5],
        [61, 'unknown', 5],
      ],
      { fallback },
    );
  });
  test('reports since when and why', () => {
    const { memory } = decide(policy, known(5), 0, seasoned, 0);
    const blind = { ...policy, fallback: { afterMs: 60_000, replicas: 3 } };
    expect(decide(blind, unknown, 1, memory, 90_000).reason).toBe(
      '1→3: fallback, the queue could not be read for 90 s (Redis is away)',
    );
    expect(decide(policy, unknown, 1, memory, 90_000).reason).toBe('1: held, Redis is away');
  });
});

describe('delayed tasks that fall due while a replica starts', () => {
  const soon = (dueSoon: number): Sample => ({ ...known(0), dueSoon }) as Sample;
  test('count as tasks do', () =>
    expect(decide(policy, soon(6), 0, seasoned, 0)).toMatchObject({
      desired: 2,
      reason: '0→2: 0 waiting, 0 in flight, 6 due soon, 5 tasks a replica',
    }));

  test('the lookahead is learned from the start times of replicas', () => {
    const look = (sample: Sample, current: number, ready: number, memory: Memory, now: number) =>
      decide(policy, sample, current, memory, now, ready);
    const asked = look(known(1), 0, 0, seasoned, 0);
    expect(asked).toMatchObject({ desired: 1, startMs: 2_000 });
    const waiting = look(known(1), 1, 0, asked.memory, 4_000);
    const up = look(known(1), 1, 1, waiting.memory, 8_000);
    expect(up.startMs).toBe(10_000);
    expect(look(unknown, 1, 1, up.memory, 9_000).startMs).toBe(10_000);
  });
});

test('paused: regardless of the queue, and it learns nothing meanwhile', () => {
  const decision = decide({ ...policy, paused: true }, known(50), 3, seasoned, 0);
  expect(decision).toMatchObject({ desired: 3, cause: 'Paused', memory: noMemory });
});

test('paused at a number of replicas: up immediately, down only while workers can be drained', () => {
  const pause = { replicas: 2, by: 'the annotation millrace.dev/paused-replicas' };
  const held: Policy = { ...policy, paused: true, pause };
  expect(decide(held, known(50), 0, seasoned, 0)).toMatchObject({
    desired: 2,
    cause: 'Paused',
    reason: '0→2: paused by the annotation millrace.dev/paused-replicas',
  });
  expect(decide(held, known(50), 5, seasoned, 0)).toMatchObject({ desired: 2, memory: noMemory });
  expect(decide(held, unknown, 0, seasoned, 0).desired).toBe(2);
  expect(decide(held, unknown, 5, seasoned, 0)).toMatchObject({
    desired: 5,
    reason:
      '5: paused by the annotation millrace.dev/paused-replicas, 2 once the queue can be read (Redis is away)',
  });
});
