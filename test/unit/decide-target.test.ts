/** The target rule from end to end: samples in, decisions out. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Decision, type Memory, type Sample } from '../../controller/decide/decision.ts';
import { insightOf } from '../../controller/decide/target-wait/insight.ts';
import { targetRule as policy } from '../support/policies.ts';

const look = (
  waiting: number,
  inFlight: number,
  taken: number,
  completed: number,
  meanMs = 1_000,
): Sample => ({
  kind: 'known',
  waiting,
  inFlight,
  leaving: 0,
  due: 0,
  counters: { taken, completed, failed: 0, retried: 0, serviceUs: completed * meanMs * 1_000 },
});

/** A pool that has run 1,000 tasks of 1 s, starts replicas in 2 s, and has nothing to do at 1,000 s. */
function seasoned(): Memory {
  let memory: Memory = noMemory;
  let replicas = 0;
  const steps: [number, Sample, number][] = [
    [0, look(0, 0, 0, 0), 0],
    [1, look(10, 0, 0, 0), 0],
    [3, look(5, 5, 5, 0), 5],
  ];
  for (let s = 4; s < 200; s++) steps.push([s, look(0, 5, 5 * (s - 1), 5 * (s - 2)), 5]);
  steps.push([200, look(0, 0, 1_000, 1_000), 5], [1_000, look(0, 0, 1_000, 1_000), 0]);
  for (const [s, sample, ready] of steps) {
    const current = s >= 1_000 ? 0 : Math.max(replicas, ready);
    const decision = decide(policy, sample, current, memory, s * 1_000, Math.min(ready, current));
    ({ memory } = decision);
    replicas = decision.desired;
  }
  return memory;
}

