/**
 * Which process gets the next task, of those of a pool: the idle one used last, so that a worker with little work keeps few of them
 * warm; then a new one, while there may be more; then the one with the fewest tasks.
 */
import type { RawTask } from '../task/handler.ts';
import { stopped } from './command.ts';
import { createKeptStarts, type KeptProcess, type KeptStartsOptions, type OnLeft } from './kept-starts.ts';

export interface KeptProcessesOptions extends Pick<KeptStartsOptions, 'start' | 'wait' | 'closing'> {
  /** Maximum number of processes, those included that are being ended. */
  readonly processes: number;
  /** Maximum number of tasks that one gets at a time. */
  readonly tasksEach: number;
  /** How long a process may take to exit after it was asked to, ms. */
  readonly closeMs: number;
}

/** Disposing it ends what watches the processes, once they are gone. */
export interface KeptProcesses extends AsyncDisposable {
  /** A process for a task, in the usual cases, where nothing has to be waited for: without the cost of the others. */
  takeNow(): KeptProcess | undefined;
  /** A process for a task. Rejects as a start does, and with `stopped(signal)`. */
  take(signal: AbortSignal): Promise<KeptProcess>;
  /** Gives a process that was taken its task. */
  pass(process: KeptProcess, task: RawTask, left: OnLeft): void;
  /** A task of this process has ended; `answered`: by an answer. */
  leave(process: KeptProcess, answered: boolean): void;
  /** Starts a process ahead of its first task. Rejects as its start does. */
  warm(signal: AbortSignal): Promise<void>;
  /** Ends all. */
  close(): Promise<void>;
}

export function createKeptProcesses(options: KeptProcessesOptions): KeptProcesses {
  const { processes, tasksEach, closeMs } = options;
  /** Without a task. */
  const idle: KeptProcess[] = [];
  /** With tasks. */
  const busy = new Set<KeptProcess>();
  let starting = 0;
  /** Tasks wait for a change. */
  let changed: PromiseWithResolvers<void> | undefined;
  const starts = createKeptStarts({
    ...options,
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

  const mayStart = (): boolean => starts.all.size + starting < processes;

  /** With the fewest tasks, if it may get another. */
  function freest(): KeptProcess | undefined {
    let found: KeptProcess | undefined;
    let fewest = tasksEach;
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

  async function takeIdle(): Promise<KeptProcess | undefined> {
    for (let process = idle.pop(); process; process = idle.pop()) {
      if (process.usable) await process.quiet();
      if (process.usable) return process;
      await process.gone;
    }
    return undefined;
  }

  return {
    takeNow: () => {
      const ready = idle.at(-1);
      if (ready) return ready.usable && !ready.quiet() ? idle.pop() : undefined;
      return tasksEach > 1 && !mayStart() ? freest() : undefined;
    },
    take: async (signal) => {
      for (;;) {
        const free = await takeIdle();
        if (free) return free;
        if (mayStart()) return await startOne(signal);
        const shared = freest();
        if (shared) return shared;
        changed ??= Promise.withResolvers();
        await changed.promise;
        if (signal.aborted) throw stopped(signal);
      }
    },
    pass: (process, task, left) => {
      if (process.load === 0) busy.add(process);
      process.begin(task, left);
    },
    leave: (process, answered) => {
      if (answered) starts.answered();
      if (process.load === 0 && busy.delete(process)) {
        // one that is ending, too, so that the next task waits for its end
        if (starts.all.has(process)) idle.push(process);
        if (!process.usable) void process.close(closeMs);
      }
      onChange();
    },
    warm: async (signal) => void idle.push(await startOne(signal)),
    close: async () => {
      onChange();
      await starts.close(closeMs);
    },
    [Symbol.asyncDispose]: () => starts[Symbol.asyncDispose](),
  };
}
