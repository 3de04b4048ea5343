/** The beginning of the line with which a failed program ends its stderr. */
export function failurePrefix(name: string): string {
  return `${name}: `;
}

/** The name of the worker's program; others recognize its lines by it. */
export const WORKER_PROGRAM = 'millrace-worker';
