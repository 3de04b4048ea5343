/**
 * A text of somebody else, made fit for a status, an event, a table: one line without control characters or lone surrogates, cut to
 * `most` characters. Pure.
 */
export function plainText(text: string, most = 300): string {
  const start = text.slice(0, 4 * most);
  const line = start
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim();
  if (line.length <= most && start.length === text.length) return line;
  return `${line.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/** What moves the cursor, renames the window, or turns the direction of what follows. */
const CONTROLS = /[\p{Cc}\u061C\u200E\u200F\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu;

/** A line for a terminal as it is, but a space for each of its control characters and marks of direction. */
export function printable(line: string): string {
  return line.replaceAll(CONTROLS, ' ');
}

/** A text for a terminal with its lines and tabs, and with every other such character written as `\u001b`. */
export function visible(text: string): string {
  return text.replaceAll(CONTROLS, (one) =>
    one === '\n' || one === '\t' ? one : `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
