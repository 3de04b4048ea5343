/**
 * The dashboard's model of the pools: their specs and status (`PoolSource`), and their recent observations. Rows and pages are
 * built on request.
 */
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { Source } from '../../queue/sources/source.ts';
import type { Observation } from '../observe/observation.ts';
import type { Sampled } from '../sample/sampled.ts';
import type { DecisionView, PoolRow } from './api.ts';
import type { QueuesPlace } from './read/details.ts';
import { rowOf } from './row.ts';
import { createSeries, type RecentSeries } from './series.ts';

/** Where pools come from: the controller's watches, or `millrace dev`. */
export interface PoolSource {
  /** By key, `namespace/name`. */
  readonly pools: ReadonlyMap<string, WorkerPool>;
  /** The last sample of the pool's queues; `undefined` where their Redis is not known. */
  readonly sampled: (key: string) => Sampled | undefined;
  /** `source`: whose tasks these are, where it is another library. */
  readonly queuesOf: (key: string) => (QueuesPlace & { readonly source?: Source | undefined }) | undefined;
}

interface Known {
  readonly series: RecentSeries;
  decisions: readonly DecisionView[];
  row?: { readonly of: readonly unknown[]; readonly row: PoolRow };
}

export interface Board {
  readonly source: PoolSource;
  observed(key: string, observation: Observation): void;
  row(key: string, now: number): PoolRow | undefined;
  rows(now: number): Map<string, PoolRow>;
  /** Empty for a pool that was not observed yet. */
  series(key: string): RecentSeries;
  /** The last few decisions that this process saw, newest first. */
  decisions(key: string): readonly DecisionView[];
}

const DECISIONS_KEPT = 5;
/** Rates and waits of the last minute fade even if nothing happens. */
const FADE_MS = 10_000;

export function createBoard(source: PoolSource, showTasks: boolean): Board {
  const all = new Map<string, Known>();

  function knownOf(key: string): Known {
    const known = all.get(key) ?? { series: createSeries(), decisions: [] };
    all.set(key, known);
    return known;
  }

  function row(key: string, now: number): PoolRow | undefined {
    const pool = source.pools.get(key);
    if (!pool) return undefined;
    const known = knownOf(key);
    const { series, decisions } = known;
    const sampled = source.sampled(key);
    const { latest } = series;
    const of = [pool, sampled, latest, series.size > 0 ? Math.floor(now / FADE_MS) : 0];
    if (known.row && of.every((one, i) => one === known.row?.of[i])) return known.row.row;
    const recent = series.recent(now);
    const made = rowOf({ key, pool, sampled, latest, recent, decision: decisions[0], showTasks });
    known.row = { of, row: made };
    return made;
  }

  /** The board is not notified when a pool is deleted. */
  function forgetGone(): void {
    for (const key of all.keys()) if (!source.pools.has(key)) all.delete(key);
  }

  return {
    source,
    observed: (key, observation) => {
      if (all.size > 2 * source.pools.size + 100) forgetGone();
      const known = knownOf(key);
      const before = known.series.latest;
      known.series.add(observation);
      const decision = decisionIn(observation, before);
      if (decision) known.decisions = [decision, ...known.decisions].slice(0, DECISIONS_KEPT);
    },
    row,
    rows: (now) => {
      forgetGone();
      const rows = new Map<string, PoolRow>();
      for (const key of source.pools.keys()) {
        const one = row(key, now);
        if (one) rows.set(key, one);
      }
      return rows;
    },
    series: (key) => knownOf(key).series,
    decisions: (key) => all.get(key)?.decisions ?? [],
  };
}

/** The decision in an observation, if it differs from the one before. */
function decisionIn(
  { at, desired, cause, reason }: Observation,
  before: Observation | undefined,
): DecisionView | undefined {
  const turned =
    before === undefined ||
    before.desired !== desired ||
    (before.cause !== cause && [before.cause, cause].some((one) => one === 'Unknown' || one === 'Paused'));
  return turned ? { at, from: before?.desired ?? null, to: desired, cause, text: reason } : undefined;
}
