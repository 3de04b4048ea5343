/**
 * The series of all pools. Counting is an addition in one typed array per pool; the text is generated at each scrape, in pieces,
 * so that a wake need not wait for the page of 10,000 pools. A pool that never had a task has only its gauges: about 300 bytes
 * here, and 10 series in Prometheus. An active one has some 80 series.
 */
import { setImmediate } from 'node:timers/promises';
import { keyOf } from '../../kube/watch.ts';
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import { head, histogramLines, labelText, observeMany } from '../../runtime/exposition.ts';
import type { Observation } from './observation.ts';
import {
  notReadyGauge,
  poolCounters,
  poolGauges,
  poolHistograms,
  sampledGauge,
  targetMs,
} from './pool-metrics.ts';

export interface PoolSeries {
  status(pool: WorkerPool, status: WorkerPoolStatus): void;
  observed(pool: WorkerPool, observation: Observation): void;
  /** The time from a wake until the decision was carried out, s. */
  woken(pool: WorkerPool, seconds: number): void;
  reconciled(key: string, seconds: number): void;
  forget(key: string): void;
  clear(): void;
  /** The page in Prometheus' text format, in pieces: for 10,000 active pools it has 60 MB. */
  text(): AsyncIterable<string>;
}

interface Series {
  /** Formatted for the page. */
  readonly labels: string;
  /** NaN for those that it does not have now. One array for all pools with the same. */
  gauges: readonly number[];
  /** ms since the epoch; NaN before the first. */
  sampledAt: number;
  notReady: string | undefined;
  /** Counters, then histograms; `undefined` before the first task. */
  counts: Float64Array | undefined;
}

type HistogramName = keyof typeof poolHistograms;

const histogramNames = Object.keys(poolHistograms) as HistogramName[];
const { offsets, size } = layout();
/** When so many different ones are known, all are forgotten. */
const MOST_GAUGES = 512;
/** The minimum length of a piece, characters. */
const PIECE = 65_536;

export function createPoolSeries(): PoolSeries {
  const all = new Map<string, Series>();
  /** By their text. Most pools are idle, and differ in little. */
  const gaugesSeen = new Map<string, readonly number[]>();

  function of(pool: WorkerPool): Series {
    const key = keyOf(pool);
    let series = all.get(key);
    if (!series) {
      const { namespace, name } = pool.metadata;
      series = {
        labels: labelText({ namespace, pool: name }),
        gauges: [],
        sampledAt: Number.NaN,
        notReady: undefined,
        counts: undefined,
      };
      all.set(key, series);
    }
    return series;
  }

  function count({ counts }: Series, name: HistogramName, seconds: number, times = 1): void {
    if (counts) observeMany(counts, offsets[name], poolHistograms[name].bounds, seconds, times);
  }

  return {
    status: (pool, status) => {
      const series = of(pool);
      const gauges = poolGauges.map(({ read }) => read(pool, status) ?? Number.NaN);
      const text = gauges.join();
      if (gaugesSeen.size >= MOST_GAUGES) gaugesSeen.clear();
      series.gauges = gaugesSeen.get(text) ?? gauges;
      gaugesSeen.set(text, series.gauges);
      const ready = status.conditions?.find(({ type }) => type === 'Ready');
      series.notReady = ready?.status === 'False' ? ready.reason : undefined;
    },
    observed: (pool, observation) => {
      const series = of(pool);
      if (observation.known) series.sampledAt = observation.at;
      if (!series.counts && isIdle(observation)) return;
      series.counts ??= new Float64Array(size);
      const target = observation.waits.length > 0 ? (targetMs(pool) ?? Infinity) : Infinity;
      for (const [i, { grown }] of poolCounters.entries())
        series.counts[i] = (series.counts[i] ?? 0) + grown(observation, target);
      for (const { waitMs, tasks } of observation.waits) count(series, 'wait', waitMs / 1e3, tasks);
      for (const ms of observation.startsMs) count(series, 'start', ms / 1e3);
    },
    woken: (pool, seconds) => count(of(pool), 'wake', seconds),
    reconciled: (key, seconds) => {
      const series = all.get(key);
      if (series) count(series, 'reconcile', seconds);
    },
    forget: (key) => void all.delete(key),
    clear: () => {
      all.clear();
      gaugesSeen.clear();
    },
    text: async function* () {
      for (const piece of page(() => all.values())) {
        yield piece;
        await setImmediate();
      }
    },
  };
}

/** One metric, for all pools that have it. */
function* write(all: Iterable<Series>, heading: string, line: (series: Series) => string): Generator<string> {
  let text = heading;
  for (const series of all) {
    text += line(series);
    if (text.length < PIECE) continue;
    yield text;
    text = '';
  }
  yield text;
}

/** The page, in pieces. */
function* page(all: () => Iterable<Series>): Generator<string> {
  for (const [i, { name, help }] of poolGauges.entries())
    yield* write(all(), head(name, help, 'gauge'), ({ labels, gauges }) =>
      Number.isNaN(gauges[i] ?? Number.NaN) ? '' : `${name}{${labels}} ${gauges[i]}\n`,
    );
  yield* write(all(), head(sampledGauge.name, sampledGauge.help, 'gauge'), ({ labels, sampledAt }) =>
    Number.isNaN(sampledAt) ? '' : `${sampledGauge.name}{${labels}} ${sampledAt / 1e3}\n`,
  );
  yield* write(all(), head(notReadyGauge.name, notReadyGauge.help, 'gauge'), ({ labels, notReady }) =>
    notReady ? `${notReadyGauge.name}{${labels},${labelText({ reason: notReady })}} 1\n` : '',
  );
  for (const [i, { name, help }] of poolCounters.entries())
    yield* write(all(), head(name, help, 'counter'), ({ labels, counts }) =>
      counts ? `${name}{${labels}} ${counts[i]}\n` : '',
    );
  for (const histogram of histogramNames) {
    const { name, help, bounds } = poolHistograms[histogram];
    yield* write(all(), head(name, help, 'histogram'), ({ labels, counts }) =>
      counts ? histogramLines(name, labels, bounds, counts, offsets[histogram]) : '',
    );
  }
}

/** The offset of each histogram in the counts: its buckets, the overflow and the sum. */
function layout(): { offsets: Readonly<Record<HistogramName, number>>; size: number } {
  let end = poolCounters.length;
  const begins = histogramNames.map((name) => {
    const begin = end;
    end += poolHistograms[name].bounds.length + 2;
    return [name, begin] as const;
  });
  return { offsets: Object.fromEntries(begins) as Record<HistogramName, number>, size: end };
}

function isIdle({ waiting, inFlight, arrived, taken, completed, startsMs }: Observation): boolean {
  return waiting + inFlight + arrived + taken + completed + startsMs.length === 0;
}
