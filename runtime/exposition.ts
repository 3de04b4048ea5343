/**
 * The text that Prometheus scrapes, for series that are too many to be an object each: 10,000 pools have 100,000 of them.
 * test/unit/pool-series.test.ts holds it to what prom-client writes. Pure.
 */

/** The first two lines of a metric. */
export function head(name: string, help: string, type: 'gauge' | 'counter' | 'histogram'): string {
  const escaped = help.replaceAll('\\', String.raw`\\`).replaceAll('\n', String.raw`\n`);
  return `# HELP ${name} ${escaped}\n# TYPE ${name} ${type}\n`;
}

/** `a="1",b="2"`, without the braces. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapedValue(value)}"`)
    .join(',');
}

function escapedValue(text: string): string {
  return text
    .replaceAll('\\', String.raw`\\`)
    .replaceAll('\n', String.raw`\n`)
    .replaceAll('"', String.raw`\"`);
}

/**
 * The lines of one histogram: its buckets from the lowest, sum and count. `counts` holds at `from` how many values fell into
 * each bucket and, behind them, beyond the last one; then their sum.
 */
export function histogramLines(
  name: string,
  labels: string,
  bounds: readonly number[],
  counts: Float64Array,
  from: number,
): string {
  let text = '';
  let total = 0;
  for (let i = 0; i <= bounds.length; i++) {
    total += counts[from + i] ?? 0;
    text += `${name}_bucket{le="${bounds[i] ?? '+Inf'}",${labels}} ${total}\n`;
  }
  return `${text}${name}_sum{${labels}} ${counts[from + bounds.length + 1]}\n${name}_count{${labels}} ${total}\n`;
}

/** Observes `value`, `times` times. */
export function observeMany(
  counts: Float64Array,
  from: number,
  bounds: readonly number[],
  value: number,
  times: number,
): void {
  let bucket = 0;
  while (value > (bounds[bucket] ?? Infinity)) bucket++;
  counts[from + bucket] = (counts[from + bucket] ?? 0) + times;
  const sum = from + bounds.length + 1;
  counts[sum] = (counts[sum] ?? 0) + value * times;
}
