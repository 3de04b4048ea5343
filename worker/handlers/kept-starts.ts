/**
 * The processes of a pool, from their start to their end. Programs that end before they have answered anything are started with
 * increasing delays, because restarting a broken program wastes CPU and uses up the attempts of all tasks in the queue.
 */
import { openWatcher, type Watcher } from '../../runtime/child-watchdog.ts';
import { sleep } from '../../runtime/timers.ts';
import type { RawTask } from '../task/handler.ts';
import { stopped } from './command.ts';
import { isLacking } from './shortage.ts';

/** A task of this process has ended; `answered`: by an answer. */
export type OnLeft = (process: KeptProcess, answered: boolean) => void;

/** A process that is kept for one task after another. */
export interface KeptProcess {
  /** Settles when the process is gone; never rejects. */
  readonly gone: Promise<void>;
  /** Tasks that it has begun and not ended. */
  readonly load: number;
  /** False once it has ended or is to get no further task. */
  readonly usable: boolean;
  /** Resolves when it may get the next task; `undefined` if that is now. It may have become unusable by then. */
  quiet(): Promise<void> | undefined;
  /**
   * Runs one task. It ends only when the process is gone, or may get the next task; then `left` is called, and after that the task is told
   * how it has ended.
   *
   * It fails with `CommandError` when the process ends or violates the protocol, or the task is aborted, and with `ResultEncodingError`
   * when the answer is too long.
   */
  begin(task: RawTask, left: OnLeft): void;
  /** Asks it to end and waits `waitMs` for its last answer and its exit; then sends SIGTERM, and SIGKILL after the grace period. */
  close(waitMs: number): Promise<void>;
}

export interface KeptStart {
  readonly watcher: Watcher;
  /** Called when the process is gone. `healthy` is false if it failed without a single answer and was not stopped. */
  readonly onGone: (healthy: boolean) => void;
  /** Aborts when the process is not needed any more. */
  readonly signal: AbortSignal;
}

export interface KeptStartsOptions {
  /** Throws `CommandError` when the system cannot start it. */
  readonly start: (how: KeptStart) => Promise<KeptProcess>;
  /** Waits before a start, ms; rejects when the signal aborts. */
  readonly wait?: ((ms: number, signal: AbortSignal) => Promise<unknown>) | undefined;
  /** No more processes are needed. */
  readonly closing: AbortSignal;
  /** A process is gone. */
  readonly onGone: (process: KeptProcess) => void;
}

/** Disposing it ends its watcher, once the processes are gone. */
export interface KeptStarts extends AsyncDisposable {
  readonly all: ReadonlySet<KeptProcess>;
  start(this: void, signal: AbortSignal): Promise<KeptProcess>;
  /** One has answered: the next start is not delayed. */
  answered(): void;
  /** Closes all. */
  close(waitMs: number): Promise<void>;
}

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;

export function createKeptStarts(options: KeptStartsOptions): KeptStarts {
  const { wait = defaultWait, closing } = options;
  const watcher = openWatcher();
  const all = new Set<KeptProcess>();
  /** Consecutive processes that ended without a single answer. */
  let failedStarts = 0;

  const start = async (signal: AbortSignal): Promise<KeptProcess> => {
    if (failedStarts > 0)
      await wait(backoffMs(failedStarts), signal).catch(() => Promise.reject(stopped(signal)));
    const onGone = (healthy: boolean): void => {
      if (!healthy && !closing.aborted) failedStarts += 1;
    };
    const process = await options.start({ watcher, onGone, signal }).catch((error: unknown) => {
      // a shortage of resources is not the program's fault
      if (!isLacking(error)) onGone(false);
      throw error;
    });
    all.add(process);
    void process.gone.finally(() => {
      all.delete(process);
      options.onGone(process);
    });
    return process;
  };

  return {
    all,
    start,
    answered: () => (failedStarts = 0),
    close: async (waitMs) => void (await Promise.all(Array.from(all, (process) => process.close(waitMs)))),
    [Symbol.asyncDispose]: () => watcher[Symbol.asyncDispose](),
  };
}

/** The pause after this many starts in a row without a single answer, ms. */
function backoffMs(failedStarts: number): number {
  return Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failedStarts - 1, 20));
}

async function defaultWait(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, signal);
  signal.throwIfAborted();
}
