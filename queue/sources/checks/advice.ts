/** What may be wrong with the workers of a queue library, and what to do: the sentences that several libraries share. Pure. */

import { formatDuration } from '../../../runtime/duration.ts';
import { plural } from '../../../runtime/plural.ts';

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
      note: `no worker takes from the queue "${queue}", where ${plural(work, 'task waits', 'tasks wait')}; the workers here take from ${shown}`,
      todo: `let the workers of this pool take from "${queue}" too, or correct spec.source`,
    }));
}

/** One sentence, where there are any. */
export function adviseIf(count: number, note: (tasks: string) => string, todo: string): SourceAdvice[] {
  return count > 0 ? [{ note: note(plural(count, 'task')), todo }] : [];
}

/** A number that is no time may be any. */
const LONGEST_MS = 100 * 365 * 86_400_000;

/** About workers whose clocks are not that of Redis, by ms; those where both agree have 0. */
export function adviseClock(
  workers: readonly { readonly id: string; readonly aheadMs: number }[],
): SourceAdvice[] {
  const [first] = workers.toSorted((a, b) => Math.abs(b.aheadMs) - Math.abs(a.aheadMs));
  if (!first || first.aheadMs === 0) return [];
  const off = formatDuration(1_000 * Math.round(Math.min(Math.abs(first.aheadMs), LONGEST_MS) / 1_000));
  return [
    {
      note: `the clock of ${first.id} is ${off} ${first.aheadMs > 0 ? 'ahead of' : 'behind'} that of Redis`,
      todo: 'synchronize the clocks of the nodes (NTP): the library itself compares times of several of them, for what is due and for workers that have died',
    },
  ];
}
