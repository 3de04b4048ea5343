/** Numbers for people: medians, percentiles, how they are printed, and chance. */

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
