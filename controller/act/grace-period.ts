/**
 * The termination grace period of a pool's pods, where the user sets none: long enough for 99 of 100 tasks, by recent service
 * times. Pure. Why it is applied only at certain times: docs/decisions/2026-11-24-grace-period.md.
 */
import type { QueueSample } from '../../queue/pool/sample.ts';
import { p99 } from '../../queue/pool/slow-tasks.ts';

export const DEFAULT_GRACE_S = 30;
const LONGEST_GRACE_S = 3_600;
/** In addition to the task: the worker's goodbye, and delays of a node that shuts down, s. */
const EXTRA_S = 10;
/** Fewer tasks do not determine the slowest hundredth. */
const ENOUGH_TASKS = 100;
const WINDOW_TASKS = 1_000;

/** The part of a sample that counts finished tasks. */
type Finished = Pick<QueueSample, 'counters' | 'slow'>;

/** Counters at some moment: the difference to later ones is what finished since. */
interface Counts {
  readonly tasks: number;
  readonly slow: readonly number[];
}

/**
 * The start of the window, and that of the next one: it holds the last WINDOW_TASKS to 2 × WINDOW_TASKS tasks, or all if there
 * are fewer.
 */
export interface ServiceMemory {
  readonly before: Counts;
  readonly last: Counts;
}

const never: Counts = { tasks: 0, slow: [] };
export const noService: ServiceMemory = { before: never, last: never };

/** Moves the window on to this sample. */
export function recall(memory: ServiceMemory, sample: Finished): ServiceMemory {
  const { completed, failed, retried } = sample.counters;
  const now: Counts = { tasks: completed + failed + retried, slow: sample.slow };
  // the counters were reset: another Redis, or one that was flushed
  if (now.tasks < memory.last.tasks) return noService;
  return now.tasks - memory.last.tasks >= WINDOW_TASKS ? { before: memory.last, last: now } : memory;
}

/** The 99th percentile of the service times in the window, ms; `undefined` if there are too few. */
export function recentP99(memory: ServiceMemory, sample: Finished): number | undefined {
  const { completed, failed, retried } = sample.counters;
  const tasks = completed + failed + retried - memory.before.tasks;
  if (tasks < ENOUGH_TASKS) return undefined;
  return p99(
    sample.slow.map((count, i) => count - (memory.before.slow[i] ?? 0)),
    tasks,
  );
}

export interface GraceInput {
  /** The period that the pods have now, s. */
  readonly current: number;
  readonly p99Ms: number | undefined;
  /** The pods are replaced anyway, because their template changes. */
  readonly changing: boolean;
  /** There are no pods to replace. */
  readonly empty: boolean;
  /** Nothing waits, and nothing is in flight. */
  readonly idle: boolean;
}

export interface Grace {
  /** The period to apply, s. */
  readonly seconds: number;
  /** The longer period that they need but do not get yet, s; `undefined` if theirs is sufficient. */
  readonly missing: number | undefined;
}

/** The grace period of a pool's pods. */
export function graceOf({ current, p99Ms, changing, empty, idle }: GraceInput): Grace {
  const keep: Grace = { seconds: current, missing: undefined };
  if (p99Ms === undefined) return keep;
  const needed = Math.ceil((1.5 * p99Ms) / 1_000 + EXTRA_S);
  const wanted = Math.min(Math.max(needed, DEFAULT_GRACE_S), LONGEST_GRACE_S);
  const use: Grace = { seconds: wanted, missing: undefined };
  if (wanted > current) return changing || empty || idle ? use : { seconds: current, missing: wanted };
  return wanted <= current / 2 && (changing || empty) ? use : keep;
}
