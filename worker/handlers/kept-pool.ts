/**
 * Programs that keep running: one process per slot, each with one task at a time. A program pays for its start, its imports and
 * its model once, not per task. How it is talked to is the business of the process itself (`kept-process.ts`,
 * `python-process.ts`).
 *
 * A process is started when a task finds none idle, and kept. The one used last is used next, so that a worker with little work
 * keeps few of them warm. A process that ends or violates the protocol fails only its own task; the next task gets a new one.
 * Programs that end before they have answered anything are started with increasing delays, because restarting a broken program
 * wastes CPU and uses up the attempts of all tasks in the queue.
 *
 * Guarantee: never more than `concurrency` processes, those included that are being ended.
 */
import { openWatcher, type Watcher } from '../../runtime/child-watchdog.ts';
import { sleep } from '../../runtime/timers.ts';
import type { OpenHandler, TaskContext } from '../task/handler.ts';
import { trackAttempts } from './attempts.ts';
import { stopped } from './command.ts';
import { CommandError, FinalCommandError, LaterCommandError } from './errors.ts';
import type { Answer } from './line-protocol.ts';
import { createSemaphore } from './semaphore.ts';
import { createShortage, isLacking } from './shortage.ts';

/** A process that is kept for one task after another. */
export interface KeptProcess {
  /** Settles when the process is gone; never rejects. */
  readonly gone: Promise<void>;
  /** False once it has ended or is to get no further task. */
  readonly usable: boolean;
  /** Resolves when it may get the next task; `undefined` if that is now. It may have become unusable by then. */
  quiet(): Promise<void> | undefined;
  /**
   * Runs one task. It rejects only when the process is gone, or may get the next task.
   *
   * Throws `CommandError` when the process ends or violates the protocol, or the task is aborted, and `ResultEncodingError` when
   * the answer is too long.
   */
  ask(context: TaskContext): Promise<Answer>;
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

export interface KeptPoolOptions {
  /** Maximum number of processes; further tasks wait for one. */
  readonly concurrency: number;
  /** Throws `CommandError` when the system cannot start it. */
  readonly start: (how: KeptStart) => Promise<KeptProcess>;
  readonly onShortage?: ((why: string | undefined) => void) | undefined;
  /** How long a process may take to exit after it was asked to, ms. */
  readonly closeMs?: number | undefined;
  /** Waits before a start, ms; rejects when the signal aborts. */
  readonly wait?: ((ms: number, signal: AbortSignal) => Promise<unknown>) | undefined;
}

export interface KeptPool extends OpenHandler {
  /** Starts a process ahead of the first task. Rejects as its start does. */
  warm(signal: AbortSignal): Promise<void>;
}

const DEFAULT_CLOSE_MS = 2_000;
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;

export function openKeptPool(options: KeptPoolOptions): KeptPool {
  const { closeMs = DEFAULT_CLOSE_MS, wait = defaultWait } = options;
  const watcher = openWatcher();
  const semaphore = createSemaphore(options.concurrency);
  const closing = new AbortController();
  const shortage = createShortage(options.onShortage);
  const all = new Set<KeptProcess>();
  const idle: KeptProcess[] = [];
  /** Consecutive processes that ended without a single answer. */
  let failedStarts = 0;

  const start = async (signal: AbortSignal): Promise<KeptProcess> => {
    if (failedStarts > 0)
      await wait(backoffMs(failedStarts), signal).catch(() => Promise.reject(stopped(signal)));
    const onGone = (healthy: boolean): void => {
      if (!healthy && !closing.signal.aborted) failedStarts += 1;
    };
    const process = await options.start({ watcher, onGone, signal }).catch((error: unknown) => {
      // a shortage of resources is not the program's fault
      if (!isLacking(error)) onGone(false);
      throw error;
    });
    all.add(process);
    void process.gone.finally(() => {
      all.delete(process);
      const index = idle.indexOf(process);
      if (index !== -1) idle.splice(index, 1);
    });
    return process;
  };

  const takeIdle = async (): Promise<KeptProcess | undefined> => {
    for (let process = idle.pop(); process; process = idle.pop()) {
      if (process.usable) await process.quiet();
      if (process.usable) return process;
      await process.gone;
    }
    return undefined;
  };

  const take = async (task: AbortSignal): Promise<KeptProcess> => {
    const signal = AbortSignal.any([task, closing.signal]);
    const one = async (): Promise<KeptProcess> => (await takeIdle()) ?? (await start(signal));
    return await shortage.outlast(one, signal, () => stopped(signal));
  };

  const run = async (context: TaskContext): Promise<unknown> => {
    const { signal } = context;
    await using _slot = await semaphore.acquire(signal).catch(() => Promise.reject(stopped(signal)));
    if (closing.signal.aborted) throw stopped(closing.signal);
    // the usual case, without the cost of the others
    const ready = idle.at(-1);
    const process = ready?.usable && !ready.quiet() ? (idle.pop() as KeptProcess) : await take(signal);
    if (closing.signal.aborted) {
      await process.close(0);
      throw stopped(closing.signal);
    }
    const answer = await process.ask(context).catch((error: unknown) => {
      if (process.usable) idle.push(process);
      throw error;
    });
    failedStarts = 0;
    // one that is ending, too, so that the next task waits for its end
    idle.push(process);
    shortage.freed();
    if (answer.last) void process.close(closeMs);
    return resultOf(answer);
  };

  const { handle, settled } = trackAttempts(run);
  return {
    handle,
    bytesOnly: true,
    warm: async (signal) => void idle.push(await start(AbortSignal.any([signal, closing.signal]))),
    async [Symbol.asyncDispose]() {
      closing.abort(new CommandError('the handler is closed'));
      await Promise.all(Array.from(all, (process) => process.close(closeMs)));
      await settled();
      await watcher[Symbol.asyncDispose]();
    },
  };
}

/** The pause after this many starts in a row without a single answer, ms. */
function backoffMs(failedStarts: number): number {
  return Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failedStarts - 1, 20));
}

function resultOf(answer: Answer): unknown {
  if (answer.kind === 'result') return answer.value;
  const { message, name, final, retryAfter } = answer;
  if (final) throw new FinalCommandError(message, { name });
  if (retryAfter !== undefined) throw new LaterCommandError(message, retryAfter, { name });
  throw new CommandError(message, { name });
}

async function defaultWait(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, signal);
  signal.throwIfAborted();
}
