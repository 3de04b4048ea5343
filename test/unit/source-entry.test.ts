/** What follows from several reads of a source: since when there is nothing to do, and how long its tasks have run. */
import { describe, expect, test } from 'vitest';
import {
  newSourceEntry,
  takeSource,
  touchSource,
  type SourceEntry,
} from '../../controller/sample/source-entry.ts';
import { notYet, type Sampled } from '../../controller/sample/sampled.ts';
import { combineSamples } from '../../queue/pool/pool-sample.ts';
import { queueSampleOf } from '../../queue/sources/read.ts';
import { listSource } from '../../queue/sources/list.ts';
import type { SourceCounts } from '../../queue/sources/source.ts';

const away: Sampled = { kind: 'unknown', reason: 'Unreachable', why: 'it is away' };

interface Read extends Partial<SourceCounts> {
  readonly at: number;
  /** A change was reported before it. */
  readonly touched?: boolean;
  readonly away?: boolean;
}

/** What is known after each of these reads, and the entry after the last one. */
function readsOf(...reads: readonly Read[]): { after: Sampled[]; entry: SourceEntry } {
  const entry = { ...newSourceEntry(listSource({ keys: ['jobs'] })), tracked: true };
  let before: Sampled = notYet;
  const after = reads.map(({ at, touched = false, away: isAway = false, ...parts }) => {
    if (touched) touchSource(entry);
    const none = { now: at, waiting: 0, inHand: 0, delayed: 0, due: 0, dueSoon: 0 };
    const sample = combineSamples([queueSampleOf({ ...none, ...parts })]);
    const sampled: Sampled = isAway ? away : { kind: 'known', sample };
    const read = { sampled, quiet: [], roundTripMs: 1, watched: [] };
    const taken = takeSource(entry, read, { readAt: at, before });
    before = taken.kind === 'known' ? { ...taken, readAt: at } : taken;
    entry.tracked = true;
    return before;
  });
  return { after, entry };
}

describe('there has been nothing to do', () => {
  test.each<[string, readonly Read[], number | undefined]>([
    ['since the first read that found nothing', [{ at: 1 }, { at: 2 }, { at: 3 }], 1],
    ['not while something waits', [{ at: 1 }, { at: 2, waiting: 1 }], undefined],
    ['not while something is in hand', [{ at: 1 }, { at: 2, inHand: 1 }], undefined],
    ['not while something is due', [{ at: 1 }, { at: 2, delayed: 1, due: 1 }], undefined],
    ['while something is due later', [{ at: 1 }, { at: 2, delayed: 1 }], 1],
    ['since the read after the last task', [{ at: 1 }, { at: 2, waiting: 1 }, { at: 3 }], 3],
    ['not at a change whose task was taken meanwhile', [{ at: 1 }, { at: 2, touched: true }], undefined],
    ['since the read after that', [{ at: 1 }, { at: 2, touched: true }, { at: 3 }], 3],
    ['since a read after the source was away', [{ at: 1 }, { at: 2, away: true }, { at: 3 }], 3],
  ])('%s', (_, reads, since) => {
    const last = readsOf(...reads).after.at(-1);
    expect(last?.kind === 'known' ? last.idleSince : 'unknown').toBe(since);
  });
});

describe('tasks have run', () => {
  const serviceUs = (...reads: readonly Read[]): number => {
    const last = readsOf(...reads).after.at(-1);
    return last?.kind === 'known' ? last.sample.counters.serviceUs : NaN;
  };

  test('as long as they were in hand, where finished ones are counted', () => {
    expect(
      serviceUs(
        { at: 1_000 },
        { at: 2_000, inHand: 2 },
        { at: 5_000, inHand: 1, finished: 1 },
        { at: 6_000, finished: 2 },
        { at: 90_000, finished: 2 },
      ),
    ).toBe((2 * 3_000 + 1_000) * 1e3);
  });

  test('for an unknown time, where none is counted', () => {
    expect(serviceUs({ at: 1_000, inHand: 2 }, { at: 2_000 })).toBe(0);
  });

  test('for no time while nobody looked', () => {
    expect(serviceUs({ at: 1_000, inHand: 1 }, { at: 2_000, away: true }, { at: 60_000, finished: 1 })).toBe(
      0,
    );
  });
});

test('where no change is reported, nothing is known of the time between reads', () => {
  const entry = newSourceEntry(listSource({ keys: ['jobs'] }));
  const none = { now: 1, waiting: 0, inHand: 0, delayed: 0, due: 0, dueSoon: 0 };
  const sampled: Sampled = { kind: 'known', sample: combineSamples([queueSampleOf(none)]) };
  const read = { sampled, quiet: [], roundTripMs: 1, watched: [] };
  for (const readAt of [1, 2, 3]) takeSource(entry, read, { readAt, before: sampled });
  expect(entry.idleSince).toBeUndefined();
});
