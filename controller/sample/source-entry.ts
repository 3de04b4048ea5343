/** What the sampler keeps of a source from one read to the next: it follows from several reads, and is in none of them. */
import type { Watched } from '../../queue/sources/ask.ts';
import type { Source } from '../../queue/sources/source.ts';
import type { QueuesRead } from './read.ts';
import type { Sampled } from './sampled.ts';

export interface SourceEntry {
  readonly source: Source;
  /** The keys whose change wakes it, as of the last read. */
  watched: readonly Watched[];
  /** Those that the wake listens to. */
  armed: readonly Watched[];
  /** Since when it has had nothing to do, as far as any read or wake has shown, by performance.now(). */
  idleSince: number | undefined;
  /** How long its tasks have run in all, as far as the numbers in hand show, µs. */
  ranUs: number;
}

export function newSourceEntry(source: Source): SourceEntry {
  return { source, watched: [], armed: [], idleSince: undefined, ranUs: 0 };
}

/** After a read that began at `readAt`; `woken`: the wake caused it; `before`: the sample before it. Returns what is known now. */
export function takeSource(
  entry: SourceEntry,
  { sampled, watched }: QueuesRead,
  { woken, readAt, before }: { readonly woken: boolean; readonly readAt: number; readonly before: Sampled },
): Sampled {
  entry.watched = watched ?? entry.watched;
  if (sampled.kind === 'unknown') {
    entry.idleSince = undefined;
    return sampled;
  }
  const { sample } = sampled;
  // a wake without anything to be seen was about a task that a worker has taken meanwhile
  const idle = sample.waiting + sample.inFlight + sample.due === 0 && !woken;
  entry.idleSince = idle ? (entry.idleSince ?? readAt) : undefined;
  if (before.kind === 'known')
    entry.ranUs += 1_000 * Math.max(0, sample.now - before.sample.now) * before.sample.inFlight;
  // no library sums up how long its tasks took: by Little's law, what was in hand over time is that
  const { counters } = sample;
  const counted = counters.completed > 0 ? { ...counters, serviceUs: Math.round(entry.ranUs) } : counters;
  return {
    ...sampled,
    sample: { ...sample, counters: counted },
    ...(entry.idleSince !== undefined && { idleSince: entry.idleSince }),
  };
}
