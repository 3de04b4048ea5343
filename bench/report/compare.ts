/**
 * Compares the figures of two runs, each a list of values by round. Pure.
 *
 * A figure differs when the medians do by more than the rounds of both runs explain: with the variance of the rounds around their
 * own means (pooled), the difference of two medians of equal builds is larger once in a thousand times (Student's t; a median's
 * standard error is √(π/2) that of a mean). What is less than 5 % is the same in any case, because processes differ from start to
 * start by more than their rounds do. Simulated and counted figures have no spread: there, more than 1 % is a difference.
 */
import { median, type Figure } from './figures.ts';

/** The figures of a run, by benchmark. */
export type Figures = Readonly<Record<string, readonly Figure[]>>;

export interface Run {
  readonly figures: Figures;
  /** Processor time of one piece of the yardstick, µs. */
  readonly yardstickUs: readonly number[];
}

export const Verdict = {
  Better: 'better',
  Same: 'same',
  Worse: 'worse',
  OnlyNow: 'only in this run',
  OnlyKept: 'only in the kept run',
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export interface Compared {
  readonly bench: string;
  readonly name: string;
  readonly unit: Figure['unit'];
  readonly verdict: Verdict;
  readonly is: Figure['is'];
  readonly goal?: number | undefined;
  /** Medians, in the unit; `undefined` where it was not measured. */
  readonly now: number | undefined;
  /** Processor time as this machine would have taken it. */
  readonly kept: number | undefined;
  /** Up to this, either way, it is the same. */
  readonly within?: number;
  /** The rounds spread too much for a difference of a quarter to be seen. */
  readonly blurred?: boolean;
}

/** Smallest share of the kept value that is a difference. */
const LEAST_SHARE = 0.05;
const LEAST_EXACT_SHARE = 0.01;
const BLURRED_SHARE = 0.25;
/** Of a median's standard error to a mean's, in large samples of a normal distribution. */
const MEDIAN_TO_MEAN = Math.sqrt(Math.PI / 2);

/** Student's t that is exceeded once in a thousand times, by degrees of freedom from 1 on; from 30 on the normal distribution's is near. */
const T = [318.3, 22.33, 10.21, 7.173, 5.893, 5.208, 4.785, 4.501, 4.297, 4.144].concat(
  [4.025, 3.93, 3.852, 3.787, 3.733, 3.686, 3.646, 3.61, 3.579, 3.552],
  [3.527, 3.505, 3.485, 3.467, 3.45, 3.435, 3.421, 3.408, 3.396, 3.385],
);
const T_LARGE = 3.3;

/** How much more processor time this machine takes for the same work than the one of the kept run. */
export function slowerBy(now: Run, kept: Run): number {
  const factor = median(now.yardstickUs) / median(kept.yardstickUs);
  return Number.isFinite(factor) && factor > 0 ? factor : 1;
}

/** In the order of this run, and what only the kept one has after the rest of its benchmark. What neither has measured is left out. */
export function compareRuns(now: Run, kept: Run): Compared[] {
  const factor = slowerBy(now, kept);
  const benches = new Set([...Object.keys(now.figures), ...Object.keys(kept.figures)]);
  return [...benches].flatMap((bench) => {
    const own = (now.figures[bench] ?? []).flatMap(measured);
    const others = (kept.figures[bench] ?? []).flatMap(measured);
    const rows = own.map((figure) => {
      const before = others.find((other) => isSame(other, figure));
      return before ? compareFigures(bench, figure, before, factor) : onlyOne(bench, figure, Verdict.OnlyNow);
    });
    const gone = others.filter((other) => !own.some((figure) => isSame(other, figure)));
    return rows.concat(gone.map((figure) => onlyOne(bench, figure, Verdict.OnlyKept)));
  });
}

/** In another unit it is another figure. */
const isSame = (one: Figure, other: Figure): boolean => one.name === other.name && one.unit === other.unit;

function compareFigures(bench: string, now: Figure, before: Figure, factor: number): Compared {
  const others = now.processorTime ? before.values.map((value) => value * factor) : before.values;
  const [nowMedian, keptMedian] = [median(now.values), median(others)];
  const share = now.exact ? LEAST_EXACT_SHARE : LEAST_SHARE;
  const spread = explained(now.values, others);
  const within = Math.max(share * Math.abs(keptMedian), now.least ?? 0, spread);
  const worseBy = now.is === 'at most' ? nowMedian - keptMedian : keptMedian - nowMedian;
  const verdict = worseBy > within ? Verdict.Worse : worseBy < -within ? Verdict.Better : Verdict.Same;
  const blurred = spread > BLURRED_SHARE * Math.abs(keptMedian);
  return { ...head(bench, now), verdict, now: nowMedian, kept: keptMedian, within, blurred };
}

/** The difference of the medians that the spread of the rounds explains; 0 without any round to spare. */
function explained(own: readonly number[], others: readonly number[]): number {
  const freedom = own.length + others.length - 2;
  if (freedom < 1) return 0;
  const variance = (squares(own) + squares(others)) / freedom;
  const error = Math.sqrt(variance * (1 / own.length + 1 / others.length));
  return (T[freedom - 1] ?? T_LARGE) * MEDIAN_TO_MEAN * error;
}

/** Sum of the squared differences from the mean. */
function squares(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
}

const head = (bench: string, { name, unit, is, goal }: Figure) => ({ bench, name, unit, is, goal });

function onlyOne(
  bench: string,
  figure: Figure,
  verdict: 'only in this run' | 'only in the kept run',
): Compared {
  const value = median(figure.values);
  const [now, kept] = verdict === Verdict.OnlyNow ? [value, undefined] : [undefined, value];
  return { ...head(bench, figure), verdict, now, kept };
}

/** With what was measured of it; none if nothing was. */
function measured(figure: Figure): Figure[] {
  const values = figure.values.filter(Number.isFinite);
  return values.length > 0 ? [{ ...figure, values }] : [];
}
