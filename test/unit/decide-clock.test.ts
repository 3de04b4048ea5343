/** Clocks that are set, invalid samples and invalid memories: the result is still a whole number. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Memory, type Policy, type Sample } from '../../controller/decide/decision.ts';
import { packMemory, unpackMemory } from '../../controller/records/memory.ts';
import { targetRule as policy } from '../support/policies.ts';

const T0 = 1_764_300_000_000;
const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const YEAR = 8_766 * HOUR;
const STEPS = [-YEAR, -HOUR, -10 * SECOND, 10 * SECOND, HOUR, YEAR];

const look = (waiting: number, inFlight = 0, done = 0): Sample => ({
  kind: 'known',
  waiting,
  inFlight,
  due: 0,
  leaving: 0,
  counters: { taken: done + inFlight, completed: done, failed: 0, retried: 0, serviceUs: done * 900_000 },
});

/**
 * Three tasks of 0.9 s come a second to a pool whose replicas take 5 s to start; at some seconds the clock is set, at others a
 * controller takes over. Returns the replicas at each second; `steady`: durations go by a clock that nobody sets.
 */
function live(
  rules: Policy,
  seconds: number,
  sets: Record<number, number>,
  takesOver: number[] = [],
  steady?: 'steady',
): number[] {
  let memory = noMemory;
  let clock = T0;
  let waiting = 0;
  let done = 0;
  const replicas = [0];
  for (let second = 1; second <= seconds; second++) {
    clock += SECOND + (sets[second] ?? 0);
    if (takesOver.includes(second))
      memory = unpackMemory(packMemory(memory, ['q']) ?? '', ['q'], clock) ?? noMemory;
    const current = replicas.at(-1) ?? 0;
    const ready = Math.min(current, replicas.at(-6) ?? 0);
    waiting += 3;
    const runs = Math.min(ready, waiting);
    waiting -= runs;
    done += runs;
    const now = steady ? T0 + second * SECOND : clock;
    const decision = decide(rules, look(waiting, runs, done), current, memory, now, ready, clock);
    expect(decision.desired).toSatisfy(Number.isSafeInteger);
    expect(decision.forgot).toBeUndefined();
    ({ memory } = decision);
    replicas.push(decision.desired);
  }
  return replicas;
}

describe('a clock that is set', () => {
  test.each(STEPS)('by %d ms, beside one that is steady: every decision is as before', (ms) => {
    expect(live(policy, 60, { 4: ms }, [], 'steady')).toEqual(live(policy, 60, {}, [], 'steady'));
  });

  test.each(STEPS.filter((ms) => ms < 0))(
    'by %d ms, and the only one: the pool is scaled as before',
    (ms) => {
      const [undisturbed, disturbed] = [live(policy, 60, {}), live(policy, 60, { 4: ms })].map((all) =>
        all.at(-1),
      );
      expect(disturbed).toBeGreaterThanOrEqual(3);
      expect(Math.abs((disturbed ?? 0) - (undisturbed ?? 0))).toBeLessThanOrEqual(1);
    },
  );

  test.each(STEPS)('by %d ms between two controllers: so it is', (ms) => {
    const [undisturbed, disturbed] = [{}, { 40: ms }].map((sets) => live(policy, 80, sets, [40]).at(-1));
    expect(Math.abs((disturbed ?? 0) - (undisturbed ?? 0))).toBeLessThanOrEqual(1);
  });

  test('back by an hour: a limit on steps lasts 15 s, as ever', () => {
    const limited = { ...policy, targetWaitMs: undefined, maxStepUp: { replicas: 1 } };
    const first = decide(limited, look(50), 1, noMemory, T0);
    expect(first.desired).toBe(2);
    const back = T0 - HOUR;
    const second = decide(limited, look(50), 2, first.memory, back);
    expect(decide(limited, look(50), 2, second.memory, back + 16 * SECOND).desired).toBe(3);
  });

  test('back by an hour: a window of 60 s lasts as long, and what it keeps goes', () => {
    const windowed = { ...policy, targetWaitMs: undefined, windowMs: 60 * SECOND };
    const seasoned: Memory = { since: T0 - HOUR, knownAt: T0 - SECOND, needs: [] };
    let { memory } = decide(windowed, look(200), 40, seasoned, T0);
    ({ memory } = decide(windowed, look(0), 40, memory, T0 - HOUR));
    expect(decide(windowed, look(0), 40, memory, T0 - HOUR + 50 * SECOND).desired).toBe(40);
    expect(decide(windowed, look(0), 40, memory, T0 - HOUR + 61 * SECOND).desired).toBe(0);
  });

  test('back by an hour while the queue cannot be read: the fallback comes when it should', () => {
    const careful = { ...policy, fallback: { afterMs: 30 * SECOND, replicas: 7 } };
    const away: Sample = { kind: 'unknown', why: 'Redis is away' };
    let { memory } = decide(careful, look(0), 1, noMemory, T0);
    ({ memory } = decide(careful, away, 1, memory, T0 - HOUR));
    expect(decide(careful, away, 1, memory, T0 - HOUR + 29 * SECOND).desired).toBe(1);
    expect(decide(careful, away, 1, memory, T0 - HOUR + 31 * SECOND).desired).toBe(7);
  });

  test('schedules go by the wall clock, durations by the other one', () => {
    const nine = T0 + HOUR;
    const hours = { lastStart: (at: number) => (at >= nine ? nine : undefined), nextStart: () => nine };
    const schedule = { name: 'day', durationMs: HOUR, minReplicas: 5, maxReplicas: undefined, ...hours };
    const scheduled = { ...policy, schedules: [schedule] };
    expect(decide(scheduled, look(0), 0, noMemory, 5, 0, nine - 1)).toMatchObject({
      desired: 0,
      decideAgainAt: nine,
    });
    expect(decide(scheduled, look(0), 0, noMemory, 6, 0, nine).desired).toBe(5);
  });
});

