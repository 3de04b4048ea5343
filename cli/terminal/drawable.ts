/** Whether a terminal can be drawn on: whether it moves its cursor and clears lines when it is told to. */

interface Terminal {
  readonly isTTY?: boolean;
}

/** Why not, for a sentence that begins with "it needs a terminal"; `undefined` if it can. `term`: the kind of terminal, as curses takes `TERM`. */
export function undrawable({ isTTY }: Terminal, term = ''): string | undefined {
  if (!isTTY) return 'and this is none';
  if (term === '') return 'and TERM, which names its kind, is not set';
  return term === 'dumb' ? 'and TERM is "dumb", one that shows only plain text' : undefined;
}
