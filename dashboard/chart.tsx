/**
 * One chart by uPlot, which draws on a canvas. Its words are the page's own: a legend that tells the values under the pointer,
 * or the last ones, and a sentence for those who cannot see it. Colours come from the style sheet.
 */
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { Column, DecisionView, Series } from '../controller/dashboard/api.ts';
import { onThemeChange } from './theme.ts';
import { distances, timesAt } from './ticks.ts';

export interface Line {
  readonly column: Column;
  readonly name: string;
  /** A variable of the style sheet. */
  readonly colour: string;
  readonly filled?: boolean;
  readonly steps?: boolean;
  readonly dashed?: boolean;
  /** The series has gaps: points are drawn alone, and joined across gaps of seconds. */
  readonly gaps?: boolean;
}

export interface ChartProps {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
  /** The minimum upper end of the scale. */
  readonly least: number;
  /** A horizontal line, such as the target. */
  readonly limit?: number | null;
  /** Whether it has time labels; of charts on one timeline, only the last does. */
  readonly dated?: boolean;
  readonly times: readonly number[];
  readonly series: Series;
  readonly decisions: readonly DecisionView[];
  /** The step under the pointer of any of the charts. */
  readonly pointed: number | undefined;
  readonly onPoint: (index: number | undefined) => void;
}

/** As `.canvas` in pool.css. */
const HEIGHT = 132;
const DATES = 26;
/** As `.lane` in pool.css, so that all begin at one line. */
export const LEFT = 56;
export const RIGHT = 12;

export function Chart(props: ChartProps) {
  const { title, lines, format, series, times, pointed, limit, dated } = props;
  const height = dated ? HEIGHT + DATES : HEIGHT;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const draw = (): void => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsFor(element, height, latest), dataOf(latest.current), element);
    };
    draw();
    const sized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    sized.observe(element);
    const themed = onThemeChange(draw);
    return () => {
      themed();
      sized.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, []);
  useEffect(() => plot.current?.setData(dataOf(latest.current)), [series, times, limit, props.decisions]);

  const said = (column: Column): string => {
    const values = series.columns[column];
    // the last known value, if nothing is pointed at
    const value = pointed === undefined ? values.findLast((one) => one !== null) : values[pointed];
    return typeof value === 'number' ? format(value) : '–';
  };
  return (
    <figure class="chart">
      <figcaption>
        <b>{title}</b>
        {lines.map(({ column, name, colour, dashed }) => (
          <span key={column} class="key">
            <span class={`swatch ${colour.slice(2)}${dashed ? ' dashed' : ''}`} aria-hidden="true" />
            {name} <span class="value">{said(column)}</span>
          </span>
        ))}
        {typeof limit === 'number' && (
          <span class="key">
            <span class="swatch limit dashed" aria-hidden="true" />
            target <span class="value">{format(limit)}</span>
          </span>
        )}
      </figcaption>
      <div ref={box} class={dated ? 'canvas dated' : 'canvas'} role="img" aria-label={sentence(props)} />
    </figure>
  );
}

function sentence({ title, lines, format, series }: ChartProps): string {
  const parts = lines.map(({ column, name }) => {
    const values = series.columns[column].filter((value) => value !== null);
    if (values.length === 0) return `${name}: nothing known`;
    return `${name}: ${format(values.at(-1) ?? 0)} at the end, at most ${format(Math.max(...values))}`;
  });
  return `${title} over time. ${parts.join('; ')}.`;
}

function dataOf({ lines, series, times }: ChartProps): uPlot.AlignedData {
  return [times as number[], ...lines.map(({ column }) => series.columns[column] as (number | null)[])];
}

function optionsFor(
  element: HTMLElement,
  height: number,
  latest: { readonly current: ChartProps },
): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const font = `11px ${style.fontFamily}`;
  const { lines, format, dated } = latest.current;
  const axis: uPlot.Axis = {
    font,
    stroke: colour('--muted'),
    grid: { stroke: colour('--grid'), width: 1 },
    ticks: { show: false },
  };
  return {
    width: element.clientWidth,
    height,
    ms: 1,
    padding: [8, RIGHT, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: 'pool' }, points: { size: 7 } },
    scales: {
      x: { time: true },
      y: {
        range: (_plot, _min, max) => {
          const { least, limit } = latest.current;
          return [0, Math.max(least, (max ?? 0) * 1.08, (limit ?? 0) * 1.15)];
        },
      },
    },
    axes: [
      {
        ...axis,
        size: dated ? DATES : 6,
        space: 80,
        incrs: (_plot, _axis, min, max) => distances(max - min),
        values: (_plot, ticks) => (dated ? timesAt(ticks) : ticks.map(() => '')),
      },
      {
        ...axis,
        size: LEFT,
        space: 34,
        incrs: [
          1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5,
          1e6, 1e7, 1e8,
        ],
        values: (_plot, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? format(tick) : '')),
      },
    ],
    series: [
      {},
      ...lines.map(({ colour: name, filled, steps, dashed, gaps }): uPlot.Series => ({
        stroke: colour(name),
        width: 1.5,
        fill: filled ? `color-mix(in srgb, ${colour(name)} 14%, transparent)` : '',
        dash: dashed ? [5, 4] : [],
        paths: pathsOf(steps),
        points: { show: gaps ?? false, size: 3, fill: colour(name), width: 0 },
        spanGaps: (gaps ?? false) && latest.current.series.stepMs < 60_000,
      })),
    ],
    hooks: {
      setCursor: [(plot) => latest.current.onPoint(plot.cursor.idx ?? undefined)],
      drawAxes: [
        (plot) => {
          for (const { at } of latest.current.decisions) upright(plot, at, colour('--mark'));
          const { limit } = latest.current;
          if (typeof limit === 'number') across(plot, limit, colour('--bad'));
        },
      ],
    },
  };
}

/** Values that change abruptly are drawn as steps. */
function pathsOf(steps: boolean | undefined): uPlot.Series.PathBuilder {
  const { stepped, linear } = uPlot.paths;
  const paths = steps ? stepped?.({ align: 1 }) : linear?.();
  if (!paths) throw new Error('uPlot was built without its ways to draw a line');
  return paths;
}

function upright(plot: uPlot, at: number, stroke: string): void {
  const { ctx, bbox } = plot;
  const x = Math.round(plot.valToPos(at, 'x', true)) + 0.5;
  if (x < bbox.left || x > bbox.left + bbox.width) return;
  rule(ctx, stroke, [], [x, bbox.top], [x, bbox.top + bbox.height]);
}

function across(plot: uPlot, value: number, stroke: string): void {
  const { ctx, bbox } = plot;
  const y = Math.round(plot.valToPos(value, 'y', true)) + 0.5;
  rule(
    ctx,
    stroke,
    [6 * devicePixelRatio, 4 * devicePixelRatio],
    [bbox.left, y],
    [bbox.left + bbox.width, y],
  );
}

type Point = readonly [x: number, y: number];

function rule(ctx: CanvasRenderingContext2D, stroke: string, dash: number[], from: Point, to: Point): void {
  ctx.save();
  ctx.beginPath();
  ctx.strokeStyle = stroke;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash(dash);
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
  ctx.restore();
}
