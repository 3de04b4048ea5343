/** How a run of `all` stands to a kept one, for a person. Pure. */
import { table } from '../../cli/terminal/table.ts';
import { Verdict, type Compared, type Figures } from './compare.ts';
import { holds, median, rounded } from './figures.ts';

/** One row for each figure. */
export function comparisonTable(rows: readonly Compared[]): string {
  const head = ['BENCHMARK', 'FIGURE', 'NOW', 'GOAL', 'KEPT', 'CHANGE', 'SAME UP TO', ''];
  return table(head, rows.map(cells));
}

/** Without a kept run. */
export function figureTable(figures: Figures): string {
  const rows = Object.entries(figures).flatMap(([bench, list]) =>
    list.map((figure) => {
      const now = figure.values.length > 0 ? median(figure.values) : undefined;
      return [bench, figure.name, valueOf(now, figure.unit), goalOf(figure, now)];
    }),
  );
  return table(['BENCHMARK', 'FIGURE', 'NOW', 'GOAL'], rows);
}

function cells(row: Compared): string[] {
  const { bench, name, unit, now, kept, within, verdict } = row;
  const change = changeOf(now, kept, within, unit);
  return [bench, name, valueOf(now, unit), goalOf(row, now), valueOf(kept, unit), ...change, verdict];
}

const valueOf = (value: number | undefined, unit: string): string =>
  value === undefined ? '-' : `${rounded(value, 3)}${unit}`;

function goalOf(
  { goal, name, is, unit }: Pick<Compared, 'goal' | 'name' | 'is' | 'unit'>,
  now?: number,
): string {
  if (goal === undefined) return '';
  const missed = now !== undefined && !holds({ name, unit, is, goal, measured: now });
  return `${is} ${valueOf(goal, unit)}${missed ? ', MISSED' : ''}`;
}

/** As a share, or where the kept value is 0, in the unit. */
function changeOf(
  now: number | undefined,
  kept: number | undefined,
  within: number | undefined,
  unit: string,
): readonly [change: string, within: string] {
  if (now === undefined || kept === undefined || within === undefined) return ['', ''];
  const signed = (value: number, of: string): string => `${value > 0 ? '+' : ''}${rounded(value, 2)}${of}`;
  const [scale, of] = kept === 0 ? [1, unit] : [100 / Math.abs(kept), ' %'];
  return [signed((now - kept) * scale, of), `±${rounded(within * scale, 2)}${of}`];
}

/** What to take from it, in lines: the worse ones by name. */
export function summaryLines(rows: readonly Compared[], keptName: string): string {
  const of = (verdict: Verdict): readonly Compared[] => rows.filter((row) => row.verdict === verdict);
  const named = (some: readonly Compared[]): string =>
    some.map(({ bench, name }) => `  ${bench}: ${name}\n`).join('');
  const counted = (some: readonly Compared[], what: string): string =>
    some.length === 0 ? '' : `${some.length === 1 ? '1 figure is' : `${some.length} figures are`} ${what}`;
  const [worse, better, same] = [of(Verdict.Worse), of(Verdict.Better), of(Verdict.Same)];
  const blurred = rows.filter((row) => row.blurred);
  const lines = [
    counted(same, `the same as in ${keptName}\n`),
    counted(better, `better than in ${keptName}:\n${named(better)}`),
    counted(of(Verdict.OnlyNow), `only in this run:\n${named(of(Verdict.OnlyNow))}`),
    counted(of(Verdict.OnlyKept), `only in ${keptName}:\n${named(of(Verdict.OnlyKept))}`),
    counted(
      blurred,
      'measured with rounds that spread too much for a difference of a quarter to be seen: is this machine quiet?\n',
    ),
    worse.length === 0
      ? 'no figure is worse\n'
      : counted(
          worse,
          `WORSE than in ${keptName}, by more than the rounds of both explain:\n${named(worse)}`,
        ),
  ];
  return lines.join('');
}
