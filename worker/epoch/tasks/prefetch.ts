/**
 * How many tasks a worker takes at a time.
 *
 * Take ahead by time, not by count: a worker holds what it runs plus what it will finish in about HORIZON_MS, so that
 * fast tasks come in large batches and a slow task never strands others behind it. Pure.
 */

const HORIZON_MS = 100;
const MAX_HELD = 2_000;

/** Total size of tasks that wait for a slot above which no more are taken, bytes. */
export const MAX_HELD_BYTES = 16 << 20;

/** This many finished tasks are worth a turn. */
export const FULL_BATCH = 128;

export interface Pace {
  /** Mean service time of a task, ms; `undefined` until one was finished. */
  readonly serviceMs: number | undefined;
  /** Mean size of a task, bytes. */
  readonly taskBytes: number;
}

/** Number of tasks to hold, running ones included: at least one per slot. */
export function holdTarget(concurrency: number, { serviceMs, taskBytes }: Pace): number {
  const ahead =
    serviceMs === undefined ? 0 : Math.floor((concurrency * HORIZON_MS) / Math.max(serviceMs, 0.01));
  const fits = Math.floor(MAX_HELD_BYTES / Math.max(taskBytes, 1));
  return Math.max(concurrency, Math.min(ahead, fits, MAX_HELD));
}

/** Moving mean of what a worker's tasks need. Old tasks fade: half is forgotten after about 14. */
export class MovingPace implements Pace {
  /** NaN until a task was finished. Numbers of an object, because those of a closure would be objects, two for each task. */
  #serviceMs = Number.NaN;
  #taskBytes = 0;

  get serviceMs(): number | undefined {
    return Number.isNaN(this.#serviceMs) ? undefined : this.#serviceMs;
  }

  get taskBytes(): number {
    return this.#taskBytes;
  }

  finished(serviceMs: number, bytes: number): void {
    const before = this.#serviceMs;
    this.#serviceMs = Number.isNaN(before) ? serviceMs : before + (serviceMs - before) / 20;
    this.#taskBytes += (bytes - this.#taskBytes) / 20;
  }

  /** A running task is a lower bound before it has finished. */
  atLeast(serviceMs: number): void {
    this.#serviceMs = Math.max(this.serviceMs ?? 0, serviceMs);
  }
}
