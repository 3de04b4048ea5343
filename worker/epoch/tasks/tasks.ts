/**
 * `worker/epoch/tasks/` takes deliveries, starts them in free slots and puts their outcomes into the batch; how many to hold,
 * which are cancelled, how far they are. It sends no turn.
 *
 * The tasks that a worker holds in one epoch: those that wait for a slot, and those that run. Tasks are begun in the order
 * in which they were taken; what has ended is in the batch for the next turn.
 *
 * A handler that returns immediately takes no slot and needs no promise; many of them in a row yield to everything else now
 * and then. Suspects (turn.lua) are begun only when nothing runs but their fellows, of other queues either.
 */
import { shortId } from '../../../queue/task.ts';
import type { PackedTasks } from '../../../queue/workers/packed-tasks.ts';
import type { Past } from '../../../queue/workers/past.ts';
import { sizeOf, type Delivery } from '../../../queue/workers/turn.ts';
import type { Logger } from '../../../runtime/log.ts';
import { LogEvent } from '../../../runtime/log-event.ts';
import { createBacklog } from './backlog.ts';
import { FULL_BATCH, type MovingPace } from './prefetch.ts';
import type { QueueMetrics } from '../../process/metrics.ts';
import type { ProgressOutbox } from './progress.ts';
import type { RunDeps } from '../../task/run.ts';
import { hasExpired, isDuplicate, type Finished } from '../../../queue/outcomes/outcome.ts';
import type { OutcomeBatch } from '../../turn/batch.ts';
import { createRunningTasks } from './running.ts';
import type { WorkerSlots } from '../slots/slots.ts';

export interface TasksOptions {
  readonly run: RunDeps;
  readonly batch: OutcomeBatch;
  readonly pace: MovingPace;
  readonly slots: WorkerSlots;
  readonly progress: ProgressOutbox;
  readonly metrics: QueueMetrics;
  readonly log: Logger;
  /** Whether tasks may begin now: as many as there are slots for, as nothing else happens meanwhile. */
  readonly mayBegin: () => boolean;
  /** The batch is worth a turn. */
  readonly onBatch: () => void;
  /** The number of tasks that are held or run has changed. */
  readonly onHolding: () => void;
}

export interface Tasks {
  /** Tasks that were taken and not begun. */
  readonly held: number;
  readonly running: number;
  /** All of them. */
  readonly deliveries: readonly Delivery[];
  /** Bytes of the tasks that were not begun. */
  readonly heldBytes: number;
  /** Suspects run. */
  readonly runsSuspects: boolean;
  /** What was not begun are suspects. */
  readonly holdsSuspects: boolean;
  /** When the oldest task that waits for a slot was taken, by performance.now(). */
  readonly waitsSince: number | undefined;
  /**
   * Estimate of how long until all of them have ended, ms: a task takes as long as others do, and one that has run for longer
   * already takes as long again.
   */
  emptyInMs(now: number): number;
  add(deliveries: readonly Delivery[] | PackedTasks<Delivery>, now: number): void;
  /** Begins what waits, as far as there are slots. */
  fill(): void;
  /** Puts what was not begun into the batch, to go back to the queue. */
  handBack(): void;
  /** What runs of these is aborted, and settled when it ends; what was not begun is not run. By receipt, with its id. */
  cancel(marked: ReadonlyMap<string, string | Buffer>): void;
  abort(reason: Error): void;
  /** Resolves when everything that runs now has ended. */
  ended(): Promise<unknown>;
  /** Aborts what runs and ignores its outcome; it holds its slots until it has ended. */
  drop(reason: Error): void;
}

/** Handlers that answer immediately have the thread to themselves for this long, ms. */
const SPELL_MS = 2;

