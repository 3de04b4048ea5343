/**
 * How long a pod of a pool may take to end, where the user does not say: long enough for 99 of 100 tasks, from what tasks
 * took lately. Pure. Why it is applied only at certain times: docs/decisions/2026-11-24-grace-period.md.
 */
import type { QueueSample } from '../../queue/pool/sample.ts';
import { p99 } from '../../queue/pool/slow-tasks.ts';

export const DEFAULT_GRACE_S = 30;
const LONGEST_GRACE_S = 3_600;
/** On top of the task: the goodbye, and what a node that shuts down does besides, s. */
const EXTRA_S = 10;
/** Fewer tasks say nothing about the slowest hundredth. */
const ENOUGH_TASKS = 100;
const WINDOW_TASKS = 1_000;

/** What is read of a sample. */
type Finished = Pick<QueueSample, 'counters' | 'slow'>;

/** Counters at some moment; what is counted on from there is what came since. */
interface Mark {
  readonly tasks: number;
  readonly slow: readonly number[];
}

/** What the window begins with, and the next one: it holds the last one to two times WINDOW_TASKS, or all while those are fewer. */
export interface ServiceMemory {
  readonly before: Mark;
  readonly last: Mark;
}

const never: Mark = { tasks: 0, slow: [] };
export const noService: ServiceMemory = { before: never, last: never };

/** Moves the window on to this sample. */
export function recall(memory: ServiceMemory, sample: Finished): ServiceMemory {
  const { completed, failed, retried } = sample.counters;
  const now: Mark = { tasks: completed + failed + retried, slow: sample.slow };
  // the counters began anew, with another Redis or an emptied one
  if (now.tasks < memory.last.tasks) return noService;
  return now.tasks - memory.last.tasks >= WINDOW_TASKS ? { before: memory.last, last: now } : memory;
}

/** The service time that 99 of 100 of the window's tasks kept to, ms; `undefined` while there were too few. */
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
  /** What the pods have now, s. */
  readonly current: number;
  readonly p99Ms: number | undefined;
  /** The pods are replaced anyway: their template changes. */
  readonly changing: boolean;
  /** There are no pods that would have to be replaced. */
  readonly empty: boolean;
  /** Nothing waits, and nothing is in flight. */
  readonly idle: boolean;
}

export interface Grace {
  /** What the pods are to have, s. */
  readonly seconds: number;
  /** What they should have but do not get yet, s; `undefined` when they have enough. */
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
