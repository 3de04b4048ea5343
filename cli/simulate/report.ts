/** The output of `millrace simulate` and `npm run bench -- policy`: a table for people, rows for programs, a chart. Pure. */
import type { Compared } from '../../simulate/compare.ts';
import type { Parking } from '../../simulate/autoscaler.ts';
import type { TaskTrace } from '../../simulate/trace.ts';
import type { ChartSpec, Panel, ChartSeries } from './chart-svg.ts';
import { table } from '../terminal/table.ts';

const HEAD = [
  'POLICY',
  'P50 S',
  'P95 S',
  'P99 S',
  'OVER %',
  'POD-S/S',
  'STARTS',
  'SCALED',
  'BUSY STOPPED',
  'KILLED',
  'COST',
];
const COLOURS = ['#2563eb', '#dc2626', '#d97706'];

export function comparedTable(rows: readonly Compared[]): string {
  const figures = table(
    HEAD,
    rows.map(({ figures: f }) => [
      f.policy,
      decimals(f.p50Ms / 1_000, 1),
      decimals(f.p95Ms / 1_000, 1),
      decimals(f.p99Ms / 1_000, 1),
      decimals(100 * f.over, 2),
      decimals(f.podSeconds, 2),
      f.starts,
      f.scaleActions,
      f.busyStopped,
      f.busyKilled,
      decimals(f.cost, 2),
    ]),
  );
  const endless = rows.some(({ figures: { cost } }) => !Number.isFinite(cost));
  return endless
    ? `${figures}POD-S/S and COST are per second of work, and these tasks take no time.\n`
    : figures;
}

/** Columns of figures are right-aligned, so each has a fixed number of decimals. */
function decimals(value: number, places: number): string {
  return (Number.isFinite(value) ? value.toFixed(places) : '-').padStart(5);
}

/** The figures as JSON, with Millrace's advice and what it learned. */
export function comparedRows(rows: readonly Compared[]): object[] {
  return rows.map(({ figures, advice, insight }) =>
    // JSON has no number for what is infinite, and YAML one of its own
    Object.assign({ advice: advice?.message, learned: insight }, figures, finite(figures)),
  );
}

function finite({ cost, podSeconds }: Compared['figures']): object {
  const orNull = (value: number): number | null => (Number.isFinite(value) ? value : null);
  return { cost: orNull(cost), podSeconds: orNull(podSeconds) };
}

/** What a parked pod was counted as, if any were. */
export function parkedLine(parking: Parking | undefined): string {
  if (!parking) return '';
  const { replicas, share } = parking;
  const pods = replicas === 1 ? '1 pod stays' : `${replicas} pods stay`;
  return `Millrace: ${pods}, and while parked each counts as ${Number(share.toPrecision(2))} of a pod, by its CPU request.\n`;
}

/** The advice, if any, of each policy, one line each. */
export function adviceLines(rows: readonly Compared[]): string {
  return rows.flatMap(({ run, advice }) => (advice ? [`${run.name}: ${advice.message}.\n`] : [])).join('');
}

/** Waiting tasks, replicas and waits over time, of the first few policies: more lines cannot be told apart. */
export function comparedChart(trace: TaskTrace, all: readonly Compared[], targetMs: number): ChartSpec {
  const rows = all.slice(0, COLOURS.length);
  const notes = (title: string, of: (note: Compared['run']['notes'][number]) => number): Panel => ({
    title,
    weight: 1,
    series: rows.map(({ run }, i) =>
      line(
        run.name,
        i,
        run.notes.map((note) => [note.at / 1_000, of(note)]),
      ),
    ),
  });
  const endS = Math.max(...rows.map(({ run }) => run.endMs)) / 1_000;
  const target: ChartSeries = {
    label: `target ${targetMs / 1_000} s`,
    colour: '#1f2937',
    form: 'dashed',
    points: [
      [0, targetMs / 1_000],
      [endS, targetMs / 1_000],
    ],
  };
  return {
    title: `${trace.name}: ${trace.arrivals.length.toLocaleString('en')} tasks`,
    subtitle: rows
      .map(
        ({ figures: f }) =>
          `${f.policy}: ${(100 * f.over).toFixed(1)} % late, cost ${decimals(f.cost, 2).trim()}`,
      )
      .join(' · '),
    timeTitle: 'seconds',
    height: 900,
    panels: [
      notes('Tasks waiting', ({ waiting }) => waiting),
      notes('Replicas', ({ wanted }) => wanted),
      {
        title: 'Longest wait, s',
        weight: 1,
        series: [...rows.map(({ run }, i) => line(run.name, i, waitsOver(trace, run.waits, endS))), target],
      },
    ],
  };
}

function line(label: string, index: number, points: ChartSeries['points']): ChartSeries {
  return { label, colour: COLOURS[index] ?? '#000000', form: index === 0 ? 'area' : 'line', points };
}

/** The longest wait of the tasks that arrived in each of 300 intervals, s. */
function waitsOver({ arrivals }: TaskTrace, waits: Float64Array, endS: number): [number, number][] {
  const width = endS / 300;
  const longest = new Map<number, number>();
  for (const [i, arrival] of arrivals.entries()) {
    const bin = Math.floor(arrival / 1_000 / width);
    longest.set(bin, Math.max(longest.get(bin) ?? 0, (waits[i] as number) / 1_000));
  }
  return Array.from({ length: 300 }, (_, bin) => [bin * width, longest.get(bin) ?? 0]);
}
