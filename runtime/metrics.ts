/**
 * Counters and histograms for a process that counts hundreds of thousands of times a second: counting is an addition, and
 * prom-client, which knows Prometheus' formats, is loaded and told the numbers when somebody asks for them.
 */
import type { Metric, MetricObjectWithValues, MetricValue } from 'prom-client';

/** What `/metrics` answers; a registry of prom-client is one. */
export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export interface Tally {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'histogram';
  values(): TallyValue[];
}

type TallyValue = MetricValue<string> & { metricName?: string };

export function createMetrics(tallies: readonly Tally[]): MetricsSource {
  return {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    metrics: async () => {
      const { Registry } = await import('prom-client');
      const registry = new Registry();
      for (const tally of tallies) {
        const { name, help, type } = tally;
        const whole = { name, help, type, aggregator: 'sum', values: tally.values() };
        const metric = {
          name,
          get: () => Promise.resolve(whole as unknown as MetricObjectWithValues<TallyValue>),
        };
        // a registry asks its metrics for nothing but this
        registry.registerMetric(metric as unknown as Metric);
      }
      return registry.metrics();
    },
  };
}

export interface Counter extends Tally {
  inc(labels: Readonly<Record<string, string>>, by?: number): void;
}

/** Of each set of labels, hold on to one object: it is told apart by identity. */
export function createCounter(name: string, help: string): Counter {
  const counts = new Map<Readonly<Record<string, string>>, number>();
  return {
    name,
    help,
    type: 'counter',
    inc: (labels, by = 1) => void counts.set(labels, (counts.get(labels) ?? 0) + by),
    values: () => Array.from(counts, ([labels, value]) => ({ labels, value })),
  };
}

export interface Histogram extends Tally {
  /** What observes values with these labels. */
  of(labels: Readonly<Record<string, string>>): (value: number) => void;
}

/** `bounds` are the upper ones of the buckets, from the lowest to the highest. */
export function createHistogram(name: string, help: string, bounds: readonly number[]): Histogram {
  const series: { labels: Readonly<Record<string, string>>; counts: Float64Array; sum: number }[] = [];
  return {
    name,
    help,
    type: 'histogram',
    of: (labels) => {
      // how many values fell between a bound and the one before; the last is beyond all of them
      const counts = new Float64Array(bounds.length + 1);
      const one = { labels, counts, sum: 0 };
      series.push(one);
      return (value) => {
        let bucket = 0;
        while (value > (bounds[bucket] ?? Infinity)) bucket++;
        counts[bucket] = (counts[bucket] ?? 0) + 1;
        one.sum += value;
      };
    },
    values: () =>
      series.flatMap(({ labels, counts, sum }) => {
        let total = 0;
        const buckets = Array.from(counts, (count, i): TallyValue => ({
          labels: { le: bounds[i] ?? '+Inf', ...labels },
          value: (total += count),
          metricName: `${name}_bucket`,
        }));
        const whole: TallyValue[] = [
          { labels, value: sum, metricName: `${name}_sum` },
          { labels, value: total, metricName: `${name}_count` },
        ];
        return buckets.concat(whole);
      }),
  };
}
