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
