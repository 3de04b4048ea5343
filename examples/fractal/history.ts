/** The course of a run, for the rate on the terminal and for the chart. */
import type { ChartSpec } from '../../cli/simulate/chart-svg.ts';

export interface Moment {
  /** Time, by default in s since the tasks were pushed. */
  readonly at: number;
  readonly waiting: number;
  readonly inFlight: number;
  readonly completed: number;
  readonly wanted: number;
  readonly ready: number;
}

/** Tasks for each unit of `at`, over the last `span` of it. */
export function rateOf(history: readonly Moment[], span: number): number {
  const last = history.at(-1);
  const first = last && history.find(({ at }) => at >= last.at - span);
  if (!last || !first || last.at === first.at) return 0;
  return (last.completed - first.completed) / (last.at - first.at);
}

export interface Run {
  readonly history: readonly Moment[];
  readonly tiles: number;
  /** s after the push. */
  readonly completeS: number;
  readonly pixels: string;
}

export function chartOf({ history, tiles, completeS, pixels }: Run): ChartSpec {
  const start = history[0]?.at ?? 0;
  const line = (value: (moment: Moment) => number): [number, number][] =>
    history.map((moment) => [moment.at - start, value(moment)]);
  const peak = Math.max(0, ...history.map(({ ready }) => ready));
  return {
    title: `${tiles.toLocaleString('en')} tiles: from 0 to ${peak} workers and back to 0`,
    subtitle: `Millrace renders a fractal of ${pixels} pixels on one machine, each tile a task in a Redis list`,
    timeTitle: 'seconds',
    panels: [
      {
        title: 'Tasks',
        weight: 3,
        series: [
          {
            label: 'waiting in the list',
            colour: '#2563eb',
            form: 'area',
            points: line(({ waiting }) => waiting),
          },
          { label: 'finished', colour: '#6b7280', form: 'line', points: line(({ completed }) => completed) },
        ],
      },
      {
        title: 'Workers',
        weight: 2,
        series: [
          { label: 'up', colour: '#ea7317', form: 'area', points: line(({ ready }) => ready) },
          { label: 'asked for', colour: '#7c2d12', form: 'dashed', points: line(({ wanted }) => wanted) },
        ],
      },
    ],
    marks: [
      { at: -start, label: 'tiles pushed' },
      { at: completeS - start, label: 'last result' },
    ],
  };
}
