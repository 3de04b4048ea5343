/**
 * `cli/terminal/` takes rows, numbers and colours and returns text. It does not know what they are about.
 *
 * Text for terminals: tables in the manner of kubectl, short ages. Pure.
 */
import stringWidth from 'string-width';
import { printable } from '../../runtime/plain-text.ts';
import { paint, type Colour } from './paint.ts';

/** Text is written without control characters, whatever its origin; its colour is separate. */
export type Cell = string | number | { readonly text: string; readonly colour: Colour | undefined };

const textOf = (cell: Cell | undefined): string =>
  printable(String(typeof cell === 'object' ? cell.text : (cell ?? '')));

/** Columns as wide as their widest cell, two spaces apart; numbers are right-aligned. Ends with a line feed. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const line = layout(head, rows);
  return [head, ...rows].map((row) => `${line(row)}\n`).join('');
}

/** Formats the rows of such a table: these, or later ones. */
export function layout(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
): (row: readonly Cell[]) => string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => stringWidth(textOf(row[column])))),
  );
  // an unknown value is not a number
  const number = (cell: Cell | undefined): boolean => typeof cell === 'number' || cell === '-';
  const right = head.map((_, column) => rows.length > 0 && rows.every((row) => number(row[column])));
  const padded = (cell: Cell, i: number): string => {
    const text = textOf(cell);
    const room = ' '.repeat(Math.max(0, (widths[i] ?? 0) - stringWidth(text)));
    const shown = typeof cell === 'object' ? paint(cell.colour, text) : text;
    return right[i] ? room + shown : shown + room;
  };
  return (row) => row.map(padded).join('  ').trimEnd();
}

/** The two largest units of a time in ms: `3d4h`, `5m12s`, `7s`. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const units = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3_600) % 24],
    ['m', Math.floor(seconds / 60) % 60],
    ['s', seconds % 60],
  ] as const;
  const first = units.findIndex(([, count]) => count > 0);
  if (first < 0) return '0s';
  const shown = units.slice(first, first + 2).filter(([, count]) => count > 0);
  return shown.map(([unit, count]) => `${count}${unit}`).join('');
}

/** At most `max` characters of a text, without line feeds or other control characters. */
export function oneLine(text: string, max: number): string {
  const line = printable(text).replaceAll(/\s+/g, ' ').trim();
  return line.length > max ? `${line.slice(0, max - 1)}…` : line;
}

/** The text cut or padded to exactly `columns` of a terminal, without control characters. */
export function fit(text: string, columns: number): string {
  const line = printable(text);
  const width = stringWidth(line);
  if (width <= columns) return line + ' '.repeat(columns - width);
  let cut = '';
  let used = 0;
  for (const { segment } of new Intl.Segmenter().segment(line)) {
    const more = stringWidth(segment);
    if (used + more > columns - 1) break;
    cut += segment;
    used += more;
  }
  return `${cut}…${' '.repeat(Math.max(0, columns - 1 - used))}`;
}
