/** Ten seconds of a pool as one entry, and entries as text. */
import { describe, expect, test } from 'vitest';
import type { Observation } from '../../controller/observe/observation.ts';
import {
  beginStretch,
  entryOf,
  extendStretch,
  isEventful,
  standingOf,
  type Stretch,
} from '../../controller/records/timeline.ts';
import { packEntry, parseEntry, type TimelineEntry } from '../../queue/pool/timeline.ts';
import { observation } from '../support/observations.ts';

const empty = standingOf(observation());

function stretchOf(looks: readonly Partial<Observation>[], from = 0): Stretch {
  return looks.reduce<Stretch>(
    (stretch, look) => extendStretch(stretch, observation(look)),
    beginStretch(from, empty),
  );
}

test('means are weighted by time, not by samples', () => {
  const stretch = stretchOf([
    { at: 1_000, waiting: 10, replicas: 2 },
    { at: 1_010, waiting: 10, replicas: 2 },
    { at: 6_000, waiting: 4, replicas: 2, ready: 2, inFlight: 2 },
  ]);
  expect(entryOf(stretch, 10_000)).toMatchObject({
    spanMs: 10_000,
    waiting: (5 * 10 + 4 * 4) / 10,
    mostWaiting: 10,
    replicas: 1.8,
    ready: 0.8,
    inFlight: 0.8,
  });
});

test('sums, waits and starts of all samples', () => {
  const stretch = stretchOf([
    { at: 1_000, arrived: 20, taken: 15, completed: 5, serviceMs: 2_500.4, startsMs: [900, 1_100] },
    { at: 2_000, taken: 5, failed: 1, retried: 2, waits: [{ waitMs: 100, tasks: 19 }], dead: 1, delayed: 2 },
    { at: 3_000, waits: [{ waitMs: 9_000, tasks: 1 }], desired: 3, dead: 1, delayed: 2 },
  ]);
  expect(entryOf(stretch, 10_000)).toMatchObject({
    arrived: 20,
    taken: 20,
    completed: 5,
    failed: 1,
    retried: 2,
    serviceMs: 2_500,
    waitP50Ms: 100,
    waitP95Ms: 100,
    waitMaxMs: 9_000,
    starts: 2,
    startMs: 2_000,
    desired: 3,
    dead: 1,
    delayed: 2,
  });
});

test('the largest burst, and its time', () => {
  const stretch = stretchOf(
    [
      { at: 51_000, arrived: 2 },
      { at: 52_500, arrived: 40 },
      { at: 53_000, arrived: 3 },
    ],
    50_000,
  );
  expect(entryOf(stretch, 60_000)).toMatchObject({ arrived: 45, peak: 40, peakMs: 2_500 });
});

test('an unreadable queue is recorded as such', () => {
  const stretch = stretchOf([
    { at: 2_000, known: false, waiting: 7 },
    { at: 5_000, waiting: 7 },
  ]);
  expect(entryOf(stretch, 10_000).blindMs).toBe(3_000);
});

describe('something has happened', () => {
  test.each<[string, Partial<Observation>, boolean]>([
    ['nothing', { at: 99, sinceMs: 30_000, cause: 'Unknown', reason: 'other words' }, false],
    ['a task came and went', { arrived: 1, taken: 1 }, true],
    ['tasks wait', { waiting: 1 }, true],
    ['a replica came up', { startsMs: [700] }, true],
    ['another number is wanted', { desired: 1 }, true],
    ['the queue cannot be read any more', { known: false }, true],
  ])('%s', (_, look, expected) => expect(isEventful(observation(look), empty)).toBe(expected));
});

describe('an entry as text', () => {
  const entry: TimelineEntry = {
    at: 1_764_000_000_000,
    ...entryOf(stretchOf([{ at: 1_000, waiting: 7, replicas: 3, arrived: 9 }]), 10_000),
  };
  const { at, ...rest } = entry;
  test('comes back', () => expect(parseEntry(`${at}-3`, packEntry(rest))).toEqual(entry));
  test('is short', () => expect(packEntry(rest)).toBe('10000 6.3 0 2.7 0 0 7 9 0 0 0 0 0 0 9 1000'));
  test('with numbers that a later version adds', () =>
    expect(parseEntry(`${at}-0`, `${packEntry({ ...rest, blindMs: 1 })} 77 78`)).toEqual({
      ...entry,
      blindMs: 1,
    }));
  test.each([undefined, '', 'hello', '0', '10000 x'])('%o is none', (text) =>
    expect(parseEntry('1-0', text)).toBeUndefined(),
  );
});
