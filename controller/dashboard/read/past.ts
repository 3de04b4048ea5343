/**
 * The history of a pool beyond the last quarter of an hour: its timeline in Redis, read on request. Requests for the same range
 * within ten seconds share one read, and a read that takes too long is aborted.
 */
import { within } from '../../../queue/connection/connection.ts';
import { readTimeline } from '../../../queue/pool/timeline.ts';
import type { PastRange, PoolPast } from '../api.ts';
import type { PoolSource } from '../board.ts';
import { recordKeysOf } from '../../sample/sampler.ts';
import { inSteps, stepsUntil } from './buckets.ts';

const RANGES = {
  '6h': { spanMs: 6 * 3_600_000, stepMs: 60_000 },
  '24h': { spanMs: 24 * 3_600_000, stepMs: 3 * 60_000 },
  '7d': { spanMs: 7 * 24 * 3_600_000, stepMs: 20 * 60_000 },
} as const satisfies Record<PastRange, { spanMs: number; stepMs: number }>;

const SHARED_MS = 10_000;
const TIMELINE_TIMEOUT_MS = 2_000;
/** As records/recorder.ts writes them. */
const ENTRY_MS = 10_000;

export interface PastReader {
  /** Rejects, with a human-readable message, if the timeline of the pool `namespace/name` cannot be read in time. */
  read(pool: string, range: PastRange): Promise<PoolPast>;
}

export function isPastRange(text: string | null): text is PastRange {
  return text !== null && Object.hasOwn(RANGES, text);
}

export function createPastReader(
  source: Pick<PoolSource, 'sampled' | 'queuesOf'>,
  now: () => number,
): PastReader {
  const reads = new Map<string, { readonly at: number; readonly past: Promise<PoolPast> }>();

  async function read(pool: string, range: PastRange): Promise<PoolPast> {
    const place = source.queuesOf(pool);
    if (!place || source.sampled(pool)?.kind !== 'known')
      throw new Error("the pool's Redis cannot be reached, and the timeline is there");
    const keys = recordKeysOf(place);
    const redis = place.redisOf(keys);
    const at = now();
    const { spanMs, stepMs } = RANGES[range];
    const steps = stepsUntil(at, spanMs, stepMs);
    const giveUp = new AbortController();
    const { signal } = giveUp;
    const reading = Promise.all([
      readTimeline(redis, keys, pool, { until: steps.from - 1, limit: 1 }),
      readTimeline(redis, keys, pool, { since: steps.from, signal }),
    ]);
    try {
      const [before, entries] = await within(TIMELINE_TIMEOUT_MS, reading, 'the timeline');
      const series = inSteps([...before, ...entries], steps, at);
      return { now: at, range, series, entries: entries.length, entryMs: ENTRY_MS };
    } catch (error) {
      giveUp.abort();
      throw new Error(`the timeline of the last ${range} could not be read: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  return {
    read: (pool, range) => {
      const at = now();
      for (const [name, one] of reads) if (at - one.at >= SHARED_MS) reads.delete(name);
      const name = `${pool} ${range}`;
      const { past } = reads.get(name) ?? { past: read(pool, range) };
      if (!reads.has(name)) reads.set(name, { at, past });
      return past;
    },
  };
}