export function createTasks(options: TasksOptions): Tasks {
  const { batch, pace, slots, mayBegin, onBatch, onHolding } = options;
  const held = createBacklog();
  const running = createRunningTasks({ ...options, onFinished: finish });
  let dropped = false;
  let lastFinish = -Infinity;
  let refill: NodeJS.Immediate | undefined;

  function fill(): void {
    if (held.length === 0 || slots.free <= 0 || dropped || !mayBegin()) return;
    // nothing else happens meanwhile, so once is enough for all that end immediately
    if (beginHeld()) onHolding();
  }

  /** Returns whether a task has ended already. */
  function beginHeld(): boolean {
    const began = performance.now();
    let now = began;
    let ended = false;
    while (slots.free > 0) {
      if (isSuspect(held.nextPast) && slots.usable - slots.free > running.size) break;
      const delivery = held.take();
      if (!delivery) break;
      if (running.begin(delivery, now)) {
        ended = true;
        // one look at the clock for each task
        now = lastFinish;
      } else now = performance.now();
      if (lastFinish - began < SPELL_MS) continue;
      refill ??= setImmediate(() => {
        refill = undefined;
        fill();
      });
      break;
    }
    return ended;
  }

  function finish(finished: Finished, now: number): void {
    lastFinish = now;
    measure(finished, options);
    const first = batch.since === undefined;
    batch.add(finished, lastFinish);
    if (first || batch.size === FULL_BATCH || (held.length === 0 && slots.free > 0)) onBatch();
  }

  return {
    get held() {
      return held.length;
    },
    get running() {
      return running.size;
    },
    get deliveries() {
      return [...running.deliveries, ...held.deliveries];
    },
    get heldBytes() {
      return held.bytes;
    },
    get runsSuspects() {
      return isSuspect(running.oldest?.delivery.past);
    },
    get holdsSuspects() {
      return isSuspect(held.nextPast);
    },
    get waitsSince() {
      return held.since;
    },
    emptyInMs: (now) => {
      const oldestMs = running.oldest && now - running.oldest.started;
      return emptyInMs({ oldestMs, usualMs: pace.serviceMs, held: held.length, slots: slots.usable });
    },
    add: (deliveries, since) => {
      held.add(deliveries, since);
      onHolding();
    },
    fill,
    handBack: () => {
      if (held.length === 0) return;
      const now = performance.now();
      for (const ageMs of running.agesMs(now)) pace.atLeast(ageMs);
      batch.release(
        held.remove(() => true),
        now,
      );
      onHolding();
    },
    cancel: (marked) => {
      options.log.info({ tasks: marked.size }, 'tasks were cancelled');
      running.cancel(marked);
      for (const delivery of held.remove(({ receipt }) => marked.has(receipt))) {
        // of a batch there may be a million: take as many as are dropped in no time
        pace.finished(0, sizeOf(delivery));
        batch.cancel(delivery, marked.get(delivery.receipt) ?? '', performance.now());
      }
      onHolding();
    },
    abort: running.abortAll,
    ended: running.ended,
    drop: (reason) => {
      dropped = true;
      running.drop(reason);
    },
  };
}

function isSuspect(past: Past | undefined): boolean {
  return (past?.deliveries ?? 0) > 0;
}

interface Load {
  /** For how long the oldest task has run; `undefined` if none runs. */
  readonly oldestMs: number | undefined;
  /** For how long tasks run, if known. */
  readonly usualMs: number | undefined;
  readonly held: number;
  readonly slots: number;
}

/** Estimate of how long until all of them have ended, ms: see `Tasks`. */
export function emptyInMs({ oldestMs, usualMs = 0, held, slots }: Load): number {
  const rest = oldestMs === undefined ? 0 : Math.max(usualMs, oldestMs);
  return rest + (usualMs * held) / Math.max(1, slots);
}

/** How long a task took, and how it ended: for the pace, the metrics and the log. */
function measure(finished: Finished, { pace, metrics, log }: TasksOptions): void {
  const { outcome, serviceMs, delivery } = finished;
  pace.finished(serviceMs, sizeOf(delivery));
  if (hasExpired(outcome)) {
    metrics.expired();
    log.debug({ task: shortId(finished.id), outcome }, 'a task has expired');
    return;
  }
  if (isDuplicate(outcome)) {
    metrics.duplicate();
    return;
  }
  metrics.finished(outcome.kind, serviceMs / 1_000);
  if (outcome.kind !== 'retry' && outcome.kind !== 'dead') return;
  const task = shortId(finished.id);
  log.warn({ event: LogEvent.TaskFailed, task, attempt: finished.attempt, outcome }, 'a task failed');
}