describe('a memory that another clock has written', () => {
  const { memory } = decide(policy, look(9, 3, 40), 3, noMemory, 70_000, 3, T0);
  const text = packMemory(memory, ['q'], T0 - 70_000) ?? '';

  test('stores times since the epoch, and is restored onto the clock of its reader', () => {
    expect((JSON.parse(text) as { memory: Memory }).memory).toMatchObject({ since: T0, learned: { at: T0 } });
    const kept = unpackMemory(text, ['q'], 3_000, T0 + 2_000);
    expect(kept).toMatchObject({
      since: 1_000,
      knownAt: 1_000,
      learned: { at: 1_000, curve: [{ at: 1_000 }] },
    });
  });

  test.each(STEPS)('is not from the future when the clock was set by %d ms', (ms) => {
    const { learned } = unpackMemory(text, ['q'], 3_000, T0 + ms) ?? {};
    for (const at of [
      learned?.at,
      ...[learned?.curve, learned?.idle.needs].flatMap((all) => all?.map((one) => one.at)),
    ])
      expect(at).toBeLessThanOrEqual(3_000);
  });
});

describe('nonsense', () => {
  test('in a sample is no sample: the pool holds', () => {
    for (const waiting of [Number.NaN, -1, Infinity, 1e300]) {
      const decision = decide(policy, { ...look(0), waiting } as Sample, 4, noMemory, T0);
      expect(decision).toMatchObject({ desired: 4, cause: 'Unknown' });
      expect(decision.reason).toBe('4: held, its counts make no sense (waiting)');
    }
  });

  test('is no sum of the times of many slots: sixteen lists of a thousand have more µs than 2^53 in a week', () => {
    const much = look(0, 16_000, 1e12) as Sample & { readonly kind: 'known' };
    const serviceUs = 16_000 * 7 * 24 * 3_600 * 1e6;
    const counters = { ...much.counters, serviceUs, squaresS2: 1e17, squaredTasks: 1e12 };
    const decision = decide(policy, { ...much, counters } as Sample, 50, noMemory, T0);
    expect(decision.cause).not.toBe('Unknown');
  });

  test('in the cost of a replay is in no reason', () => {
    let { memory } = decide(policy, look(0, 0, 40), 0, noMemory, T0, 0);
    ({ memory } = decide(policy, look(0, 0, 60), 0, memory, T0 + SECOND, 0));
    const replay = { up: 0, starts: [], served: 60, needs: [], cost: 0 };
    const replays = { long: { ...replay, cost: 1e9 }, short: replay, shorter: true };
    const poisoned = { ...memory, learned: { ...memory.learned, replays } } as Memory;
    const decision = decide(policy, look(0, 0, 60), 3, poisoned, T0 + 2 * SECOND, 3);
    expect(decision.forgot?.message).toBe('cost of longer keeping Infinity');
    expect(decision.reason).not.toContain('Infinity');
  });

  test('in learned values is discarded, and reported', () => {
    let { memory } = decide(policy, look(9, 3, 40), 3, noMemory, T0, 3);
    ({ memory } = decide(policy, look(9, 3, 60), 3, memory, T0 + SECOND, 3));
    const poisoned = {
      ...memory,
      learned: { ...memory.learned, start: { mean: -30_000, deviation: 0, pods: 3 } },
    };
    const decision = decide(policy, look(9, 3, 60), 3, poisoned as Memory, T0 + 2 * SECOND, 3);
    expect(decision.desired).toBe(3);
    expect(decision.reason).toMatch(/^3: 9 waiting.*; what was learned made no sense and is forgotten$/);
    expect(decision.forgot).toBeInstanceOf(Error);
    expect(decision.memory.learned?.start).toBeUndefined();
    expect(decide(policy, look(9, 3, 62), 3, decision.memory, T0 + 3 * SECOND, 3).forgot).toBeUndefined();
  });

  test('in the time of the last sample is not a time without one', () => {
    const { memory } = decide(policy, look(9, 3, 40), 3, noMemory, T0, 3);
    const careful: Policy = { ...policy, fallback: { afterMs: 5_000, replicas: 7 } };
    const away: Sample = { kind: 'unknown', why: 'away' };
    for (const knownAt of [-Infinity, Infinity, Number.NaN]) {
      const decision = decide(careful, away, 3, { ...memory, knownAt }, T0 + SECOND, 3);
      expect(decision).toMatchObject({ desired: 3, cause: 'Unknown', forgot: expect.any(Error) });
      expect(decision.memory.knownAt).toBeUndefined();
    }
  });

  test('in any one number of the memory is in no reason and no result', () => {
    let memory: Memory = noMemory;
    for (let i = 0; i < 3; i++) ({ memory } = decide(policy, look(0, 0, i), 0, memory, T0 + i * SECOND, 0));
    const numbers = JSON.stringify(memory).match(/-?\d+/g)?.length ?? 0;
    expect(numbers).toBeGreaterThan(20);
    for (let n = 0; n < numbers; n++) {
      for (const value of [Infinity, -Infinity, Number.NaN, -1, 1e300]) {
        const decision = decide(policy, look(0, 0, 4), 0, withNumber(memory, n, value), T0 + 3 * SECOND, 0);
        expect(decision.desired).toSatisfy(Number.isSafeInteger);
        expect(decision.reason).not.toMatch(/NaN|Infinity|undefined/);
      }
    }
  });

  const anyNumber = fc.oneof(
    fc.nat(1_000),
    fc.double(),
    fc.constantFrom(-1, -1e9, 0, 0.5, 1e18, 1e300, Infinity, -Infinity, Number.NaN),
  );
  const sample = fc.record({
    kind: fc.constant('known' as const),
    waiting: fc.oneof({ weight: 5, arbitrary: fc.nat(1_000) }, anyNumber),
    inFlight: fc.oneof({ weight: 5, arbitrary: fc.nat(60) }, anyNumber),
    due: fc.oneof({ weight: 5, arbitrary: fc.nat(10) }, anyNumber),
    dueSoon: fc.nat(10),
    leaving: fc.constant(0),
    counters: fc.record({
      taken: fc.oneof({ weight: 5, arbitrary: fc.nat(1e6) }, anyNumber),
      completed: fc.oneof({ weight: 5, arbitrary: fc.nat(1e6) }, anyNumber),
      failed: fc.nat(100),
      retried: fc.nat(100),
      serviceUs: fc.oneof({ weight: 5, arbitrary: fc.nat(1e12) }, anyNumber),
    }),
  });
  const step = fc.record({
    sample: fc.oneof(
      { weight: 9, arbitrary: sample },
      { weight: 1, arbitrary: fc.constant({ kind: 'unknown' as const, why: 'away' }) },
    ),
    elapsed: fc.oneof(
      { weight: 6, arbitrary: fc.nat(3_000) },
      { weight: 1, arbitrary: fc.constantFrom(...STEPS) },
    ),
    wall: fc.constantFrom(...STEPS, 0, -3 * T0),
    ready: fc.nat(60),
    /** A number somewhere in the memory that becomes this one. */
    poison: fc.option(fc.tuple(fc.nat(400), anyNumber), { freq: 3 }),
  });
  const rules = fc.record({
    ...Object.fromEntries(Object.entries(policy).map(([name, value]) => [name, fc.constant(value)])),
    minReplicas: fc.constantFrom(0, 2),
    windowMs: fc.constantFrom(undefined, 0, 60_000),
    tasksPerReplica: fc.constantFrom(undefined, 3),
    targetWaitMs: fc.constantFrom(undefined, 1, 10_000, 30 * 24 * HOUR),
    slots: fc.constantFrom(1, 16),
    forecast: fc.boolean(),
    maxStepUp: fc.constantFrom(undefined, { replicas: 3 }),
    maxStepDown: fc.constantFrom(undefined, { percent: 10 }),
    fallback: fc.constantFrom(undefined, { afterMs: 5_000, replicas: 3 }),
  }) as fc.Arbitrary<Policy>;

  test('for any input, the result is a whole number within the bounds', () => {
    fc.assert(
      fc.property(rules, fc.array(step, { maxLength: 40 }), (chosen, steps) => {
        let memory: Memory = noMemory;
        let now = T0;
        let current = chosen.minReplicas;
        for (const { sample: seen, elapsed, wall, ready, poison } of steps) {
          now += elapsed;
          const before = poison ? withNumber(memory, ...poison) : memory;
          const decision = decide(chosen, seen, current, before, now, ready, now + wall);
          expect(decision.desired).toSatisfy(Number.isSafeInteger);
          expect(decision.desired).toBeGreaterThanOrEqual(chosen.minReplicas);
          expect(decision.desired).toBeLessThanOrEqual(chosen.maxReplicas);
          expect(decision.reason).not.toMatch(/NaN|Infinity|undefined/);
          current = decision.desired;
          ({ memory } = decision);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** `memory` with its n-th number another one. */
function withNumber(memory: Memory, n: number, value: number): Memory {
  let count = 0;
  const copy = (part: unknown): unknown => {
    if (typeof part === 'number') return count++ === n ? value : part;
    if (Array.isArray(part)) return part.map(copy);
    if (typeof part !== 'object' || part === null) return part;
    return Object.fromEntries(Object.entries(part).map(([name, inner]) => [name, copy(inner)]));
  };
  return copy(memory) as Memory;
}
