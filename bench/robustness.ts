/**
 * `robustness`: the controller's own decisions on loads of many kinds (`simulate/cases.ts`), those of every day and those that are
 * hard for a rule that knows only sums, beside Knative's rule and the smallest fixed pool that would have held the target. What it
 * is late with more than the better of the two, and more than is allowed, is marked. Simulated, so the figures are the same on
 * every machine.
 */
import type { Policy } from '../controller/decide/decision.ts';
import { cases, type Case } from '../simulate/cases.ts';
import { ALLOWED_LATE, compare } from '../simulate/compare.ts';
import type { Figures } from '../simulate/figures.ts';
import { table } from '../cli/terminal/table.ts';
import type { Figure } from './report/figures.ts';
import type { Bench } from './report/report.ts';

interface Row {
  readonly kind: string;
  readonly load: string;
  readonly seed: number;
  readonly millrace: Figures;
  readonly knative: Figures;
  readonly fixed: Figures;
  readonly advice: string | undefined;
  readonly worse: boolean;
}

const HEAD = ['KIND', 'LOAD', 'SEED', 'LATE %', 'COST', 'KNATIVE %', 'COST', 'FIXED %', 'COST', ''];

export const robustness: Bench = async ({ progress, signal, seeds }) => {
  const rows: Row[] = [];
  for (const [kind, loads] of Object.entries(cases))
    for (const load of loads)
      for (let seed = 1; seed <= seeds; seed++) {
        signal.throwIfAborted();
        const row = judged(kind, load, seed);
        rows.push(row);
        progress(
          `${kind}: ${load.name}, seed ${seed}${row.worse ? ': worse than the better of the two' : ''}`,
        );
      }
  const worse = rows.filter((row) => row.worse).length;
  const text = `${table(HEAD, rows.map(cells))}\n${worse} of ${rows.length} are later than the better of Knative and a fixed pool, and later than ${100 * ALLOWED_LATE} %\n`;
  return { text, data: { rows, worse }, figures: figuresOf(rows) };
};

/** Of each kind of load: one that gets better may not hide one that gets worse. */
function figuresOf(rows: readonly Row[]): Figure[] {
  const shared = { unit: '', is: 'at most', exact: true } as const;
  const kinds = Map.groupBy(rows, ({ kind }) => kind);
  const mean = (some: readonly Row[], of: (row: Row) => number): number =>
    some.reduce((sum, row) => sum + of(row), 0) / some.length;
  return [
    {
      ...shared,
      name: 'later than the better of Knative and a fixed pool',
      values: [rows.filter(({ worse }) => worse).length],
    },
    ...[...kinds].flatMap(([kind, some]): Figure[] => [
      { ...shared, name: `${kind}: mean cost`, values: [mean(some, ({ millrace }) => millrace.cost)] },
      {
        ...shared,
        name: `${kind}: mean late`,
        unit: '%',
        values: [100 * mean(some, ({ millrace }) => millrace.over)],
        least: 0.1,
      },
    ]),
  ];
}

function judged(kind: string, load: Case, seed: number): Row {
  const { targetMs, maxReplicas, slots, startMs, startVariation } = load;
  const policy: Policy = {
    minReplicas: 0,
    maxReplicas,
    tasksPerReplica: undefined,
    targetWaitMs: targetMs,
    slots,
    windowMs: undefined,
    fallback: undefined,
    paused: false,
  };
  const setting = { startMs, startVariation, slots, seed };
  const runs = compare(load.trace(seed), policy, targetMs, ['knative', 'static'], setting);
  const [own, knative, fixed] = [runs[0], runs.at(-2), runs.at(-1)];
  if (!own || !knative || !fixed) throw new Error(`${load.name} was not compared`);
  const best = Math.min(knative.figures.over, fixed.figures.over);
  return {
    kind,
    load: load.name,
    seed,
    millrace: own.figures,
    knative: knative.figures,
    fixed: fixed.figures,
    advice: own.advice?.message,
    worse: own.figures.over > Math.max(ALLOWED_LATE, best),
  };
}

/** Costs are for one slot, so that 1 is a slot that always works. */
function cells({ kind, load, seed, millrace, knative, fixed, worse }: Row): (string | number)[] {
  const pair = ({ over, cost }: Figures): string[] => [(100 * over).toFixed(2), cost.toFixed(2)];
  return [kind, load, seed, ...pair(millrace), ...pair(knative), ...pair(fixed), worse ? 'later' : ''];
}
