/** The plan of a chaos run: the same for the same seed, and never without a kind of fault. */
import { expect, test } from 'vitest';
import { nameOf } from '../chaos/faults.ts';
import { createPlan } from '../chaos/plan.ts';
import { createRandom } from '../chaos/random.ts';
import { ATTEMPTS } from '../chaos/tasks.ts';

test('the same seed makes the same plan, another seed another one', () => {
  expect(createPlan(7, 5_000)).toEqual(createPlan(7, 5_000));
  expect(createPlan(7, 5_000)).not.toEqual(createPlan(8, 5_000));
});

test.each([1, 10, 3_000, 100_000])(
  '%i tasks and their batches are all pushed, each in one round',
  (count) => {
    const { tasks, rounds, batches } = createPlan(3, count);
    expect(tasks).toHaveLength(count);
    expect(new Set(rounds.flatMap((round) => round.batches))).toEqual(new Set(batches));
    expect(rounds.flatMap((round) => round.tasks)).toEqual(tasks);
  },
);

test('ids are unique, both queues get some, and every kind of task is there', () => {
  const { tasks } = createPlan(3, 20_000);
  expect(new Set(tasks.map(({ queue }) => queue))).toEqual(new Set([0, 1]));
  expect(new Set(tasks.map(({ id }) => id)).size).toBe(tasks.length);
  for (const holds of [
    (task: (typeof tasks)[number]) => task.outcome === 'dead' && task.attempts === 1,
    (task: (typeof tasks)[number]) => task.outcome === 'dead' && task.attempts === ATTEMPTS,
    (task: (typeof tasks)[number]) => task.outcome === 'result' && (task.attempts ?? 0) > 1,
    (task: (typeof tasks)[number]) => task.copies > 1,
    (task: (typeof tasks)[number]) => task.delayMs > 0,
    (task: (typeof tasks)[number]) => task.raw === task.id,
    (task: (typeof tasks)[number]) => task.raw.length > 10_000,
  ])
    expect(tasks.some(holds)).toBe(true);
});

test('faults come in order, and a run of eight rounds has every kind', () => {
  for (let seed = 0; seed < 20; seed++) {
    const { rounds } = createPlan(seed, 3_000);
    const kinds = new Set<string>();
    for (const { faults } of rounds) {
      const times = faults.map(({ afterMs }) => afterMs);
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      for (const { fault } of faults) kinds.add(nameOf(fault));
    }
    const named =
      'kill many,pause,redis SIGKILL,redis SIGTERM,plain-worker,evict,half-open worker,' +
      'forget,failover,split,redis-full,redis-refuses,clock-step';
    for (const kind of named.split(',')) expect(kinds).toContain(kind);
  }
});

test('random numbers fill their range evenly', () => {
  const random = createRandom(1, 'a test');
  const counts = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 10_000; i++) {
    const n = random.int(0, 9);
    counts[n] = (counts[n] ?? 0) + 1;
  }
  for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  expect(random.shuffled([1, 2, 3, 4]).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4]);
  expect(() => random.pick([])).toThrow(RangeError);
});
