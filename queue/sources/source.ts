/**
 * `queue/sources/` takes the keys of another queue library and returns how many tasks are waiting, running and delayed there, and
 * which workers hold them. It only reads, except that it may send a library's workers their library's own drain orders. It must
 * not know pods, pools or replicas.
 *
 * A source is one file that knows one library: its keys, what they mean, and where they mislead. It is created from its settings
 * (sources.ts) and has no state; each read starts afresh. docs/sources.md tells users what each source can see.
 */
import type { Redis } from 'ioredis';
import type { Ask, Watched } from './ask.ts';

export { SourceTrouble } from './source-trouble.ts';

export interface Source {
  /** Its field in `spec.source`. */
  readonly kind: string;
  /**
   * Counts the tasks of each of its queues, in at most three round trips in all and 20 commands per queue, however many tasks
   * there are (Sidekiq: with more than 1,500 processes one more for each); a key whose size a client chooses is never read
   * whole. Throws `SourceTrouble` for what a person must fix, and whatever `ask` throws; replicas are held then. Delayed tasks
   * that fall due within `horizonMs` count as due soon. `watch` receives the waking questions that were not answered by `ask`.
   */
  readonly read: (
    ask: Ask,
    horizonMs: number,
    redis: Redis,
    watch: (one: Watched) => void,
  ) => Promise<readonly SourceCounts[]>;
  readonly holding: Holding;
}

/** The tasks of one queue at one read. */
export interface SourceCounts {
  /** Redis time, ms. */
  readonly now: number;
  /** Tasks that a worker may take now. */
  readonly waiting: number;
  /**
   * Of those that wait or are due, tasks that no additional worker could take now, because the queue limits how many run, or start
   * in a time.
   */
  readonly blocked?: number;
  /** Tasks that workers hold, running or prefetched, as far as the library's keys show them. */
  readonly inHand: number;
  /** Tasks that are not due yet, or are due but were not moved to the queue. */
  readonly delayed: number;
  /** Delayed tasks that are due: only a running worker moves them, so they count as waiting. */
  readonly due: number;
  readonly dueSoon: number;
  /** When the first delayed task falls due, ms of Redis time. */
  readonly nextDue?: number | undefined;
  /** Tasks that failed for good, where the library keeps them. */
  readonly failed?: number;
  /** All-time number of finished tasks, where the library keeps one; `targetWait` requires it. */
  readonly finished?: number;
  /** Workers take nothing until the queue is resumed, so its waiting tasks require no replicas. */
  readonly paused?: boolean;
  /** Workers that are draining, by `DrainOrders`. */
  readonly leaving?: number;
}

/** What the library's keys reveal about which workers hold tasks, and so which pods may be removed. */
export type Holding =
  /** Each worker, and how many tasks it holds, at most `lagMs` after it took one. */
  | {
      readonly by: 'worker';
      readonly lagMs: number;
      /** `isOurs`: whose hosts matter most, where there are more workers than one look reads. */
      readonly readWorkers: (
        ask: Ask,
        redis: Redis,
        isOurs?: (host: string) => boolean,
      ) => Promise<SourceWorkers>;
      readonly orders?: DrainOrders;
    }
  /** Only the total number of tasks that are held: pods are removed when it is 0. */
  | { readonly by: 'count'; readonly lagMs: number }
  /**
   * Nothing: running tasks are in no key. `why`: human-readable, for `explain`. Pods are removed when there was nothing to take
   * for `longestMs`, the longest that a task may run; `undefined`: never.
   */
  | { readonly by: 'nobody'; readonly why: string; readonly longestMs: number | undefined };

/** The workers that the library has on record, at one read. */
export interface SourceWorkers {
  readonly workers: readonly SourceWorker[];
  /** Tasks in hand whose worker is not named: any worker may hold them. */
  readonly unnamed: number;
  /**
   * Tasks are included in these numbers from the instant at which they are taken, so a pod without a known worker holds none
   * while all holders are in other pods. Otherwise a busy worker may be missing here.
   */
  readonly complete?: boolean;
  /** Problems with these workers that a person should know of. */
  readonly concerns?: readonly Concern[];
}

export interface Concern {
  /** The problem and its remedy, human-readable. */
  readonly note: string;
  readonly todo: string;
  /** Whether pods are held because of it. */
  readonly holds: boolean;
}

export interface SourceWorker {
  /** By which `DrainOrders` address it. */
  readonly id: string;
  /** Where it runs, as far as the library says: a host name, an address, a name that its user gave it. */
  readonly hosts: readonly string[];
  /** `hosts` are parts of its name, of which one may be its host. */
  readonly hostsGuessed?: boolean;
  /** Tasks that it holds. */
  readonly tasks: number;
  /** `tasks` are those that it shares with others: which of them holds one is not known. */
  readonly tasksShared?: boolean;
  /** It was told to drain, and has confirmed that. */
  readonly quiet?: boolean;
  /** It has not reported for longer than it should, so `tasks` is the least that it may hold. */
  readonly silent?: boolean;
  /** Stands for workers of which nothing is known but their number. */
  readonly placeholder?: boolean;
  /** Since it last asked for a task, ms, where the library says it. */
  readonly idleMs?: number;
  /** Since it reported this, ms, where the library says it. */
  readonly seenMs?: number;
}

/** Where a library's workers can be told to drain: to finish the tasks that they hold and take no more, before their pods go. */
export interface DrainOrders {
  readonly drain: (redis: Redis, workers: readonly SourceWorker[]) => Promise<void>;
  /** Cancels the drain. */
  readonly resume: (redis: Redis, workers: readonly SourceWorker[]) => Promise<void>;
}
