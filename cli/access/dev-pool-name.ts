/** What a pool of `millrace dev` is called where it is recorded: in a namespace of its own, by its first queue. */
export function devPool([first = '']: readonly string[]): string {
  return `dev/${first}`;
}
