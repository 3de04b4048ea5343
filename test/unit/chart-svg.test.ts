/** The demo's chart and progress line, from numbers. */
import { describe, expect, test } from 'vitest';
import { chartSvg, niceTicks, type ChartSpec } from '../../cli/simulate/chart-svg.ts';
import { chartOf, rateOf } from '../../examples/fractal/history.ts';
import { createProgress, stateLine } from '../../examples/fractal/progress.ts';
import { cutIntoTiles } from '../../examples/fractal/scene.ts';

test.each([
  [1_000, 5, [0, 200, 400, 600, 800, 1_000]],
  [4, 3, [0, 2, 4]],
  [1, 10, [0, 1]],
  [17.3, 12, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]],
  [0, 3, [0]],
])('ticks for %d, about %d of them', (most, count, ticks) => expect(niceTicks(most, count)).toEqual(ticks));

describe('the chart', () => {
  const one: ChartSpec = {
    title: 'a < b & c',
    subtitle: 'sub',
    timeTitle: 'seconds',
    panels: [
      {
        title: 'Tasks',
        weight: 1,
        series: [
          {
            label: 'waiting',
            colour: '#123456',
            form: 'line',
            points: [
              [0, 0],
              [5, 10],
              [10, 0],
            ],
          },
        ],
      },
    ],
    marks: [{ at: 5, label: 'now' }],
  };

  test('values hold until the next one: the line is made of steps', () => {
    const svg = chartSvg({ ...one, marks: [] });
    const [, path = ''] = /<path d="([^"]+)" fill="none" stroke="#123456"/.exec(svg) ?? [];
    expect(path).toMatch(/^M[\d.]+,[\d.]+(H[\d.]+V[\d.]+){2}H[\d.]+$/);
  });

  test('it has a title, the unit of time, a legend and its marks, all as text that is escaped', () => {
    const svg = chartSvg(one);
    for (const text of ['a &lt; b &amp; c', 'seconds', 'waiting', 'now'])
      expect(svg).toContain(`>${text}</text>`);
    expect(svg).not.toContain('NaN');
  });

  test('a run becomes two panels that begin with its first moment', () => {
    const moment = { waiting: 0, inFlight: 0, completed: 0, wanted: 0, ready: 0 };
    const history = [
      { ...moment, at: -1 },
      { ...moment, at: 0.5, waiting: 10, wanted: 3 },
      { ...moment, at: 2, completed: 10, ready: 3 },
    ];
    const chart = chartOf({ history, tiles: 10, completeS: 2, pixels: '1 × 1' });
    expect(chart.title).toBe('10 tiles: from 0 to 3 workers and back to 0');
    expect(chart.panels[0]?.series[0]?.points).toEqual([
      [0, 0],
      [1.5, 10],
      [3, 0],
    ]);
    expect(chart.marks?.map(({ at }) => at)).toEqual([1, 3]);
    expect(rateOf(history, 5)).toBeCloseTo(10 / 3);
    expect(rateOf([], 5)).toBe(0);
  });
});

describe('progress', () => {
  const state = {
    seconds: 1.25,
    total: 1_000,
    completed: 500,
    waiting: 490,
    inFlight: 10,
    ready: 3,
    wanted: 4,
    rate: 99.6,
  };
  const written = (isTTY: boolean, env: NodeJS.ProcessEnv): string => {
    let text = '';
    const progress = createProgress({ isTTY, columns: 200, write: (more) => (text += more) }, env);
    progress.show(state);
    progress.show({ ...state, seconds: 1.5 });
    progress.say('hello');
    progress.end();
    return text;
  };

  test('one state in words', () => {
    const bar = '████████████░░░░░░░░░░░░';
    expect(stateLine(state, false)).toBe(
      `  1.3 s  ${bar}  500/1000 tiles  490 waiting  10 in flight  3 of 4 workers up  100 tiles/s`,
    );
  });

  test('a terminal gets one line that is rewritten; a file gets one per second, without control characters', () => {
    expect(written(true, {}).split('\r\u001B[2K')).toHaveLength(4);
    expect(written(false, {})).toBe(`${stateLine(state, false)}\nhello\n`);
  });

  test('NO_COLOR takes the colours and nothing else', () => {
    expect(written(true, {})).toContain('\u001B[36m');
    expect(written(true, { NO_COLOR: '1' }).replaceAll('\r\u001B[2K', '')).not.toContain('\u001B');
    expect(written(true, { NO_COLOR: '1' })).toContain('\r\u001B[2K');
  });
});

test('tiles cover each pixel of the picture once', () => {
  const tiles = cutIntoTiles({ width: 25, height: 13 }, 10);
  const times = new Uint8Array(25 * 13);
  for (const { x, y, width, height } of tiles)
    for (let row = y; row < y + height; row++)
      for (let column = x; column < x + width; column++)
        times.set([(times[row * 25 + column] ?? 0) + 1], row * 25 + column);
  expect(times.every((count) => count === 1)).toBe(true);
  expect(new Set(tiles.map(({ id }) => id)).size).toBe(tiles.length);
});