describe('a decision', () => {
  test('from zero to what a burst needs, in one step, and in words', () => {
    const decision = decide(policy, look(200, 0, 1_000, 1_000), 0, seasoned(), 1_000_500);
    // 200 s of work, and 10 s less the start of 2 s and something for the age
    expect(decision.desired).toBeGreaterThan(20);
    expect(decision.desired).toBeLessThan(32);
    expect(decision.reason).toBe(
      `0→${decision.desired}: 200 waiting, 1 s a task, 2.5 s to start, target 10 s`,
    );
    expect(decision.cause).toBe('ScaleUp');
  });

  test('starting replicas are counted on: the same sample again requests nothing more', () => {
    const first = decide(policy, look(200, 0, 1_000, 1_000), 0, seasoned(), 1_000_500);
    const again = decide(policy, look(200, 0, 1_000, 1_000), first.desired, first.memory, 1_000_501, 0);
    expect(again.desired).toBe(first.desired);
  });

  test('the replicas that are up serve the burst alone if they can', () => {
    const decision = decide(policy, look(20, 5, 1_005, 1_000), 5, seasoned(), 1_000_500, 5);
    expect(decision.desired).toBeLessThanOrEqual(5);
  });

  test('the maximum and the minimum hold', () => {
    const memory = seasoned();
    const most = decide({ ...policy, maxReplicas: 7 }, look(500, 0, 1_000, 1_000), 0, memory, 1_000_500);
    expect(most).toMatchObject({ desired: 7, limited: 'max' });
    const least = decide({ ...policy, minReplicas: 2 }, look(0, 0, 1_000, 1_000), 0, memory, 1_000_500);
    expect(least).toMatchObject({ desired: 2, limited: 'min' });
  });

  test('the plain rule takes part if the user set it, and while too little is known', () => {
    const both = { ...policy, tasksPerReplica: 1 };
    expect(decide(both, look(45, 0, 1_000, 1_000), 0, seasoned(), 1_000_500).desired).toBe(45);
    expect(decide(policy, look(50, 0, 0, 0), 0, noMemory, 0)).toMatchObject({
      desired: 10,
      reason: '0→10: 50 waiting, 0 in flight, 5 tasks a replica',
    });
    const { counters: _, ...uncounted } = look(50, 0, 0, 0) as Sample & { kind: 'known' };
    expect(decide(policy, uncounted, 0, seasoned(), 1_000_500).desired).toBe(10);
  });

  test('a guess takes no replica away before tasks have shown how long they are, whatever the window', () => {
    const brief = { ...policy, maxReplicas: 10, windowMs: 2_000 };
    const all = decide(brief, look(200, 0, 0, 0), 0, noMemory, 0);
    expect(all.desired).toBe(10);
    const none = decide(brief, look(200, 0, 0, 0), 10, all.memory, 2_500, 0);
    const first = decide(brief, look(199, 1, 1, 0), 10, none.memory, 3_000, 1);
    expect(first.desired).toBe(10);
    expect(first.reason).toBe(
      '10: 199 waiting, 1 in flight, 5 tasks a replica; 2 would do, but too few tasks have finished to be sure',
    );
    const short = decide(brief, look(180, 10, 20, 10), 10, first.memory, 4_000, 10);
    expect(short.desired).toBe(10);
    // more replicas than tasks are no guess
    const gone = decide(brief, look(0, 3, 3, 0), 10, first.memory, 6_000, 3);
    expect(gone.desired).toBe(3);
  });

  test('tasks that are due, or fall due while a replica starts, count as waiting', () => {
    const memory = seasoned();
    const known = look(0, 0, 1_000, 1_000) as Sample & { kind: 'known' };
    const due = decide(policy, { ...known, due: 200 }, 0, memory, 1_000_500).desired;
    expect(due).toBeGreaterThan(20);
    expect(decide(policy, { ...known, dueSoon: 1 }, 0, memory, 1_000_500)).toMatchObject({ desired: 1 });
    expect(decide(policy, { ...known, dueSoon: 200 }, 0, memory, 1_000_500).desired).toBeGreaterThan(15);
    const busy = look(1, 5, 1_006, 1_000) as Sample & { kind: 'known' };
    const soon = decide(policy, { ...busy, dueSoon: 300 }, 5, memory, 1_000_500).desired;
    expect(soon).toBeGreaterThan(decide(policy, busy, 5, memory, 1_000_500).desired);
  });

  test('a failed sample is not a zero, and discards nothing that was learned', () => {
    const memory = seasoned();
    const blind = decide(policy, { kind: 'unknown', why: 'Redis is away' }, 5, memory, 1_001_000);
    expect(blind).toMatchObject({ desired: 5, cause: 'Unknown' });
    expect(blind.memory.learned).toEqual(memory.learned);
  });

  test('steps are limited if the user says so', () => {
    const decision = decide(
      { ...policy, maxStepUp: { replicas: 4 } },
      look(200, 0, 1_000, 1_000),
      0,
      seasoned(),
      1_000_500,
    );
    expect(decision.desired).toBe(4);
    expect(decision.reason).toMatch(/^0→4: .*, \d+ in steps$/);
  });

  test('a task that woke a pool has waited since the wake, not since the last look', () => {
    const idle = decide(policy, look(0, 0, 0, 0), 0, noMemory, 0).memory;
    const first = look(1, 0, 0, 0);
    const ages = [29_900, undefined].map((quietUntil) => {
      const woken = decide(policy, { ...first, ...(quietUntil && { quietUntil }) }, 0, idle, 30_000);
      return decide(policy, look(100, 0, 0, 0), woken.desired, woken.memory, 31_000, 0).advice?.message;
    });
    expect(ages).toEqual([undefined, expect.stringMatching('tasks have waited for 16 s')]);
  });

  test('the share of late tasks is that of all that were seen, also of few', () => {
    let { memory } = decide(policy, look(100, 0, 0, 0), 0, noMemory, 0);
    // one a second from 1 s on: of 40, 30 waited for longer than 10 s
    for (let s = 1; s <= 40; s++)
      ({ memory } = decide(policy, look(100 - s, 1, s, s - 1), 1, memory, s * 1_000, 1));
    expect(memory.learned?.over).toBeCloseTo(0.75, 1);
  });

  test('what it learned is there to be read', () => {
    const { learned } = seasoned();
    if (!learned) throw new Error('nothing was learned');
    const { service, start } = insightOf(learned);
    expect(service?.mean).toBe(1_000);
    expect(start?.p50).toBe(2_000);
    expect(start?.p95).toBeGreaterThanOrEqual(2_000);
  });
});

