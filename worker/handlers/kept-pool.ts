/**
 * Programs that keep running, each with one task at a time. A program pays for its start, its imports and its model once, not per task.
 * How it is talked to is the business of the process itself (`kept-process.ts`, `python-process.ts`).
 *
 * By default, there is a process per slot. One is started when a task finds none idle, and kept. The one used last is used next, so that
 * a worker with little work keeps few of them warm. With fewer processes than slots, each gets several tasks at a time: a process
 * without any, then a new one, then the one with the fewest.
 *
 * A process that ends or violates the protocol fails only its own tasks; the next task gets a new one.
 *
 * Guarantee: never more than `processes` of them, those included that are being ended.
 */
import type { OpenHandler, RawTask, TaskContext } from '../task/handler.ts';
import { trackAttempts } from './attempts.ts';
import { stopped } from './command.ts';
import { CommandError } from './errors.ts';
import { createKeptStarts, type KeptProcess, type KeptStartsOptions, type OnLeft } from './kept-starts.ts';
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
  const each = tasksPerProcess(concurrency, processes);
  const semaphore = createSemaphore(concurrency);
  const closing = new AbortController();
  const shortage = createShortage(options.onShortage);
  /** Without a task. */
  const idle: KeptProcess[] = [];
  /** With tasks. */
  const busy = new Set<KeptProcess>();
  let starting = 0;
  /** Tasks wait for a change. */
  let changed: PromiseWithResolvers<void> | undefined;
  const starts = createKeptStarts({
    ...options,
    closing: closing.signal,
    onGone: (process) => {
      busy.delete(process);
      const index = idle.indexOf(process);
      if (index !== -1) idle.splice(index, 1);
      onChange();
    },
  });

  /** There may be room for a task that waits for some. */
  function onChange(): void {
    changed?.resolve();
    changed = undefined;
  }

  /** With the fewest tasks, if it may get another. */
  function freest(): KeptProcess | undefined {
    let found: KeptProcess | undefined;
    let fewest = each;
    for (const process of busy) {
      const { load } = process;
      if (load >= fewest || !process.usable) continue;
      found = process;
      fewest = load;
    }
    return found;
  }

  async function startOne(signal: AbortSignal): Promise<KeptProcess> {
    starting++;
    try {
      return await starts.start(signal);
    } finally {
      starting--;
      onChange();
    }
  }

  const takeIdle = async (): Promise<KeptProcess | undefined> => {
    for (let process = idle.pop(); process; process = idle.pop()) {
      if (process.usable) await process.quiet();
      if (process.usable) return process;
      await process.gone;
    }
    return undefined;
  };

  const takeOne = async (signal: AbortSignal): Promise<KeptProcess> => {
    for (;;) {
      const free = await takeIdle();
      if (free) return free;
      if (starts.all.size + starting < processes) return await startOne(signal);
      const shared = freest();
      if (shared) return shared;
      changed ??= Promise.withResolvers();
      await changed.promise;
      if (signal.aborted) throw stopped(signal);
    }
  };

  const take = async (task: AbortSignal): Promise<KeptProcess> => {
    const signal = AbortSignal.any([task, closing.signal]);
    return await shortage.outlast(
      () => takeOne(signal),
      signal,
      () => stopped(signal),
    );
  };

  /** The usual cases, without the cost of the others. */
  function takeNow(): KeptProcess | undefined {
    const ready = idle.at(-1);
    if (ready) return ready.usable && !ready.quiet() ? idle.pop() : undefined;
    return each > 1 && starts.all.size + starting >= processes ? freest() : undefined;
  }

  /** A task of this process has ended. */
  function leave(process: KeptProcess): void {
    if (process.load === 0 && busy.delete(process)) {
      // one that is ending, too, so that the next task waits for its end
      if (starts.all.has(process)) idle.push(process);
      if (!process.usable) void process.close(closeMs);
    }
    onChange();
  }

  function pass(process: KeptProcess, task: RawTask, left: OnLeft): void {
    if (process.load === 0) busy.add(process);
    process.begin(task, left);
  }

  function onLeft(process: KeptProcess, answered: boolean): void {
    if (answered) {
      starts.answered();
      shortage.freed();
    }
    leave(process);
  }

  /** Of a task that has begun without waiting for anything. */
  function onLeftAtOnce(process: KeptProcess, answered: boolean): void {
    onLeft(process, answered);
    semaphore.release();
  }

  const begin = (task: RawTask): boolean => {
    if (closing.signal.aborted || task.abort.reason || !semaphore.tryAcquire()) return false;
    const process = takeNow();
    if (process) pass(process, task, onLeftAtOnce);
    else semaphore.release();
    return process !== undefined;
  };

  const run = async (context: TaskContext): Promise<unknown> => {
    const { signal } = context;
    await using _slot = await semaphore.acquire(signal).catch(() => Promise.reject(stopped(signal)));
    if (closing.signal.aborted) throw stopped(closing.signal);
    const process = takeNow() ?? (await take(signal));
    if (closing.signal.aborted) {
      await process.close(0);
      throw stopped(closing.signal);
    }
    return await runRaw(context, (task) => pass(process, task, onLeft));
  };

  const { handle, settled } = trackAttempts(run);
  return {
    handle,
    begin,
    bytesOnly: true,
    warm: async (signal) => void idle.push(await startOne(AbortSignal.any([signal, closing.signal]))),
    async [Symbol.asyncDispose]() {
      closing.abort(new CommandError('the handler is closed'));
      onChange();
      await starts.close(closeMs);
      await settled();
      await starts[Symbol.asyncDispose]();
    },
  };
}
