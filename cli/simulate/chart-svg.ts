/**
 * A chart of a run as SVG: panels below one another that share the axis of time, each with an axis of its own, a title
 * with its unit and a legend. Values hold until the next sample, so all lines are steps. Pure.
 */
export interface ChartSeries {
  readonly label: string;
  readonly colour: string;
  /** A filled surface, a line, or a dashed line. */
  readonly form: 'area' | 'line' | 'dashed';
  /** Time in seconds and value, in the order of time. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Panel {
  readonly title: string;
  readonly series: readonly ChartSeries[];
  /** Share of the height. */
  readonly weight: number;
}

export interface ChartSpec {
  readonly title: string;
  readonly subtitle: string;
  /** The unit of the time axis. */
  readonly timeTitle: string;
  readonly panels: readonly Panel[];
  /** In pixels; two panels fit well into what it is without. */
  readonly height?: number;
  /** Named moments, in seconds. */
  readonly marks?: readonly { readonly at: number; readonly label: string }[];
}

const WIDTH = 1000;
const USUAL_HEIGHT = 630;
const LEFT = 72;
const RIGHT = 32;
const TOP = 124;
const BOTTOM = 60;
/** From a panel's title to its plot; the names of the marks are in between. */
const HEAD = 32;
const PANEL_GAP = 80;
const INK = '#1f2937';
const FAINT = '#6b7280';
const RULE = '#e5e7eb';

/** The SVG document. Series without points are omitted. */
export function chartSvg(chart: ChartSpec): string {
  const { height: total = USUAL_HEIGHT } = chart;
  const ends = chart.panels.flatMap(({ series }) => series.map(({ points }) => points.at(-1)?.[0] ?? 0));
  // a little more, so that the last values are visible
  const end = 1.02 * Math.max(1, ...ends, ...(chart.marks ?? []).map(({ at }) => at));
  const x = (seconds: number): number => LEFT + (seconds / end) * (WIDTH - LEFT - RIGHT);
  const weights = chart.panels.reduce((sum, { weight }) => sum + weight, 0);
  const room = total - TOP - BOTTOM - PANEL_GAP * (chart.panels.length - 1);
  let top = TOP;
  const frames: Frame[] = [];
  const bodies = chart.panels.map((panel) => {
    const height = (room * panel.weight) / weights;
    const frame = { top, height, end, x };
    frames.push(frame);
    const body = panelSvg(panel, frame);
    top += height + PANEL_GAP;
    return body;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${total}" width="${WIDTH}" height="${total}" font-family="system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif" font-size="14" fill="${INK}">`,
    `<title>${escape(chart.title)}</title>`,
    `<rect width="${WIDTH}" height="${total}" fill="#ffffff"/>`,
    `<text x="${LEFT - 44}" y="34" font-size="21" font-weight="600">${escape(chart.title)}</text>`,
    `<text x="${LEFT - 44}" y="57" fill="${FAINT}">${escape(chart.subtitle)}</text>`,
    ...bodies,
    ...(chart.marks ?? []).map(({ at, label }) => markSvg(x(at), label, frames)),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${total - 14}" text-anchor="middle" fill="${FAINT}">${escape(chart.timeTitle)}</text>`,
    '</svg>',
    '',
  ].join('\n');
}

interface Frame {
  readonly top: number;
  readonly height: number;
  readonly end: number;
  readonly x: (seconds: number) => number;
}

function panelSvg({ title, series }: Panel, { top, height, end, x }: Frame): string {
  const shown = series.filter(({ points }) => points.length > 0);
  const most = Math.max(1, ...shown.flatMap(({ points }) => points.map(([, value]) => value)));
  const ticks = niceTicks(most, Math.max(2, Math.floor(height / 44)));
  const highest = ticks.at(-1) ?? most;
  const bottom = top + height;
  const y = (value: number): number => bottom - (value / highest) * height;
  const grid = ticks.map(
    (value) =>
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${round(y(value))}" y2="${round(y(value))}" stroke="${value === 0 ? FAINT : RULE}"/>` +
      `<text x="${LEFT - 10}" y="${round(y(value) + 5)}" text-anchor="end" fill="${FAINT}">${value.toLocaleString('en')}</text>`,
  );
  const times = niceTicks(end, 12).filter((second) => second <= end);
  const axis = times.map(
    (second) =>
      `<line x1="${round(x(second))}" x2="${round(x(second))}" y1="${round(bottom)}" y2="${round(bottom + 5)}" stroke="${FAINT}"/>` +
      `<text x="${round(x(second))}" y="${round(bottom + 20)}" text-anchor="middle" fill="${FAINT}">${second.toLocaleString('en')}</text>`,
  );
  return [
    `<text x="${LEFT - 44}" y="${round(top - HEAD)}" font-weight="600">${escape(title)}</text>`,
    legendSvg(shown, round(top - HEAD)),
    ...grid,
    ...axis,
    ...shown.map((one) => seriesSvg(one, x, y, end)),
  ].join('\n');
}

/** From right to left, so that it ends with the plot. */
function legendSvg(series: readonly ChartSeries[], y: number): string {
  let right = WIDTH - RIGHT;
  const entries: string[] = [];
  for (const { label, colour, form } of series.toReversed()) {
    const width = label.length * 6.9;
    const from = round(right - width - 30);
    const sample =
      form === 'area'
        ? `<rect x="${from}" y="${y - 10}" width="20" height="10" fill="${colour}" fill-opacity="0.3" stroke="${colour}"/>`
        : `<line x1="${from}" x2="${from + 20}" y1="${y - 5}" y2="${y - 5}" stroke="${colour}" stroke-width="2.5"${dash(form)}/>`;
    entries.push(`${sample}<text x="${from + 27}" y="${y}">${escape(label)}</text>`);
    right -= width + 50;
  }
  return entries.join('\n');
}

function seriesSvg(
  { points, colour, form }: ChartSeries,
  x: Frame['x'],
  y: (value: number) => number,
  end: number,
): string {
  const [first = [0, 0] as const] = points;
  let line = `M${round(x(first[0]))},${round(y(first[1]))}`;
  for (const [seconds, value] of points.slice(1)) line += `H${round(x(seconds))}V${round(y(value))}`;
  line += `H${round(x(end))}`;
  const stroke = `<path d="${line}" fill="none" stroke="${colour}" stroke-width="2" stroke-linejoin="round"${dash(form)}/>`;
  if (form !== 'area') return stroke;
  return `<path d="${line}V${round(y(0))}H${round(x(first[0]))}Z" fill="${colour}" fill-opacity="0.25"/>${stroke}`;
}

/** The name is above the plots, on the side with more room. */
function markSvg(x: number, label: string, frames: readonly Frame[]): string {
  const anchor = x > WIDTH / 2 ? 'end' : 'start';
  const lines = frames.map(({ top, height }, i) => {
    const from = i === 0 ? top - 20 : top;
    return `<line x1="${round(x)}" x2="${round(x)}" y1="${round(from)}" y2="${round(top + height)}" stroke="${FAINT}" stroke-dasharray="2 4"/>`;
  });
  const left = round(x + (anchor === 'end' ? -6 : 6));
  return `${lines.join('')}<text x="${left}" y="${TOP - 9}" text-anchor="${anchor}" font-size="13" fill="${FAINT}">${escape(label)}</text>`;
}

function dash(form: ChartSeries['form']): string {
  return form === 'dashed' ? ' stroke-dasharray="6 4"' : '';
}

/** Round numbers (1, 2 or 5 times a power of ten) from 0 until `most` is reached, about `count` of them. */
export function niceTicks(most: number, count: number): number[] {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power);
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, i) => i * step);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
