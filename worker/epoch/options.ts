/** The options of a worker, from its flags or from the program that runs it as a library. */
import type { RedisAddress } from '../../queue/connection/connection.ts';
import type { Durability } from '../../queue/connection/durability.ts';
import type { Level } from '../../queue/priorities.ts';
import type { Concurrency } from '../../runtime/concurrency.ts';
import type { Logger } from '../../runtime/log.ts';
import type { WorkerHealth } from './health.ts';
import type { Handler, OpenHandler } from '../task/handler.ts';
import type { WorkerMetrics } from '../process/metrics.ts';
import type { RetryPolicy } from '../../queue/outcomes/retry.ts';

export interface WorkerOptions {
  readonly redis: RedisAddress;
  /** One queue, or several in strict priority, the first one first. */
  readonly queue: string | readonly string[];
  readonly result: string;
  /**
   * The queue is in this many lists, each with a result hash of its own (queue/partitions.ts), from which the worker takes in turns;
   * several numbers where it was in another number of them before. 1 by default. Only with a single queue.
   */
  readonly partitions?: number | readonly number[] | undefined;
  /** Of a single queue in one list: it also serves tasks of these priorities (queue/priorities.ts). */
  readonly priorities?: readonly Level[] | undefined;
  /** Unique among the living workers of its queues; in Kubernetes the pod's name. */
  readonly id: string;
  /** Nothing else refers to the worker by its id: if another living one has it, append something random. */
  readonly mayRename?: boolean;
  /** Maximum number of tasks that run at a time; with bounds, the worker finds it within them. */
  readonly concurrency: Concurrency;
  /** A worker that makes no turn for this long loses its tasks to others, ms. */
  readonly leaseMs: number;
  /** With partitions: it rests in one in which nothing has happened for this long (rest.ts), ms; `leaseMs` by default. */
  readonly restAfterMs?: number;
  readonly retry: RetryPolicy;
  /** Without it, tasks of any size are run. */
  readonly tasks?: TaskPolicy;
  /** The handler reads only `context.raw`: tasks are not parsed for it, and `task` is only of the right kind. */
  readonly bytesOnly?: boolean | undefined;
  readonly results: ResultPolicy;
  readonly deadLetters: DeadLetterPolicy;
  readonly handler: Handler;
  /** See `OpenHandler`. */
  readonly begin?: OpenHandler['begin'] | undefined;
  /** The handler may compute in this thread for long: a thread of its own keeps the lease meanwhile. */
  readonly mayBlock: boolean;
  /** Wait for this many replicas of Redis after each turn that settled something. */
  readonly durability?: Durability | undefined;
  readonly version: string;
  /** `namespace/name` of the WorkerPool that it belongs to, or empty. */
  readonly pool: string;
  readonly log: Logger;
  readonly metrics: WorkerMetrics;
  /** Notified of turns and of failures. */
  readonly health?: WorkerHealth;
  /** Called each time that the worker is registered with all its queues and takes tasks. */
  readonly onReady?: () => void;
  /** Called when it is refused for good and is about to end. */
  readonly onRefused?: (why: string) => void;
  /** How long it is refused before that, ms; 30 s by default, 150 s with credentials in files. */
  readonly refusedMs?: number;
}

export interface TaskPolicy {
  /** A larger one becomes a dead letter instead of being run, bytes. */
  readonly maxBytes: number;
}

export interface ResultPolicy {
  /** How long a result is kept, ms; `undefined` for ever. */
  readonly ttlMs: number | undefined;
  /** A larger one fails its task for good, bytes. */
  readonly maxBytes: number;
}

/** Retention of dead letters: the newest are kept. */
export interface DeadLetterPolicy {
  readonly max: number;
  /** ms; `undefined` for ever. */
  readonly maxAgeMs: number | undefined;
}
