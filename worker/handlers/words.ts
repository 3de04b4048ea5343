/**
 * Splits a command into words by the quoting rules of the POSIX shell (IEEE 1003.1, 2.2 "Quoting"), without a shell: no
 * expansion, no pipes. Characters with a meaning to a shell are refused instead of passed on, because a `|` among the arguments
 * is never intended. The package shell-quote accepts more than that.
 */

/**
 * The words of a command: `run 'a b' c\ d` is `run`, `a b`, `c d`.
 *
 * Throws `SyntaxError` with a message of one line for an unclosed quote, or for something that only a shell can do.
 */
export function splitWords(command: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (const [token] of command.matchAll(TOKEN)) {
    if (/^\s/.test(token)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + unquote(token);
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** White space, 'single', "double", an escaped character, a run of plain ones; or any other single character. */
const TOKEN = /\s+|'[^']*'|"(?:[^"\\]|\\[^])*"|\\[^]|[^\s'"\\|&;<>()$`]+|[^]/g;

const FOR_A_SHELL = /^[|&;<>()$`]$/;

function unquote(token: string): string {
  if (token === "'" || token === '"') throw new SyntaxError(`the quote ${token} is not closed`);
  if (token === '\\') throw new SyntaxError('the backslash at the end escapes nothing');
  if (FOR_A_SHELL.test(token)) throw needsShell(token);
  if (token.startsWith("'")) return token.slice(1, -1);
  if (token.startsWith('"')) return inDoubleQuotes(token.slice(1, -1));
  if (token.startsWith('\\')) return token === '\\\n' ? '' : token.slice(1);
  return token;
}

/** Inside double quotes a backslash escapes only what would be special there; `$` and the backtick still are. */
function inDoubleQuotes(text: string): string {
  return text.replaceAll(/\\([$`"\\\n])|([$`])/g, (_match, escaped?: string, special?: string) => {
    if (special !== undefined) throw needsShell(special);
    return escaped === '\n' ? '' : (escaped ?? '');
  });
}

function needsShell(token: string): SyntaxError {
  return new SyntaxError(`${token} has no meaning without a shell: quote it, or use sh -c '…'`);
}
