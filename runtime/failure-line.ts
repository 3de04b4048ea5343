/** How the line begins in which a program says what it failed of, as its last one on stderr. */
export function failurePrefix(name: string): string {
  return `${name}: `;
}

/** The name of the worker's program, by which others read what it wrote. */
export const WORKER_PROGRAM = 'millrace-worker';
