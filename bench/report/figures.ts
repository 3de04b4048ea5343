/** Numbers for people: medians, percentiles, goals, how they are printed, and chance; and those that `all` compares. */

/** The median; NaN of no values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? NaN;
  return Number.isInteger(middle) ? (upper + (sorted[middle - 1] ?? NaN)) / 2 : upper;
}

/** The smallest value that `share` of all values do not exceed (nearest rank). NaN of no values. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}

/** Rounded to this number of significant digits, for JSON and tables. */
export function rounded(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}

/** In any order. */
export function shuffled<T>(values: readonly T[]): T[] {
  const all = values.map((value) => ({ value, order: Math.random() }));
  return all.toSorted((a, b) => a.order - b.order).map(({ value }) => value);
}

export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export interface Goal {
  readonly name: string;
  readonly measured: number;
  readonly goal: number;
  /** Whether higher or lower is better. */
  readonly is: 'at least' | 'at most';
  readonly unit: string;
}

export function holds({ measured, goal, is }: Goal): boolean {
  return is === 'at least' ? measured >= goal : measured <= goal;
}

/** One line for each goal: the measured value, the goal, and whether it is met. */
export function goalLines(goals: readonly Goal[]): string {
  const width = Math.max(...goals.map(({ name }) => name.length));
  const line = (goal: Goal): string => {
    const { name, measured, is, unit } = goal;
    const found = `${rounded(measured, 3)}${unit}`.padStart(10);
    return `${name.padEnd(width)}  ${found}   goal: ${is} ${rounded(goal.goal, 3)}${unit}   ${holds(goal) ? 'holds' : 'MISSED'}\n`;
  };
  return goals.map(line).join('');
}

/** The same for JSON. */
export function goalRows(goals: readonly Goal[]): object[] {
  return goals.map((goal) => ({ ...goal, measured: rounded(goal.measured), holds: holds(goal) }));
}

/** A figure that means something in another run too, on another machine: a ratio, processor time, memory, or a count. */
export interface Figure {
  /** The same in every commit and the only one of its benchmark: figures of two runs are matched by it. */
  readonly name: string;
  readonly unit: '' | '×' | ' µs' | ' ms' | ' MB' | ' bytes' | '/s' | '%';
  /** Whether higher or lower is better. */
  readonly is: Goal['is'];
  readonly goal?: number;
  /** One for each round; those of a ratio are of what was measured in the same round. Without finite ones it was not measured. */
  readonly values: readonly number[];
  /** Processor time, which another machine takes more or less of: compared by the yardstick of its run. */
  readonly processorTime?: true;
  /** Simulated or counted, and the same on every machine: even a small change is one. */
  readonly exact?: true;
  /** A smaller change counts for nothing, in its unit. */
  readonly least?: number;
}

/** Processor time of something, µs of each round. */
export function costFigure(name: string, values: readonly number[]): Figure {
  return { name, unit: ' µs', is: 'at most', values, processorTime: true };
}

/** A ratio of each round. */
export function ratios(above: readonly number[], below: readonly number[]): number[] {
  return above.map((value, round) => value / (below[round] ?? NaN));
}

/** The figures that have a goal. */
export function goalsOf(figures: readonly Figure[]): Goal[] {
  return figures.flatMap(({ name, unit, is, goal, values }) =>
    goal === undefined ? [] : [{ name, unit, is, goal, measured: median(values) }],
  );
}

/** `count` parts of the same length, in order; the last one takes what is left over. */
export function parts<T>(values: readonly T[], count: number): T[][] {
  const length = Math.max(1, Math.floor(values.length / count));
  return Array.from({ length: count }, (_, i) =>
    values.slice(i * length, i === count - 1 ? undefined : (i + 1) * length),
  );
}
