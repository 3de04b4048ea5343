/**
 * `queue/sources/` takes the keys of another queue library and returns what is waiting, running and delayed there, and who
 * holds it. It reads, and writes nothing but a library's own orders to its workers. It knows nothing of pods, pools or replicas.
 *
 * A source is one file that knows one library: which keys it has, what they mean, and where they mislead. Each is created by a
 * function of its settings (sources.ts) and keeps nothing; what is in Redis is read anew each time. docs/sources.md says for
 * users what each of them sees.
 */
import type { Redis } from 'ioredis';
import type { Ask, Watched } from './ask.ts';

export interface Source {
  /** The field of `spec.source` that it is written in. */
  readonly kind: string;
  /**
   * One look at each of its queues: at most three round trips in all and 20 commands for a queue (one more for each process where
   * only those say what they hold), however many tasks there are; never the whole of a key whose size a client chooses. Throws
   * `SourceTrouble` for what a person must mend, and what `ask` throws; the replicas are held then. Delayed tasks that fall due
   * within `horizonMs` are due soon. `watch` receives the waking questions that are answered other than by `ask`.
   */
  readonly look: (
    ask: Ask,
    horizonMs: number,
    redis: Redis,
    watch: (one: Watched) => void,
  ) => Promise<readonly SourceLook[]>;
  readonly holding: Holding;
}

/** What one look has found in one queue. */
export interface SourceLook {
  /** Redis time, ms. */
  readonly now: number;
  /** Tasks that a worker may take now. */
  readonly waiting: number;
  /** Of these, tasks that no further worker could take now, because the queue limits how many run. */
  readonly blocked?: number;
  /** Tasks that workers hold, running or prefetched, as far as the library's keys show them. */
  readonly inHand: number;
  /** Tasks that are not due yet, or are due and were not moved. */
  readonly delayed: number;
  /** Of these, those that are due: only a running worker moves them, so they count as waiting. */
  readonly due: number;
  readonly dueSoon: number;
  /** When the first delayed task falls due, ms of Redis time. */
  readonly nextDue?: number | undefined;
  /** Tasks that failed for good, where the library keeps them. */
  readonly failed?: number;
  /** All-time count of finished tasks, where the library keeps one: only then can `targetWait` be set. */
  readonly finished?: number;
  /** Workers take nothing until somebody resumes the queue: what waits there asks for no replicas. */
  readonly paused?: boolean;
  /** Workers that were told to take nothing more, by `Orders`. */
  readonly leaving?: number;
}

/** What the library's keys say of who holds tasks: it decides which pods may go. */
export type Holding =
  /** Each worker is known, and how many tasks it holds, no later than `lagMs` after it took one. */
  | {
      readonly by: 'worker';
      readonly lagMs: number;
      readonly crew: (ask: Ask, redis: Redis) => Promise<SourceCrew>;
      readonly orders?: Orders;
    }
  /** Only how many tasks are held in all: pods go when there are none. */
  | { readonly by: 'count'; readonly lagMs: number }
  /**
   * Running tasks are in no key. `why`: human-readable, for `explain`. Pods go when nothing was there to take for `longestMs`, the
   * longest that a task may run; `undefined`: never.
   */
  | { readonly by: 'nobody'; readonly why: string; readonly longestMs: number | undefined };

/** The workers that the library has on record now. */
export interface SourceCrew {
  readonly workers: readonly SourceWorker[];
  /** Tasks in hand for which no worker is named: any worker may hold them. */
  readonly unnamed: number;
  /**
   * A task in hand is in these numbers in the moment in which it is taken: a pod of which nothing is known holds none while each
   * holder is found in another. A library without this may not show a worker that is there and busy.
   */
  readonly complete?: boolean;
  /** What a person should know of these workers. */
  readonly concerns?: readonly Concern[];
}

export interface Concern {
  /** The problem and its remedy, human-readable. */
  readonly note: string;
  readonly todo: string;
  /** Pods are held because of it. */
  readonly holds: boolean;
}

export interface SourceWorker {
  /** By which orders name it. */
  readonly id: string;
  /** Where it runs, as far as the library says: a host name, an address, a name that its user gave it. */
  readonly hosts: readonly string[];
  /** Tasks that it holds. */
  readonly tasks: number;
  /** It was told to take nothing more, and has confirmed that. */
  readonly quiet?: boolean;
}

/** Where a library's workers take orders, they finish what they hold and take nothing more before their pods go. */
export interface Orders {
  readonly drain: (redis: Redis, workers: readonly SourceWorker[]) => Promise<void>;
  /** Takes that back. */
  readonly resume: (redis: Redis, workers: readonly SourceWorker[]) => Promise<void>;
}

/** What a person must mend before the source can be counted. Nothing was touched. */
export class SourceTrouble extends Error {
  override name = 'SourceTrouble';
  /** `NotFound`: nothing of the library has these names; `UnknownLayout`: it is there, in a form that is not known. */
  readonly kind: 'NotFound' | 'UnknownLayout';
  /** The problem and its remedy, which the message combines. */
  readonly note: string;
  readonly todo: string;
  constructor(kind: SourceTrouble['kind'], note: string, todo: string) {
    super(`${note}; ${todo}`);
    this.kind = kind;
    this.note = note;
    this.todo = todo;
  }
}