test('after a restart without memory it holds what there is for a minute; with its memory it need not', () => {
  const idle = look(0, 0, 1_000, 1_000);
  let decision = decide(policy, idle, 7, noMemory, 2_000_000);
  expect(decision.desired).toBe(7);
  decision = decide(policy, idle, 7, decision.memory, 2_059_000);
  expect(decision.desired).toBe(7);
  decision = decide(policy, idle, 7, decision.memory, 2_060_000);
  expect(decision.desired).toBe(0);
  expect(decide(policy, idle, 7, seasoned(), 2_000_000).desired).toBe(0);
});

test('for any samples, it stays within bounds, and its memory is small and valid JSON', () => {
  const sample = fc.record({
    kind: fc.constant('known' as const),
    waiting: fc.nat(100_000),
    inFlight: fc.nat(1_000),
    leaving: fc.constant(0),
    due: fc.nat(10),
    counters: fc.record({
      taken: fc.nat(1e9),
      completed: fc.nat(1e9),
      failed: fc.nat(100),
      retried: fc.nat(100),
      serviceUs: fc.nat(1e12),
    }),
  });
  const step = fc.record({ sample, elapsed: fc.nat(100_000), current: fc.nat(60), ready: fc.nat(60) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let memory: Memory = noMemory;
      let now = 1e12;
      for (const { sample: seen, elapsed, current, ready } of steps) {
        now += elapsed;
        const decision: Decision = decide(
          { ...policy, minReplicas: 1, forecast: true },
          seen,
          current,
          memory,
          now,
          ready,
        );
        expect(Number.isInteger(decision.desired)).toBe(true);
        expect(decision.desired).toBeGreaterThanOrEqual(1);
        expect(decision.desired).toBeLessThanOrEqual(Math.max(50, 1));
        expect(decision.reason).not.toMatch(/NaN|Infinity|undefined/);
        const json = JSON.stringify(decision.memory);
        expect(json).not.toMatch(/:null/);
        expect(json.length).toBeLessThan(40_000);
        memory = JSON.parse(json) as Memory;
      }
    }),
    { numRuns: 200 },
  );
});

test('a memory that went through JSON decides the same', () => {
  const memory = seasoned();
  const copy = JSON.parse(JSON.stringify(memory)) as Memory;
  const sample = look(77, 3, 1_003, 1_000);
  const [one, other] = [memory, copy].map((from) => decide(policy, sample, 3, from, 1_000_500, 3));
  expect(other?.desired).toBe(one?.desired);
  expect(JSON.stringify(other)).toBe(JSON.stringify(one));
});

describe('a Redis that is slow to answer', () => {
  /** Tasks have been late, and wait beside 5 replicas that run nothing. */
  const late = (): Memory => {
    let memory = seasoned();
    for (let s = 1_001; s < 1_060; s++) {
      const taken = 1_000 + 4 * (s - 1_001);
      ({ memory } = decide(policy, look(200, 1, taken, taken - 1), 5, memory, s * 1_000));
    }
    return memory;
  };
  const redis = { server: 'redis:6379', roundTripMs: 800 };
  const sample = look(200, 1, 1_240, 1_239);

  test('is what the target is missed for, whether or not it can be read', () => {
    const memory = late();
    expect(decide(policy, sample, 5, memory, 1_060_000).advice?.reason).toBe('WorkersNotFetching');
    expect(decide(policy, { ...sample, redis }, 5, memory, 1_060_000).advice?.reason).toBe('RedisSaturated');
    const blind = { kind: 'unknown', why: 'Redis did not answer in time' } as const;
    expect(decide(policy, blind, 5, memory, 1_060_000).advice).toBeUndefined();
    expect(decide(policy, { ...blind, redis }, 5, memory, 1_060_000).advice?.reason).toBe('RedisSaturated');
  });
  test('is no matter without a target, or while no task is late', () => {
    const blind = { kind: 'unknown', why: 'Redis did not answer in time', redis } as const;
    expect(decide(policy, blind, 0, seasoned(), 1_001_000).advice).toBeUndefined();
    const plain = { ...policy, targetWaitMs: undefined };
    expect(decide(plain, blind, 5, late(), 1_060_000).advice).toBeUndefined();
  });
});
