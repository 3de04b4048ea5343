/** Rows of a screen in columns of fixed widths. Pure, except for colours. */
import { paint, type Colour } from '../terminal/paint.ts';
import { fit } from '../terminal/table.ts';

export interface Column<T> {
  readonly title: string;
  readonly width: number;
  readonly right?: boolean;
  /** It is left out where the terminal is too narrow, before those on its left and those that are not spare. */
  readonly spare?: true;
  readonly text: (row: T) => string;
  readonly colour?: (row: T) => Colour | undefined;
}

/** Between two columns. */
export const GAP = 2;

/** Below this width, only the most telling columns are shown. */
const NARROW = 70;

/** Those that the terminal has room for, the first one among them. What the others leave goes to that. */
export function fitting<T>(columns: number, all: readonly Column<T>[]): readonly Column<T>[] {
  const used = (some: readonly Column<T>[]): number =>
    some.reduce((sum, { width }) => sum + width, GAP * (some.length - 1));
  const shown = [...all];
  while (shown.length > 1 && used(shown) > columns) {
    const spare = shown.findLastIndex((column, i) => i > 0 && column.spare);
    shown.splice(spare > 0 ? spare : -1, 1);
  }
  const [first, ...others] = shown;
  if (!first || (shown.length === all.length && used(shown) <= columns)) return all;
  return [{ ...first, width: Math.max(1, first.width + columns - used(shown)) }, ...others];
}

/** `first` takes what the others leave. */
export function withFirst<T>(
  columns: number,
  first: Pick<Column<T>, 'title' | 'text'>,
  others: readonly (Column<T> & { readonly wide?: true })[],
): readonly Column<T>[] {
  const shown = others.filter(({ wide }) => columns >= NARROW || !wide);
  const used = shown.reduce((sum, { width }) => sum + width + GAP, 0);
  return fitting(columns, [{ ...first, width: Math.max(8, columns - used) }, ...shown]);
}

export function rateText(rate: number | undefined): string {
  if (rate === undefined) return '-';
  return rate >= 100 ? `${Math.round(rate)}/s` : `${rate.toFixed(1)}/s`;
}

/** Scrolled so that the cursor is visible. */
export function tableLines<T>(
  shown: readonly Column<T>[],
  rows: readonly T[],
  cursor: number,
  room: number,
): string[] {
  const at = Math.min(cursor, rows.length - 1);
  const from = Math.max(0, Math.min(at - Math.floor(room / 2), rows.length - room));
  const cell = (text: string, { width, right }: Column<T>): string => {
    const cut = fit(text, width);
    return right ? cut.trimEnd().padStart(width) : cut;
  };
  const gap = ' '.repeat(GAP);
  const head = paint('dim', shown.map((column) => cell(column.title, column)).join(gap));
  const line = (row: T, i: number): string => {
    const chosen = from + i === at;
    const cells = shown.map((column) => {
      const text = cell(column.text(row), column);
      return chosen ? text : paint(column.colour?.(row), text);
    });
    return chosen ? paint('inverse', cells.join(gap)) : cells.join(gap).trimEnd();
  };
  return [head, ...rows.slice(from, from + Math.max(1, room)).map(line)];
}
