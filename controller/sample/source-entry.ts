/** The sampler's state of a source from one read to the next: what only several reads together show. */
import type { Watched } from '../../queue/sources/ask.ts';
import type { Source } from '../../queue/sources/source.ts';
import type { QueuesRead } from './read.ts';
import type { Sampled } from './sampled.ts';

export interface SourceEntry {
  readonly source: Source;
  /** The keys whose changes wake the pool, as of the last read. */
  watched: readonly Watched[];
  /** The keys that the wake listens to. */
  armed: readonly Watched[];
  /** Whether each change of these keys is reported, so that no task comes and goes unseen between two reads. */
  tracked: boolean;
  /** A key has changed since the last read, or may have while changes were not reported. */
  touched: boolean;
  /** Since when every read has found nothing to do and no key has changed, by performance.now(). */
  idleSince: number | undefined;
  /** Estimate of the total time for which tasks have run, from the numbers in hand, µs. */
  ranUs: number;
}

export function newSourceEntry(source: Source): SourceEntry {
  return { source, watched: [], armed: [], tracked: false, touched: false, idleSince: undefined, ranUs: 0 };
}

/** After a read that began at `readAt`; `before`: the sample before it. Returns what is known now. */
export function takeSource(
  entry: SourceEntry,
  { sampled, watched }: QueuesRead,
  { readAt, before }: { readonly readAt: number; readonly before: Sampled },
): Sampled {
  entry.watched = watched ?? entry.watched;
  if (sampled.kind === 'unknown') {
    entry.idleSince = undefined;
    return sampled;
  }
  const { sample } = sampled;
  const nothing = sample.waiting + sample.inFlight + sample.due === 0;
  // a change without anything to be seen was a task that a worker has taken meanwhile
  const idle = nothing && entry.tracked && !entry.touched;
  entry.touched = false;
  entry.idleSince = idle ? (entry.idleSince ?? readAt) : undefined;
  // not by the clock of Redis, which may have been set meanwhile
  if (before.kind === 'known' && before.readAt !== undefined)
    entry.ranUs += 1_000 * (readAt - before.readAt) * before.sample.inFlight;
  // no library sums up how long its tasks took: by Little's law, what was in hand over time is that
  const { counters } = sample;
  const counted = counters.completed > 0 ? { ...counters, serviceUs: Math.round(entry.ranUs) } : counters;
  return {
    ...sampled,
    sample: { ...sample, counters: counted },
    ...(entry.idleSince !== undefined && { idleSince: entry.idleSince }),
  };
}

/** A key has changed, or may have: the next change of it is reported only once it is tracked anew. */
export function touchSource(entry: SourceEntry | undefined): void {
  if (entry) Object.assign(entry, { touched: true, tracked: false });
}
