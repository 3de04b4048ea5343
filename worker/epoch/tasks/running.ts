/** The tasks that run, from the start of the handler to its end. */
import { TaskCancelled } from '../../../queue/cancel.ts';
import type { Delivery } from '../../../queue/workers/turn.ts';
import { hasExpired, type Finished } from '../../../queue/outcomes/outcome.ts';
import { TaskAbort } from '../../task/abort.ts';
import { TaskRun, type RunDeps } from '../../task/run.ts';
import type { WorkerSlots } from '../slots/slots.ts';
import type { ProgressOutbox } from './progress.ts';
import { RunList } from './run-list.ts';

export interface RunningTasksOptions {
  readonly run: RunDeps;
  readonly progress: ProgressOutbox;
  readonly slots: WorkerSlots;
  /** A task that has not ended immediately runs no more; called before its outcome is passed on. */
  readonly onHolding: () => void;
  /** `now`: when, by performance.now(). */
  readonly onFinished: (finished: Finished, now: number) => void;
}

export interface RunningTasks {
  readonly size: number;
  readonly deliveries: readonly Delivery[];
  /** The first that began, and when, by performance.now(). */
  readonly oldest: Pick<TaskRun, 'delivery' | 'started'> | undefined;
  /** For how long each has run, ms, the oldest first. */
  agesMs(now: number): readonly number[];
  /** Returns whether it has ended already; then `onHolding` is up to the caller. `started`: now, by performance.now(). */
  begin(delivery: Delivery, started: number): boolean;
  /** By receipt, with the id. */
  cancel(marked: ReadonlyMap<string, string | Buffer>): void;
  abortAll(this: void, reason: Error): void;
  /** Resolves when everything that runs now has ended. */
  ended(this: void): Promise<unknown>;
  /** Aborts all and ignores their outcomes; they hold their slots until they have ended. */
  drop(reason: Error): void;
}

export function createRunningTasks(options: RunningTasksOptions): RunningTasks {
  const { slots, progress, onHolding, onFinished } = options;
  const running = new RunList<TaskRun>();
  let dropped = false;
  const ends = (): Promise<void>[] =>
    Array.from(running, (run) => (run.ending ??= Promise.withResolvers<void>()).promise);
  const { together } = slots;
  const runOptions = { deps: options.run, outbox: progress, ended: onEnded, together };

  function onEnded(finished: Finished, run: TaskRun): void {
    running.remove(run);
    if (run.metered) slots.meter?.end(run.metered, performance.now(), endingOf(finished));
    if (!dropped) {
      onHolding();
      onFinished(finished, run.started + finished.serviceMs);
      slots.release();
    }
    run.ending?.resolve();
  }

  function abortAll(reason: Error): void {
    for (const { abort } of running) abort.abort(reason);
  }

  return {
    get size() {
      return running.size;
    },
    get deliveries() {
      return Array.from(running, ({ delivery }) => delivery);
    },
    get oldest() {
      return running.first;
    },
    agesMs: (now) => Array.from(running, ({ started }) => now - started),
    begin: (delivery, started) => {
      const run = new TaskRun(delivery, new TaskAbort(), started, runOptions);
      if (slots.meter) run.metered = slots.meter.begin(started);
      const finished = run.start();
      if (finished) {
        if (run.metered) slots.meter?.end(run.metered, performance.now(), endingOf(finished));
        onFinished(finished, started + finished.serviceMs);
        return true;
      }
      slots.occupy();
      running.add(run);
      return false;
    },
    cancel: (marked) => {
      for (const { delivery, abort } of running) {
        const id = marked.get(delivery.receipt);
        if (id !== undefined) abort.abort(new TaskCancelled(id));
      }
    },
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
