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
import { TaskCancelled } from '../../../queue/cancel.ts';
import type { Delivery } from '../../../queue/workers/turn.ts';
import type { Logger } from '../../../runtime/log.ts';
import { LogEvent } from '../../../runtime/log-event.ts';
import { FULL_BATCH, type createPace } from './prefetch.ts';
import type { QueueMetrics } from '../../process/metrics.ts';
import type { ProgressOutbox } from './progress.ts';
import { runTask, type RunDeps } from '../../task/run.ts';
import type { Finished } from '../../task/outcome.ts';
import type { Batch } from '../../turn/batch.ts';
import type { WorkerSlots } from '../slots/slots.ts';

export interface TasksOptions {
  readonly run: RunDeps;
  readonly batch: Batch;
  readonly pace: ReturnType<typeof createPace>;
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
  add(deliveries: readonly Delivery[], now: number): void;
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

interface Run {
  /** Resolves when the handler has ended, however. */
  readonly ended: Promise<void>;
  readonly delivery: Delivery;
  readonly abort: AbortController;
  readonly started: number;
}

export function createTasks(options: TasksOptions): Tasks {
  const { batch, pace, slots, progress, metrics, log, mayBegin, onBatch, onHolding } = options;
  const running = new Map<string, Run>();
  let held: { readonly delivery: Delivery; readonly since: number }[] = [];
  let heldBytes = 0;
  let dropped = false;
  let lastFinish = -Infinity;
  let refill: NodeJS.Immediate | undefined;

  const isSuspect = (one: { readonly delivery: Delivery } | undefined): boolean =>
    (one?.delivery.past.deliveries ?? 0) > 0;

  function fill(): void {
    if (held.length === 0 || slots.free === 0 || dropped || !mayBegin()) return;
    const began = performance.now();
    while (held.length > 0 && slots.free > 0) {
      if (slots.usable - slots.free > running.size && isSuspect(held[0])) return;
      const { delivery } = held.shift() as (typeof held)[number];
      heldBytes -= delivery.raw.length;
      begin(delivery);
      if (lastFinish - began < SPELL_MS) continue;
      refill ??= setImmediate(() => {
        refill = undefined;
        fill();
      });
      return;
    }
  }

  function begin(delivery: Delivery): void {
    const abort = new AbortController();
    const { receipt } = delivery;
    const started = performance.now();
    const run = runTask(delivery, abort.signal, started, options.run, progress);
    if (!(run instanceof Promise)) {
      onHolding();
      finish(run);
      return;
    }
    slots.occupy();
    const ended = run.then((finished) => {
      running.delete(receipt);
      if (dropped) return;
      onHolding();
      finish(finished);
      slots.release();
    });
    running.set(receipt, { ended, delivery, abort, started });
  }

  function finish(finished: Finished): void {
    const { outcome, serviceMs, delivery } = finished;
    lastFinish = performance.now();
    pace.finished(serviceMs, delivery.raw.length);
    metrics.finished(outcome.kind, serviceMs / 1_000);
    if (outcome.kind === 'retry' || outcome.kind === 'dead')
      log.warn(
        {
          event: LogEvent.TaskFailed,
          task: finished.id.toString().slice(0, 100),
          attempt: finished.attempt,
          outcome,
        },
        'a task failed',
      );
    const first = batch.since === undefined;
    batch.add(finished, lastFinish);
    if (first || batch.size === FULL_BATCH || (held.length === 0 && slots.free > 0)) onBatch();
  }

  function abortAll(reason: Error): void {
    for (const { abort } of running.values()) abort.abort(reason);
  }

  return {
    get held() {
      return held.length;
    },
    get running() {
      return running.size;
    },
    get deliveries() {
      return [...running.values(), ...held].map(({ delivery }) => delivery);
    },
    get heldBytes() {
      return heldBytes;
    },
    get runsSuspects() {
      if (running.size === 0) return false;
      const [oldest] = running.values();
      return isSuspect(oldest);
    },
    get holdsSuspects() {
      return isSuspect(held[0]);
    },
    get waitsSince() {
      return held[0]?.since;
    },
    emptyInMs: (now) => {
      const [oldest] = running.values();
      const usual = pace.serviceMs ?? 0;
      const rest = oldest ? Math.max(usual, now - oldest.started) : 0;
      return rest + (usual * held.length) / Math.max(1, slots.usable);
    },
    add: (deliveries, since) => {
      for (const delivery of deliveries) {
        held.push({ delivery, since });
        heldBytes += delivery.raw.length;
      }
      onHolding();
    },
    fill,
    handBack: () => {
      if (held.length === 0) return;
      const now = performance.now();
      for (const { started } of running.values()) pace.atLeast(now - started);
      batch.release(
        held.map(({ delivery }) => delivery),
        now,
      );
      held = [];
      heldBytes = 0;
      onHolding();
    },
    cancel: (marked) => {
      log.info({ tasks: marked.size }, 'cancelled');
      for (const [receipt, id] of marked) running.get(receipt)?.abort.abort(new TaskCancelled(id));
      for (const { delivery } of held) {
        const id = marked.get(delivery.receipt);
        if (id !== undefined) batch.cancel(delivery, id, performance.now());
      }
      held = held.filter(({ delivery }) => !marked.has(delivery.receipt));
      heldBytes = held.reduce((sum, { delivery }) => sum + delivery.raw.length, 0);
      onHolding();
    },
    abort: abortAll,
    ended: () => Promise.allSettled(Array.from(running.values(), (run) => run.ended)),
    drop: (reason) => {
      dropped = true;
      abortAll(reason);
      slots.outlive(Array.from(running.values(), (run) => run.ended));
    },
  };
}
