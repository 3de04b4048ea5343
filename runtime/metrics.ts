/**
 * Counters and a histogram in Prometheus' text format
 * (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format), for a process that counts
 * hundreds of thousands of times a second and has little memory: counting is an addition, text is made when somebody
 * asks. A process that has more to tell than this takes `prom-client`.
 */
export interface Metric {
  /** The metric with its values as lines of text; `labels` go to each of them. */
  text(labels: Labels): string;
}
type Labels = Readonly<Record<string, string | number>>;

/** What `/metrics` answers; a registry of prom-client is one. */
export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export function createMetrics(labels: Labels, metrics: readonly Metric[]): MetricsSource {
  return {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    metrics: () => Promise.resolve(`${metrics.map((metric) => metric.text(labels)).join('\n\n')}\n`),
  };
}

export interface Counter extends Metric {
  inc(by?: number): void;
}

export function createCounter(name: string, help: string): Counter {
  let value = 0;
  return {
    inc: (by = 1) => void (value += by),
    text: (labels) => metricText(name, help, 'counter', [line(name, labels, value)]),
  };
}

export interface LabelledCounter<Value extends string> extends Metric {
  inc(labelled: Value): void;
}

/** A counter for each value of a label; those that never counted are not told. */
export function createLabelledCounter<Value extends string>(
  name: string,
  help: string,
  label: string,
): LabelledCounter<Value> {
  const counts = new Map<Value, number>();
  return {
    inc: (labelled) => void counts.set(labelled, (counts.get(labelled) ?? 0) + 1),
    text: (labels) =>
      metricText(
        name,
        help,
        'counter',
        Array.from(counts, ([labelled, count]) => line(name, { [label]: labelled, ...labels }, count)),
      ),
  };
}

export interface Histogram extends Metric {
  observe(value: number): void;
}

/** `bounds` are the upper ones of the buckets, from the lowest to the highest. */
export function createHistogram(name: string, help: string, bounds: readonly number[]): Histogram {
  // how many values fell between a bound and the one before; the last is beyond all of them
  const counts = new Float64Array(bounds.length + 1);
  let sum = 0;
  return {
    observe: (value) => {
      let bucket = 0;
      while (value > (bounds[bucket] ?? Infinity)) bucket++;
      counts[bucket] = (counts[bucket] ?? 0) + 1;
      sum += value;
    },
    text: (labels) => {
      let total = 0;
      const buckets = Array.from(counts, (count, i) =>
        line(`${name}_bucket`, { le: bounds[i] ?? '+Inf', ...labels }, (total += count)),
      );
      return metricText(name, help, 'histogram', [
        ...buckets,
        line(`${name}_sum`, labels, sum),
        line(`${name}_count`, labels, total),
      ]);
    },
  };
}

function metricText(name: string, help: string, type: string, lines: readonly string[]): string {
  return [`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`, ...lines].join('\n');
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(
    ([label, text]) => `${label}="${escaped(String(text)).replaceAll('"', '\\"')}"`,
  );
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
