/**
 * A handler from a program that keeps running: one process per slot, each with one task at a time, over JSON lines
 * (`line-protocol.ts`). It pays for its start, its imports and its model once, not per task.
 *
 * A process is started when a task finds none idle, and kept. The one used last is used next, so that a worker with little work
 * keeps few of them warm. A process that ends or violates the protocol fails only its own task; the next task gets a new one.
 * Programs that end before they have answered anything are started with increasing delays, because restarting a broken program
 * wastes CPU and uses up the attempts of all tasks in the queue.
 *
 * Guarantee: never more than `concurrency` processes, those included that are being ended.
 */
import { sleep } from '../../runtime/timers.ts';
import { MAX_RESULT_BYTES } from '../task/encode.ts';
import type { OpenHandler, TaskContext } from '../task/handler.ts';
import { DEFAULT_GRACE_MS, stopped, type CommandOptions } from './command.ts';
import { trackAttempts } from './attempts.ts';
import { CommandError, FinalCommandError, LaterCommandError } from './errors.ts';
import { startKeptProcess, type KeptProcess } from './kept-process.ts';
import type { Answer } from './line-protocol.ts';
import { findProgram } from './program.ts';
import { createShortage, isLacking } from './shortage.ts';
import { createSemaphore } from './semaphore.ts';
import { openWatcher } from '../../runtime/child-watchdog.ts';

export interface LinesOptions extends CommandOptions {
  /** Maximum number of processes; further tasks wait for one. */
  readonly concurrency: number;
  /** How long a process may take to exit after its stdin was closed, ms. */
  readonly closeMs?: number;
  /** How long a program without ids in its answers waits for its next task, ms; see `KeptProcessOptions`. */
  readonly quietMs?: number;
  /** Waits before a start, ms; rejects when the signal aborts. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

const DEFAULT_CLOSE_MS = 2_000;
const defaults = { graceMs: DEFAULT_GRACE_MS, maxOutputBytes: MAX_RESULT_BYTES, quietMs: 50 };
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;

/**
 * Opens a command that is kept running and receives one task after another.
 *
 * Throws `HandlerLoadError` when the command names no program that can be started.
 */
export async function openLines(options: LinesOptions): Promise<OpenHandler> {
  const { closeMs = DEFAULT_CLOSE_MS, wait = defaultWait } = options;
  const program = await findProgram(options);
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
    const starting = startKeptProcess(program, { ...defaults, ...options, watcher, onGone });
    const process = await starting.catch((error: unknown) => {
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
    const process = await take(signal);
    if (closing.signal.aborted) {
      await process.close(0);
      throw stopped(closing.signal);
    }
    const answer = await process.ask(context);
    failedStarts = 0;
    idle.push(process);
    shortage.freed();
    if (answer.last) void process.close(closeMs);
    return resultOf(answer);
  };

  const { handle, settled } = trackAttempts(run);
  return {
    handle,
    bytesOnly: true,
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
  if (answer.final) throw new FinalCommandError(answer.message);
  if (answer.retryAfter !== undefined) throw new LaterCommandError(answer.message, answer.retryAfter);
  throw new CommandError(answer.message);
}

async function defaultWait(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, signal);
  signal.throwIfAborted();
}
