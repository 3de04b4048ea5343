/** The tasks that run, from the start of the handler to its end. */
import type { Delivery } from '../../../queue/workers/turn.ts';
import { hasExpired, type Finished } from '../../../queue/outcomes/outcome.ts';
import { TaskAbort } from '../../task/abort.ts';
import { runTask, type RunDeps } from '../../task/run.ts';
import type { WorkerSlots } from '../slots/slots.ts';
import type { ProgressOutbox } from './progress.ts';

export interface RunningTasksOptions {
  readonly run: RunDeps;
  readonly progress: ProgressOutbox;
  readonly slots: WorkerSlots;
  /** A task that has not ended immediately runs no more; called before its outcome is passed on. */
  readonly onHolding: () => void;
  /** `now`: when, by performance.now(). */
  readonly onFinished: (finished: Finished, now: number) => void;
}

interface Run {
  readonly delivery: Delivery;
  readonly abort: TaskAbort;
  readonly started: number;
  readonly metered: object | undefined;
  /** Resolves when the handler has ended, however; made when it is needed. */
  ended: PromiseWithResolvers<void> | undefined;
}

export interface RunningTasks {
  readonly size: number;
  readonly deliveries: readonly Delivery[];
  /** The first that began, and when, by performance.now(). */
  readonly oldest: Pick<Run, 'delivery' | 'started'> | undefined;
  /** For how long each has run, ms, the oldest first. */
  agesMs(now: number): readonly number[];
  /** Returns whether it has ended already; then `onHolding` is up to the caller. `started`: now, by performance.now(). */
  begin(delivery: Delivery, started: number): boolean;
  abort(receipt: string, reason: Error): void;
  abortAll(this: void, reason: Error): void;
  /** Resolves when everything that runs now has ended. */
  ended(this: void): Promise<unknown>;
  /** Aborts all and ignores their outcomes; they hold their slots until they have ended. */
  drop(reason: Error): void;
}

export function createRunningTasks(options: RunningTasksOptions): RunningTasks {
  const { slots, progress, onHolding, onFinished } = options;
  const running = new Map<string, Run>();
  let dropped = false;
  const ends = (): Promise<void>[] =>
    Array.from(running.values(), (run) => (run.ended ??= Promise.withResolvers<void>()).promise);
  const { together } = slots;
  const runOptions = { deps: options.run, outbox: progress, ended: onEnded, together };

  function onEnded(finished: Finished): void {
    const { receipt } = finished.delivery;
    const run = running.get(receipt);
    running.delete(receipt);
    if (run?.metered) slots.meter?.end(run.metered, performance.now(), endingOf(finished));
    if (!dropped) {
      onHolding();
      onFinished(finished, run ? run.started + finished.serviceMs : performance.now());
      slots.release();
    }
    run?.ended?.resolve();
  }

  function abortAll(reason: Error): void {
    for (const { abort } of running.values()) abort.abort(reason);
  }

  return {
    get size() {
      return running.size;
    },
    get deliveries() {
      return Array.from(running.values(), ({ delivery }) => delivery);
    },
    get oldest() {
      return running.values().next().value;
    },
    agesMs: (now) => Array.from(running.values(), ({ started }) => now - started),
    begin: (delivery, started) => {
      const abort = new TaskAbort();
      const metered = slots.meter?.begin(started);
      const finished = runTask(delivery, abort, started, runOptions);
      if (finished) {
        if (metered) slots.meter?.end(metered, performance.now(), endingOf(finished));
        onFinished(finished, started + finished.serviceMs);
        return true;
      }
      slots.occupy();
      running.set(delivery.receipt, { delivery, abort, started, metered, ended: undefined });
      return false;
    },
    abort: (receipt, reason) => running.get(receipt)?.abort.abort(reason),
    abortAll,
    ended: () => Promise.allSettled(ends()),
    drop: (reason) => {
      dropped = true;
      abortAll(reason);
      slots.outlive(ends());
    },
  };
}

/** What the end of a task says of the slots. */
function endingOf({ outcome }: Finished): 'done' | 'failed' | 'ignored' {
  if (outcome.kind === 'result') return 'done';
  if (outcome.kind === 'retry') return 'failed';
  return outcome.kind === 'dead' && !hasExpired(outcome) ? 'failed' : 'ignored';
}
