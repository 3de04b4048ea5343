/** Text as one word of a shell's command line, for commands that people copy. Pure. */

/** What no shell takes for anything else. */
const PLAIN = /^[\w@%+=:,./-]+$/;
const CONTROL = /\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}/gu;

/** Quoted where it has to be; control characters are written as bash, zsh and ksh read them. */
export function shellWord(text: string): string {
  if (PLAIN.test(text)) return text;
  if (text.search(CONTROL) < 0) return `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const escaped = text
    .replaceAll(/[\\']/g, String.raw`\$&`)
    .replaceAll(CONTROL, (one) => `\\U${(one.codePointAt(0) ?? 0).toString(16).padStart(8, '0')}`);
  return `$'${escaped}'`;
}
