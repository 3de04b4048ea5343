/** Reads a source as the sample of a pool, in which everything that is unknown of other libraries' workers is 0. */
import type { Redis } from 'ioredis';
import { combineSamples, type PoolSample } from '../pool/pool-sample.ts';
import { noCounters, type QueueSample } from '../pool/sample.ts';
import { SLOW_BUCKETS } from '../pool/slow-tasks.ts';
import { createAsk, type Watched } from './ask.ts';
import type { Source, SourceCounts } from './source.ts';

export interface SourceRead {
  readonly sample: PoolSample;
  /** The keys whose change wakes the pool, with what they held. */
  readonly watched: readonly Watched[];
}

/** Throws as `Source.read` does. */
export async function readSource(redis: Redis, source: Source, horizonMs: number): Promise<SourceRead> {
  const watched: Watched[] = [];
  const watch = (one: Watched): void => void watched.push(one);
  const counts = await source.read(createAsk(redis, watch), horizonMs, redis, watch);
  return { sample: withoutBlocked(combineSamples(counts.map(queueSampleOf)), counts), watched };
}

/** Tasks that no additional worker could take are shown, but require no replicas. */
function withoutBlocked(sample: PoolSample, counts: readonly SourceCounts[]): PoolSample {
  const blocked = counts.reduce((sum, one) => sum + (one.paused ? 0 : (one.blocked ?? 0)), 0);
  if (blocked === 0) return sample;
  const { runnable } = sample;
  const due = Math.max(0, runnable.due - blocked);
  const waiting = runnable.waiting - Math.max(0, blocked - runnable.due);
  return { ...sample, blocked, runnable: { ...runnable, waiting, due } };
}

/** Service times of other libraries' tasks are unknown. */
const NONE_SLOW: readonly number[] = Array.from({ length: SLOW_BUCKETS }, () => 0);

/** A task counts as taken when it is in hand or finished. */
export function queueSampleOf(found: SourceCounts): QueueSample {
  const {
    inHand,
    failed = 0,
    finished = 0,
    paused = false,
    leaving = 0,
    nextDue,
    blocked: _,
    ...counts
  } = found;
  return {
    ...counts,
    nextDue,
    inFlight: inHand,
    dead: failed,
    paused,
    leaving,
    counters: { ...noCounters, taken: finished + inHand, completed: finished },
    suspects: 0,
    solitary: 0,
    apart: { workers: 0, tasks: 0 },
    busy: 0,
    workers: 0,
    expired: 0,
    silent: false,
    nextExpiry: undefined,
    overdue: false,
    slow: NONE_SLOW,
  };
}
