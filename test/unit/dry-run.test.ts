/**
 * A pool in a dry run, while something else scales its target, or nothing does: it reports what an active pool would request
 * at that moment, and never counts on replicas that it only proposed.
 */
import { expect, test } from 'vitest';
import { noMemory, type Memory } from '../../controller/decide/decision.ts';
import { nothingKept, step } from '../../controller/act/step.ts';
import type { Target } from '../../controller/act/target.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { targetRule as policy } from '../support/policies.ts';

interface Seen {
  readonly wanted: number;
  readonly ready: number;
}

/** Five minutes in which 100 tasks wait, and each replica that is up runs one a second. Looks come every `everyS`. */
async function live(
  seen: (s: number) => Seen,
  { everyS = 1, rules = policy, dryRun = true } = {},
): Promise<{ readonly said: number[]; readonly memory: Memory }> {
  const said: number[] = [];
  let memory = noMemory;
  let completed = 0;
  for (let s = 0; s < 300; s += everyS) {
    const { wanted, ready } = seen(s);
    const never = (): Promise<never> => Promise.reject(new Error('a dry run touches nothing'));
    const target: Target = {
      observe: () =>
        Promise.resolve({ wanted, ready, existing: wanted, trouble: undefined, rollingOut: false }),
      members: never,
      raise: dryRun ? never : () => Promise.resolve(true),
      remove: never,
      keep: never,
    };
    completed += ready * everyS;
    const counters = {
      taken: completed + ready,
      completed,
      failed: 0,
      retried: 0,
      serviceUs: completed * 1e6,
      squaresS2: completed,
      squaredTasks: completed,
    };
    const runnable = { waiting: 100, due: 0, dueSoon: 0 };
    const load = { waiting: 100, inFlight: ready, workers: 0, leaving: 0, pausedQueues: 0 };
    const sample = { ...load, runnable, counters } as unknown as PoolSample;
    const made = await step({
      policy: rules,
      sampled: { kind: 'known', sample },
      target,
      memory,
      now: 1e12 + s * 1_000,
      dryRun,
      drains: undefined,
      unmanaged: 'WhenIdle',
      kept: nothingKept,
      identity: undefined,
    });
    said.push(made.decision.desired);
    ({ memory } = made.decision);
  }
  return { said, memory };
}

const constant = (replicas: number) => () => ({ wanted: replicas, ready: replicas });
/** Somebody else has 8 replicas instead of 3 from 30 s on, which are up `startS` later. */
const scaled = (startS: number) => (s: number) => ({
  wanted: s < 30 ? 3 : 8,
  ready: s < 30 + startS ? 3 : 8,
});

test.each([
  [0, 1, 20, 20],
  [0, 5, 20, 20],
  [3, 1, 32, 33],
  [3, 5, 27, 27],
])(
  'beside %i replicas, looked at every %i s, it says the same all the time',
  async (replicas, everyS, least, most) => {
    const { said, memory } = await live(constant(replicas), { everyS });
    const settled = said.slice(30 / everyS);
    expect([Math.min(...settled), Math.max(...settled)]).toEqual([least, most]);
    expect(memory.learned).toMatchObject({ starts: [], start: undefined });
  },
);

test('it learns the start times of replicas that something else starts, and nothing from its own proposals', async () => {
  expect((await live(scaled(12))).memory.learned?.start).toEqual({ mean: 12_000, deviation: 3_000, pods: 1 });
  // they came between two looks: nobody saw how long it took
  const between = scaled(0);
  expect((await live(between, { everyS: 5 })).memory.learned?.start).toBeUndefined();
  const plain = { ...policy, targetWaitMs: undefined, tasksPerReplica: 5 };
  expect((await live(between, { everyS: 5, rules: plain })).memory.starting?.start).toBeUndefined();
});

test('step limits count from the actual replicas, not from steps that were not made', async () => {
  const { said, memory } = await live(scaled(12), { rules: { ...policy, maxStepUp: { replicas: 4 } } });
  expect(said.slice(28, 32)).toEqual([7, 7, 12, 12]);
  expect(memory.changes).toEqual([]);
});

test('an active pool counts on what it asked for', async () => {
  const { memory } = await live(constant(3), { dryRun: false });
  expect(memory.learned?.starts).toHaveLength(1);
});
