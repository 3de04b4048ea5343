/** Three charts on one timeline, with the decisions above them: of the last minutes, live, or of hours and days. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { DecisionView, PastRange, PoolPast, Series } from '../controller/dashboard/api.ts';
import { AsTable } from './as-table.tsx';
import { Chart, type Line } from './chart.tsx';
import { clock, formatCount, formatMs } from './format.ts';
import { Icon } from './icons.tsx';
import { DecisionLane } from './lane.tsx';
import type { PastState } from './past.ts';
import { Ranges } from './ranges.tsx';
import { Section } from './section.tsx';

export interface ChartsProps {
  readonly pool: string;
  /** The last minutes, in memory; shown without a range. */
  readonly live: Series;
  readonly range: PastRange | undefined;
  readonly past: PastState;
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

export function Charts(props: ChartsProps) {
  const {
    pool,
    live,
    range,
    past: { past, trouble },
    decisions,
    targetMs,
    now,
  } = props;
  const whole = range === undefined ? live : past?.series;
  const series = useMemo(() => whole && (range === undefined ? sinceKnown(whole) : whole), [whole, range]);
  const [pointed, setPointed] = useState<number>();
  const [tableOpen, setTableOpen] = useState(false);
  const at = pointed === undefined || !series ? undefined : series.from + pointed * series.stepMs;
  // the old pointer would mean another time
  useEffect(() => setPointed(undefined), [range]);
  return (
    <Section
      title={`The last ${formatMs(spanOf(series, range))}`}
      note={at === undefined ? stepsOf(past, range) : `at ${clock(at, now)}`}
      tools={<Ranges pool={pool} range={range} />}
    >
      {range !== undefined && trouble !== undefined && (
        <p class="notice" role="status">
          <Icon name="alert" />
          <span>
            {sentenceOf(trouble)} Retrying every few seconds
            {past ? `; the charts were read at ${clock(past.now, now)}.` : '.'}
          </span>
        </p>
      )}
      {series ? (
        // recreated, as some options of uPlot cannot be changed
        <Plots
          key={range ?? 'live'}
          series={series}
          decisions={decisions}
          targetMs={targetMs}
          now={now}
          pointed={pointed}
          onPoint={setPointed}
          tableOpen={tableOpen}
          onTable={setTableOpen}
        />
      ) : (
        trouble === undefined && (
          <p class="nothing" role="status">
            Reading the timeline…
          </p>
        )
      )}
      {range !== undefined && past?.entries === 0 && (
        <p class="hint">
          The timeline has no entries for this period: nothing happened in the pool, or nothing was recorded.
        </p>
      )}
    </Section>
  );
}

interface PlotsProps extends Pick<ChartsProps, 'decisions' | 'targetMs' | 'now'> {
  readonly series: Series;
  readonly pointed: number | undefined;
  readonly onPoint: (index: number | undefined) => void;
  readonly tableOpen: boolean;
  readonly onTable: (open: boolean) => void;
}

function Plots(props: PlotsProps) {
  const { series, decisions, targetMs, now, pointed, onPoint, tableOpen, onTable } = props;
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
  const common = { times, series, decisions: shown, pointed, onPoint };
  return (
    <>
      <DecisionLane decisions={shown} from={from} to={to} now={now} />
      <div class="charts">
        <Chart title="Tasks" lines={TASKS} format={formatCount} least={4} {...common} />
        <Chart title="Replicas" lines={REPLICAS} format={formatCount} least={4} {...common} />
        <Chart title="Wait" lines={WAITS} format={formatMs} least={100} limit={targetMs} dated {...common} />
      </div>
      <AsTable series={series} times={times} now={now} open={tableOpen} onOpen={onTable} />
    </>
  );
}

const RANGE_MS: Record<PastRange, number> = { '6h': 6 * 3_600_000, '24h': 86_400_000, '7d': 7 * 86_400_000 };

function spanOf(series: Series | undefined, range: PastRange | undefined): number {
  if (range !== undefined) return RANGE_MS[range];
  const steps = (series?.columns.waiting.length ?? 1) - 1;
  return Math.max(steps * (series?.stepMs ?? 0), 60_000);
}

/** The resolution, so that a step is not taken for a moment. */
function stepsOf(past: PoolPast | undefined, range: PastRange | undefined): string | undefined {
  if (range === undefined || !past) return undefined;
  const { entryMs, series } = past;
  return `${formatMs(entryMs)} entries, in steps of ${formatMs(series.stepMs)}: the most in each`;
}

function sentenceOf(words: string): string {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}

const LEAST_MS = 3 * 60_000;

/** Without the time before the first known value, except for some margin. */
function sinceKnown(series: Series): Series {
  const { from, stepMs, columns } = series;
  const first = columns.desired.findIndex((value) => value !== null);
  const least = columns.desired.length - LEAST_MS / stepMs;
  const dropped = Math.max(0, Math.min(first - 5, least));
  if (dropped === 0) return series;
  const kept = Object.entries(columns).map(([name, column]) => [name, column.slice(dropped)]);
  return { from: from + dropped * stepMs, stepMs, columns: Object.fromEntries(kept) as Series['columns'] };
}
