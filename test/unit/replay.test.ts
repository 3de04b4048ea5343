/** What the replays of a pool's own arrivals find out, and what follows from it. */
import { describe, expect, test } from 'vitest';
import { shiftMemory } from '../../controller/decide/clock-shift.ts';
import { decide } from '../../controller/decide/decide.ts';
import type { Memory, Policy } from '../../controller/decide/decision.ts';
import { keepingBy } from '../../controller/decide/target-wait/replay.ts';
import type { Replays } from '../../controller/decide/target-wait/replay-state.ts';
import { packMemory, unpackMemory } from '../../controller/records/memory.ts';
import { cases } from '../../simulate/cases.ts';
import { figuresOf, type Figures } from '../../simulate/figures.ts';
import { millrace } from '../../simulate/millrace.ts';
import { createRandom } from '../../simulate/random.ts';
import { simulate, type Run } from '../../simulate/simulate.ts';
import { createTrace, type TaskTrace } from '../../simulate/trace.ts';
import { targetRule as policy } from '../support/policies.ts';

const TARGET_MS = 10_000;

/** Bursts that build up over some 15 s, after pauses of any length. */
function bursts(seed: number): TaskTrace {
  const random = createRandom(seed);
  const tasks: [number, number][] = [];
  for (let from = 0; from < 3_600_000; from += random.exponential(30_000)) {
    const until = from + random.exponential(15_000);
    for (let at = from; at < until; at += random.exponential(100))
      tasks.push([at, random.lognormal(1_400, 1)]);
    from = until;
  }
  return createTrace('bursts', tasks);
}

interface Lived {
  readonly run: Run;
  readonly figures: Figures;
  readonly memory: Memory;
}

function lived(trace: TaskTrace, change: Partial<Policy> = {}, startMs = 5_000): Lived {
  const own = millrace({ ...policy, ...change });
  const run = simulate(trace, own, { startMs, slots: 1 });
  return { run, figures: figuresOf(trace, run, TARGET_MS), memory: own.memory };
}

const wave = cases.waves.find(({ name }) => name === 'wave of 1 s, 10 % of 30 s');
if (!wave) throw new Error('no such wave');

describe('where bursts build up, a kept replica saves about one start', () => {
  const all = [1, 2, 3].map((seed) => lived(bursts(seed)));
  const mean = (of: (figures: Figures) => number): number =>
    all.reduce((sum, { figures }) => sum + of(figures), 0) / all.length;

  test('the pool finds that out, and costs less', () => {
    expect(all.map(({ memory }) => memory.learned?.replays?.shorter)).toEqual([true, true, true]);
    expect(mean(({ cost }) => cost)).toBeLessThan(1.9);
    expect(mean(({ over }) => over)).toBeLessThan(0.001);
  });

  test('a decision names what keeping them longer would have cost', () => {
    const reasons = all.flatMap(({ run }) => run.decisions.map(({ reason }) => reason));
    expect(reasons).toContainEqual(
      expect.stringMatching(
        /; the others were not needed for longer than a start is worth: to keep them longer has cost \d+ % more$/,
      ),
    );
  });

  test('the memory is as small as before, good for JSON, and moves to another clock', () => {
    for (const { memory } of all) {
      expect(JSON.stringify(memory.learned?.replays).length).toBeLessThan(2_000);
      const text = packMemory(memory, ['q']) ?? '';
      const at = memory.learned?.at ?? 0;
      expect(unpackMemory(text, ['q'], at)?.learned?.replays).toEqual(memory.learned?.replays);
      const moved = shiftMemory(memory, 5_000).learned?.replays;
      expect(moved?.long.needs.map((need) => need.at)).toEqual(
        memory.learned?.replays?.long.needs.map((need) => need.at + 5_000),
      );
    }
  });
});

test('where all tasks of a burst come at once and soon again, replicas stay', () => {
  const { memory, run } = lived(wave.trace(1));
  expect(memory.learned?.replays?.shorter).toBe(false);
  const { long, short } = memory.learned?.replays ?? {};
  expect(short?.cost).toBeGreaterThan(1.1 * (long?.cost ?? Infinity));
  expect(run.starts).toBeLessThan(50);
});

test('an idle pool replays nothing', () => {
  const { memory } = lived(bursts(1));
  const { learned } = memory;
  if (!learned) throw new Error('nothing was learned');
  const sample = { kind: 'known', waiting: 0, inFlight: 0, due: 0, leaving: 0 } as const;
  let last = memory;
  const at = learned.at;
  for (let s = 30; s <= 600; s += 30)
    last = decide(policy, { ...sample, counters: learned.counters }, 0, last, at + 1_000 * s).memory;
  const before = last.learned?.replays;
  expect(before?.long).toMatchObject({ up: 0, starts: [] });
  last = decide(policy, { ...sample, counters: learned.counters }, 0, last, at + 630_000).memory;
  expect(last.learned?.replays).toBe(before);
});

test.each<[string, Partial<Policy>, number]>([
  ['a window decides', { windowMs: 5_000 }, 5_000],
  ['a start takes as long as the target, and is worth the same either way', {}, 10_000],
])('nothing is replayed where %s', (_, change, startMs) => {
  expect(lived(bursts(1), change, startMs).memory.learned?.replays).toBeUndefined();
});

describe('what was found is followed', () => {
  const replay = { up: 0, starts: [], served: 0, needs: [], cost: 120 };
  const replays: Replays = { long: replay, short: { ...replay, cost: 100 }, shorter: true };
  const service = { mean: 1_000, variance: 1_000 ** 2, tasks: 400, finished: 400, stretches: 9, fastMean: 1 };
  const keeping = (change: { over?: number; variance?: number; shorter?: boolean } = {}): unknown => {
    const { over = 0, variance = service.variance, shorter = true } = change;
    return keepingBy({ ...replays, shorter }, { over }, { ...service, variance }, 5_000, TARGET_MS);
  };
  const careful = { worth: 30_000 };

  test('with more caution where slots are given up', () => {
    expect(keeping()).toEqual({ worth: 15_000, releaseCaution: 4, longerCosts: expect.closeTo(0.2) });
  });
  test('only where it is cheaper', () => expect(keeping({ shorter: false })).toEqual(careful));
  test('only while tasks are in time', () => {
    expect(keeping({ over: 0.0005 })).not.toEqual(careful);
    expect(keeping({ over: 0.0006 })).toEqual(careful);
  });
  test('only where service times do not vary too much', () => {
    expect(keeping({ variance: 2_000 ** 2 })).not.toEqual(careful);
    expect(keeping({ variance: 2_001 ** 2 })).toEqual(careful);
  });
});
