/**
 * Programs that keep running, each with one task at a time. A program pays for its start, its imports and its model once, not per task.
 * How it is talked to is the business of the process itself (`kept-process.ts`, `python-process.ts`).
 *
 * By default, there is a process per slot. One is started when a task finds none idle, and kept. With fewer processes than slots, each
 * gets several tasks at a time. Which one gets the next is said in `kept-processes.ts`.
 *
 * A process that ends or violates the protocol fails only its own tasks; the next task gets a new one.
 *
 * Guarantee: never more than `processes` of them, those included that are being ended.
 */
import type { OpenHandler, RawTask, TaskContext } from '../task/handler.ts';
import { trackAttempts } from './attempts.ts';
import { stopped } from './command.ts';
import { CommandError } from './errors.ts';
import { createKeptProcesses } from './kept-processes.ts';
import type { KeptProcess, KeptStartsOptions } from './kept-starts.ts';
import { runRaw } from './raw-task.ts';
import { createSemaphore } from './semaphore.ts';
import { createShortage } from './shortage.ts';

export interface KeptPoolOptions extends Pick<KeptStartsOptions, 'start' | 'wait'> {
  /** Maximum number of tasks at a time; further ones wait. */
  readonly concurrency: number;
  /** Maximum number of processes; as many as tasks by default. */
  readonly processes?: number | undefined;
  readonly onShortage?: ((why: string | undefined) => void) | undefined;
  /** How long a process may take to exit after it was asked to, ms. */
  readonly closeMs?: number | undefined;
}

export interface KeptPool extends OpenHandler {
  /** Starts a process ahead of the first task. Rejects as its start does. */
  warm(signal: AbortSignal): Promise<void>;
}

const DEFAULT_CLOSE_MS = 2_000;

/** How many tasks each of these processes gets at a time, at most. */
export function tasksPerProcess(concurrency: number, processes: number = concurrency): number {
  return Math.ceil(concurrency / processes);
}

export function openKeptPool(options: KeptPoolOptions): KeptPool {
  const { concurrency, processes = concurrency, closeMs = DEFAULT_CLOSE_MS } = options;
  const { start, wait } = options;
  const semaphore = createSemaphore(concurrency);
  const closing = new AbortController();
  const shortage = createShortage(options.onShortage);
  const kept = createKeptProcesses({
    start,
    wait,
    closing: closing.signal,
    processes,
    tasksEach: tasksPerProcess(concurrency, processes),
    closeMs,
  });

  const take = async (task: AbortSignal): Promise<KeptProcess> => {
    const signal = AbortSignal.any([task, closing.signal]);
    return await shortage.outlast(
      () => kept.take(signal),
      signal,
      () => stopped(signal),
    );
  };

  function onLeft(process: KeptProcess, answered: boolean): void {
    if (answered) shortage.freed();
    kept.leave(process, answered);
  }

  /** Of a task that has begun without waiting for anything. */
  function onLeftAtOnce(process: KeptProcess, answered: boolean): void {
    onLeft(process, answered);
    semaphore.release();
  }

  const begin = (task: RawTask): boolean => {
    if (closing.signal.aborted || task.abort.reason || !semaphore.tryAcquire()) return false;
    const process = kept.takeNow();
    if (process) kept.pass(process, task, onLeftAtOnce);
    else semaphore.release();
    return process !== undefined;
  };

  const run = async (context: TaskContext): Promise<unknown> => {
    const { signal } = context;
    await using _slot = await semaphore.acquire(signal).catch(() => Promise.reject(stopped(signal)));
    if (closing.signal.aborted) throw stopped(closing.signal);
    const process = kept.takeNow() ?? (await take(signal));
    if (closing.signal.aborted) {
      await process.close(0);
      throw stopped(closing.signal);
    }
    return await runRaw(context, (task) => kept.pass(process, task, onLeft));
  };

  const { handle, settled } = trackAttempts(run);
  return {
    handle,
    begin,
    bytesOnly: true,
    warm: (signal) => kept.warm(AbortSignal.any([signal, closing.signal])),
    async [Symbol.asyncDispose]() {
      closing.abort(new CommandError('the handler is closed'));
      await kept.close();
      await settled();
      await kept[Symbol.asyncDispose]();
    },
  };
}
