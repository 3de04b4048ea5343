/** The name under which a pool of `millrace dev` is recorded: its first queue, in a namespace of its own. */
export function devPool([first = '']: readonly string[]): string {
  return `dev/${first}`;
}
