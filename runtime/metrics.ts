/**
 * Counters and histograms for a process that counts hundreds of thousands of times a second: counting is an addition, and
 * prom-client, which knows Prometheus' formats, is loaded and told the numbers when somebody asks for them.
 */
import type { Metric, MetricObjectWithValues, MetricValue } from 'prom-client';

/** The response to `/metrics`. */
export interface MetricsSource {
  readonly contentType: string;
  /** In chunks, for as long as the client reads. */
  text(): AsyncIterable<string>;
}

export interface Tally {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** The names of its labels. */
  readonly labels: readonly string[];
  values(): TallyValue[];
}

type TallyValue = MetricValue<string> & { metricName?: string };

export function createMetrics(tallies: readonly Tally[]): MetricsSource {
  return {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    text: async function* () {
      const { Registry } = await import('prom-client');
      const registry = new Registry();
      for (const tally of tallies) {
        const { name, help, type } = tally;
        const whole = { name, help, type, aggregator: 'sum', values: tally.values() };
        const metric = {
          name,
          get: () => Promise.resolve(whole as unknown as MetricObjectWithValues<TallyValue>),
        };
        // the only method that a registry calls on its metrics
        registry.registerMetric(metric as unknown as Metric);
      }
      yield await registry.metrics();
    },
  };
}

export interface Counter extends Tally {
  inc(labels: Readonly<Record<string, string>>, by?: number): void;
}

/** Keep one object for each set of labels: sets are compared by identity. */
export function createCounter(name: string, help: string, labels: readonly string[] = []): Counter {
  const counts = new Map<Readonly<Record<string, string>>, { value: number }>();
  return {
    name,
    help,
    type: 'counter',
    labels,
    inc: (of, by = 1) => {
      const count = counts.get(of);
      if (count) count.value += by;
      else counts.set(of, { value: by });
    },
    values: () => Array.from(counts, ([of, { value }]) => ({ labels: of, value })),
  };
}

/** A number that is read at each scrape. */
export function createGauge(
  name: string,
  help: string,
  read: () => number,
  labels: Readonly<Record<string, string>> = {},
): Tally {
  const values = (): TallyValue[] => [{ labels, value: read() }];
  return { name, help, type: 'gauge', labels: Object.keys(labels), values };
}

/** The metrics that Prometheus expects of every process, as far as they cost nothing between scrapes. */
export function processTallies(): readonly Tally[] {
  const startedAt = Date.now() / 1e3 - process.uptime();
  const cpu = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  };
  return [
    {
      ...createGauge('process_cpu_seconds_total', 'Processor time spent, in seconds.', cpu),
      type: 'counter',
    },
    createGauge('process_resident_memory_bytes', 'Resident memory in bytes.', () =>
      process.memoryUsage.rss(),
    ),
    createGauge(
      'process_start_time_seconds',
      'When the process began, in seconds since the epoch.',
      () => startedAt,
    ),
  ];
}

export interface Histogram extends Tally {
  /** Observes values with these labels. */
  of(labels: Readonly<Record<string, string>>): (value: number) => void;
}

/** `bounds`: the upper bounds of the buckets, ascending. */
export function createHistogram(
  name: string,
  help: string,
  bounds: readonly number[],
  labels: readonly string[] = [],
): Histogram {
  const series: { labels: Readonly<Record<string, string>>; counts: Float64Array; sum: number }[] = [];
  return {
    name,
    help,
    type: 'histogram',
    labels,
    of: (ofOne) => {
      // counts of values between a bound and the one before; the last is above all of them
      const counts = new Float64Array(bounds.length + 1);
      const one = { labels: ofOne, counts, sum: 0 };
      series.push(one);
      return (value) => {
        let bucket = 0;
        while (value > (bounds[bucket] ?? Infinity)) bucket++;
        counts[bucket] = (counts[bucket] ?? 0) + 1;
        one.sum += value;
      };
    },
    values: () =>
      series.flatMap(({ labels: ofOne, counts, sum }) => {
        let total = 0;
        const buckets = Array.from(counts, (count, i): TallyValue => ({
          labels: { le: bounds[i] ?? '+Inf', ...ofOne },
          value: (total += count),
          metricName: `${name}_bucket`,
        }));
        const whole: TallyValue[] = [
          { labels: ofOne, value: sum, metricName: `${name}_sum` },
          { labels: ofOne, value: total, metricName: `${name}_count` },
        ];
        return buckets.concat(whole);
      }),
  };
}
