/** Three charts on one time line, with the decisions above them. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { DecisionView, Series } from '../controller/dashboard/api.ts';
import { Chart, type Line } from './chart.tsx';
import { clock, count, duration } from './format.ts';
import { Section } from './section.tsx';
import { Lane } from './lane.tsx';

export interface ChartsProps {
  readonly series: Series;
  readonly decisions: readonly DecisionView[];
  readonly targetMs: number | null;
  readonly now: number;
}

const TASKS: readonly Line[] = [
  { column: 'waiting', name: 'waiting', colour: '--chart-1', filled: true },
  { column: 'inFlight', name: 'in flight', colour: '--chart-2' },
];
const REPLICAS: readonly Line[] = [
  { column: 'replicas', name: 'current', colour: '--chart-1', steps: true, filled: true },
  { column: 'ready', name: 'ready', colour: '--chart-3', steps: true },
  { column: 'desired', name: 'desired', colour: '--chart-2', steps: true, dashed: true },
];
const WAITS: readonly Line[] = [
  { column: 'waitP95', name: 'p95', colour: '--chart-4', gaps: true },
  { column: 'waitP50', name: 'p50', colour: '--chart-1', gaps: true },
];

export function Charts({ series: whole, decisions, targetMs, now }: ChartsProps) {
  const [pointed, setPointed] = useState<number>();
  const series = useMemo(() => sinceKnown(whole), [whole]);
  const length = series.columns.waiting.length;
  const times = useMemo(
    () => Array.from({ length }, (_, i) => series.from + i * series.stepMs),
    [series.from, series.stepMs, length],
  );
  const from = times[0] ?? now;
  const to = times.at(-1) ?? now;
  const shown = useMemo(
    () => decisions.filter(({ at }) => at >= from && at <= to + series.stepMs),
    [decisions, from, to],
  );
  // an old pointer would point at another time
  useEffect(() => setPointed(undefined), [series.stepMs]);
  const common = { times, series, decisions: shown, pointed, onPoint: setPointed };
  const at = pointed === undefined ? undefined : times[pointed];
  return (
    <Section
      title={`The last ${duration(Math.max(to - from, 60_000))}`}
      note={at === undefined ? undefined : `at ${clock(at, now)}`}
    >
      <Lane decisions={shown} from={from} to={to} now={now} />
      <div class="charts">
        <Chart title="Tasks" lines={TASKS} format={count} least={4} {...common} />
        <Chart title="Replicas" lines={REPLICAS} format={count} least={4} {...common} />
        <Chart title="Wait" lines={WAITS} format={duration} least={100} limit={targetMs} dated {...common} />
      </div>
      <AsTable series={series} times={times} now={now} />
    </Section>
  );
}

const LEAST_MS = 3 * 60_000;

/** Without the time before the first that is known, but for some room. */
function sinceKnown(series: Series): Series {
  const { from, stepMs, columns } = series;
  const first = columns.desired.findIndex((value) => value !== null);
  const least = columns.desired.length - LEAST_MS / stepMs;
  const dropped = Math.max(0, Math.min(first - 5, least));
  if (dropped === 0) return series;
  const kept = Object.entries(columns).map(([name, column]) => [name, column.slice(dropped)]);
  return { from: from + dropped * stepMs, stepMs, columns: Object.fromEntries(kept) as Series['columns'] };
}

const ROWS = 15;

/** What the charts show, for those who cannot see them. */
function AsTable({ series, times, now }: { series: Series; times: readonly number[]; now: number }) {
  const [open, setOpen] = useState(false);
  const every = Math.max(1, Math.floor(times.length / ROWS));
  const { waiting, inFlight, replicas, ready, desired, waitP50, waitP95 } = series.columns;
  const number = (value: number | null | undefined): string =>
    typeof value === 'number' ? count(value) : '–';
  const time = (value: number | null | undefined): string =>
    typeof value === 'number' ? duration(value) : '–';
  const indexes = times.map((_, i) => i).filter((i) => (times.length - 1 - i) % every === 0);
  return (
    <details class="as-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>The same as a table</summary>
      {open && (
        <div class="scroll" tabIndex={0} role="group" aria-label="The charts as a table">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Time</th>
                {['Waiting', 'In flight', 'Current', 'Ready', 'Desired', 'Wait p50', 'Wait p95'].map(
                  (title) => (
                    <th key={title} scope="col" class="num">
                      {title}
                    </th>
                  ),
                )}
              </tr>
            </thead>
            <tbody>
              {indexes.toReversed().map((i) => (
                <tr key={times[i]}>
                  <th scope="row">{clock(times[i] ?? 0, now)}</th>
                  {[waiting, inFlight, replicas, ready, desired].map((column, c) => (
                    <td key={c} class="num">
                      {number(column[i])}
                    </td>
                  ))}
                  <td class="num">{time(waitP50[i])}</td>
                  <td class="num">{time(waitP95[i])}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}
