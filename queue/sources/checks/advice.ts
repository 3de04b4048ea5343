/** What may be wrong with the workers of a queue library, and what to do: the sentences that several libraries share. Pure. */

export interface SourceAdvice {
  /** The problem and its remedy, human-readable. */
  readonly note: string;
  readonly todo: string;
}

/** One queue: the tasks that a worker could take from it now, and the live workers that take from it. */
export interface Served {
  readonly queue: string;
  readonly work: number;
  readonly workers: number;
}

/** `elsewhere`: queues of workers that take from none of these, by name, or how many such workers there are. */
export function adviseUnserved(
  served: readonly Served[],
  elsewhere: readonly string[] | number = 0,
): SourceAdvice[] {
  const named = typeof elsewhere === 'number' ? [] : elsewhere;
  const names = new Set([...served.filter(({ workers }) => workers > 0).map(({ queue }) => queue), ...named]);
  // without any worker there is none that takes from the wrong queue
  if (names.size === 0 && (typeof elsewhere !== 'number' || elsewhere === 0)) return [];
  const quoted = [...names].map((name) => `"${name}"`);
  const shown = [...quoted.slice(0, 5), ...(quoted.length > 5 ? ['…'] : [])].join(', ') || 'other queues';
  return served
    .filter(({ work, workers }) => work > 0 && workers === 0)
    .map(({ queue, work }) => ({
      note: `no worker takes from the queue "${queue}", where ${work} tasks wait; the workers here take from ${shown}`,
      todo: `let the workers of this pool take from "${queue}" too, or correct spec.source`,
    }));
}

/** One sentence, where there are any. */
export function adviseIf(count: number, note: (tasks: string) => string, todo: string): SourceAdvice[] {
  return count > 0 ? [{ note: note(count === 1 ? '1 task' : `${count} tasks`), todo }] : [];
}
