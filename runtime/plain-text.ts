/**
 * Foreign text, made fit for a status, an event or a table: one line without control characters or lone surrogates, cut to
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

/**
 * Characters that move the cursor, rename the window, or change the direction of the text after them. The first class is \p{Cc}, for
 * which each start of a program would load tables of Unicode.
 */
const CONTROLS = /[^ -~\u00A0-\uFFFF]|[\u061C\u200E\u200F\u2028\u2029\u202A-\u202E\u2066-\u2069]/g;

/** A line for a terminal, with a space for each control character and directional mark. */
export function printable(line: string): string {
  return line.replaceAll(CONTROLS, ' ');
}

/** Text for a terminal: line feeds and tabs are kept, every other such character is escaped as `\u001b`. */
export function visible(text: string): string {
  return text.replaceAll(CONTROLS, (one) =>
    one === '\n' || one === '\t' ? one : `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
