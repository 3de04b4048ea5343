/** What a pool has learned, as text in Redis: what is restored, and which memories are ignored. */
import { describe, expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Memory } from '../../controller/decide/decision.ts';
import { packMemory, unpackMemory } from '../../controller/records/memory.ts';
import { targetRule as policy } from '../support/policies.ts';

const NOW = 1_764_000_000_000;
const queues = ['urgent', 'tiles'];

/** After a burst that five replicas, of which three are still starting, work on. */
function busy(): Memory {
  let memory = noMemory;
  for (let second = 10; second >= 0; second--) {
    const completed = 10 * (10 - second);
    const counters = { taken: completed + 2, completed, failed: 0, retried: 0, serviceUs: completed * 1e6 };
    const sample = { kind: 'known', waiting: 40, inFlight: 2, due: 0, leaving: 0, counters } as const;
    ({ memory } = decide(policy, sample, 5, memory, NOW - 1_000 * second, 2));
  }
  return memory;
}
const memory = busy();
const text = packMemory(memory, queues) ?? '';

test('is restored unchanged, except for starting replicas, whose readiness was not observed', () => {
  expect(memory.learned?.starts).not.toEqual([]);
  const kept = unpackMemory(text, queues, NOW + 15_000);
  expect(kept).toEqual({ ...memory, learned: { ...memory.learned, starts: [], unfetchedSince: undefined } });
});

test('a start whose end was not observed teaches nothing', () => {
  const kept = unpackMemory(text, queues, NOW + 20_000) ?? noMemory;
  const counters = { taken: 142, completed: 140, failed: 0, retried: 0, serviceUs: 140e6 };
  const sample = { kind: 'known', waiting: 0, inFlight: 2, due: 0, leaving: 0, counters } as const;
  expect(decide(policy, sample, 5, kept, NOW + 20_000, 5).memory.learned?.start).toEqual(
    memory.learned?.start,
  );
});

test('after a long gap nothing is known of the last window: the pool holds what it has', () => {
  const kept = unpackMemory(text, queues, NOW + 3_600_000);
  expect(kept).toMatchObject({ since: undefined, needs: [], learned: { service: memory.learned?.service } });
  const { counters } = memory.learned ?? {};
  const idle = { kind: 'known', waiting: 0, inFlight: 0, due: 0, leaving: 0 } as const;
  const seen = { ...idle, ...(counters && { counters }) };
  expect(decide(policy, seen, 7, kept ?? noMemory, NOW + 3_600_000).desired).toBe(7);
});

test('from a clock that was ahead, the times are not believed', () => {
  const kept = unpackMemory(text, queues, NOW - 5_000);
  expect(kept?.learned).toMatchObject({ at: NOW - 5_000, curve: [], service: memory.learned?.service });
});

describe('is not believed', () => {
  const changed = (change: object): string => JSON.stringify({ ...JSON.parse(text), ...change });
  test.each([
    ['no JSON', '{"version":1,'],
    ['nothing', 'null'],
    ['another version', changed({ version: 2 })],
    ['other queues', changed({ queues: ['tiles'] })],
    ['no memory', changed({ memory: undefined })],
    ['a memory without what it is for', changed({ memory: { needs: [] } })],
    ['what is far too long', changed({ more: 'x'.repeat(70_000) })],
  ])('%s', (_, broken) => expect(unpackMemory(broken, queues, NOW)).toBeUndefined());
});

describe('with one value of it changed, it is refused, or it decides as any other', () => {
  const whole = JSON.parse(text) as object;
  const paths = pathsIn(whole);
  const idle = { kind: 'known', waiting: 0, inFlight: 0, due: 0, leaving: 0 } as const;

  test.each([
    ['1e300', 1e300],
    ['-1e300', -1e300],
    ['1e999', Infinity],
    ['0.5', 0.5],
    ['-1', -1],
    ['a text', 'text'],
    ['a long list', Array.from({ length: 2_000 }, () => 1)],
    ['null', null],
    ['a list', []],
    ['an object', {}],
    ['true', true],
  ])('%s', (_, value) => {
    let refused = 0;
    for (const path of paths) {
      // as JSON writes it, Infinity is null
      const changed = JSON.stringify(replaced(whole, path, value === Infinity ? 'INFINITY' : value));
      const kept = unpackMemory(changed.replace('"INFINITY"', '1e999'), queues, NOW + 15_000);
      if (!kept) refused++;
      const counters = { taken: 142, completed: 140, failed: 0, retried: 0, serviceUs: 140e6 };
      const { desired } = decide(policy, { ...idle, counters }, 5, kept ?? noMemory, NOW + 16_000, 5);
      expect(Number.isInteger(desired) && desired >= 0 && desired <= 50, path.join('.')).toBe(true);
    }
    expect(refused).toBeGreaterThan(0);
  });
});

function pathsIn(value: unknown, above: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [above];
  const below = Object.entries(value).flatMap(([name, part]) => pathsIn(part, [...above, name]));
  return above.length === 0 ? below : [above, ...below];
}

function replaced(value: unknown, [name, ...rest]: readonly string[], by: unknown): unknown {
  if (name === undefined) return by;
  const part = (value as Record<string, unknown>)[name];
  return Array.isArray(value)
    ? value.with(Number(name), replaced(part, rest, by))
    : { ...(value as object), [name]: replaced(part, rest, by) };
}

test('of a large pool after years it is restored, whatever its slots have added up to', () => {
  let large = noMemory;
  for (let second = 10; second >= 0; second--) {
    const completed = 3e12 + 10_000 * (10 - second);
    const times = { serviceUs: completed * 1e5, squaresS2: completed * 1e4, squaredTasks: completed };
    const counters = { taken: completed, completed, failed: 0, retried: 0, ...times };
    const sample = { kind: 'known', waiting: 40, inFlight: 200_000, due: 0, leaving: 0, counters } as const;
    ({ memory: large } = decide(policy, sample, 50, large, NOW - 1_000 * second, 50));
  }
  const { learned } = large;
  if (!learned) throw new Error('nothing was learned');
  // each ms, 200,000 slots
  const curve = learned.curve.map((point) => ({ ...point, runMs: point.runMs + 3e15 }));
  const kept = packMemory({ ...large, learned: { ...learned, curve } }, queues) ?? '';
  expect(unpackMemory(kept, queues, NOW)?.learned?.counters).toEqual(learned.counters);
});

test('is as small while thousands of replicas come up', () => {
  const counters = { taken: 0, completed: 0, failed: 0, retried: 0, serviceUs: 0 };
  const sample = { kind: 'known', waiting: 40_000, inFlight: 0, due: 0, leaving: 0, counters } as const;
  const wide = { ...policy, maxReplicas: 20_000 };
  const first = decide(wide, sample, 20_000, noMemory, NOW - 2_000, 0);
  const then = decide(wide, sample, 20_000, first.memory, NOW - 1_000, 20_000);
  expect(then.memory.learned?.start?.pods).toBe(1);
  expect(packMemory(then.memory, queues)?.length).toBeLessThan(5_000);
});

test('there is nothing to keep before anything was learned', () =>
  expect(packMemory(noMemory, queues)).toBeUndefined());
