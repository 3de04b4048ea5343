/** `1 task`, `2 tasks`; `other` where it is not the word with an s. */
export function plural(count: number, one: string, other = `${one}s`): string {
  return `${count} ${count === 1 ? one : other}`;
}
