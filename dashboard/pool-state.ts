/** One pool's page as it changes, and its series as columns for charts. Pure. */
import type { Column, PoolChange, PoolPage, Series } from '../controller/dashboard/api.ts';

const SPAN_MS = 15 * 60_000;

/** These keep their last value until a new one arrives; the others are unknown meanwhile. */
const LEVELS: ReadonlySet<Column> = new Set(['waiting', 'inFlight', 'replicas', 'ready', 'desired']);

export function applyPool(whole: PoolPage, { now, row, points, parts }: PoolChange): PoolPage {
  return {
    ...whole,
    now,
    row: row ? { ...whole.row, ...row } : whole.row,
    parts: parts ? { ...whole.parts, ...parts } : whole.parts,
    series: points ? withPoints(whole.series, points) : whole.series,
  };
}

function withPoints(series: Series, points: NonNullable<PoolChange['points']>): Series {
  const { stepMs } = series;
  const last = points.at(-1)?.[0] ?? 0;
  const grown = until(series, last);
  const from = Math.max(grown.from, last - SPAN_MS);
  const dropped = Math.max(0, Math.round((from - grown.from) / stepMs));
  const columns = byColumn(series, (name, i) => {
    const column = [...grown.columns[name]];
    for (const [at, values] of points) {
      const index = Math.round((at - grown.from) / stepMs);
      if (index >= 0) column[index] = values[i] ?? null;
    }
    return column.slice(dropped);
  });
  return { from: grown.from + dropped * stepMs, stepMs, columns };
}

/** The series extended to `now`: steps without an event are unchanged. */
export function until(series: Series, now: number): Series {
  const { from, stepMs, columns } = series;
  const length = columns.waiting.length;
  const missing = Math.floor(now / stepMs) - Math.floor(from / stepMs) + 1 - length;
  if (missing <= 0 || length === 0) return series;
  const fill = (name: Column): readonly (number | null)[] => {
    const level = LEVELS.has(name) ? (columns[name].at(-1) ?? null) : null;
    return [...columns[name], ...Array.from<number | null>({ length: missing }).fill(level)];
  };
  return { ...series, columns: byColumn(series, fill) };
}

/** The values of a step are in the order of the columns. */
function byColumn<T>({ columns }: Series, of: (name: Column, index: number) => T): Record<Column, T> {
  const names = Object.keys(columns) as Column[];
  return Object.fromEntries(names.map((name, i) => [name, of(name, i)])) as Record<Column, T>;
}
