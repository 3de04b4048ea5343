/**
 * A handler from functions in Python: one process per slot, kept with the module loaded (`kept-pool.ts`), by the package `millrace` of
 * PyPI, which is in `python/`. The first process is started before the worker takes tasks, so that a module that cannot be loaded is
 * reported once, in one line, instead of at every task.
 */
import { formatDuration } from '../../runtime/duration.ts';
import { timeout } from '../../runtime/timers.ts';
import { MAX_RESULT_BYTES } from '../task/encode.ts';
import type { OpenHandler } from '../task/handler.ts';
import { DEFAULT_GRACE_MS, type CommandOptions } from './command.ts';
import { HandlerLoadError } from './errors.ts';
import { openKeptPool, type KeptPoolOptions } from './kept-pool.ts';
import { findProgram } from './program.ts';
import { startPython } from './python-process.ts';

export interface PythonOptions
  extends Omit<CommandOptions, 'command'>, Omit<KeptPoolOptions, 'start' | 'onShortage'> {
  /** `module:function`, or `module` with several tasks. */
  readonly target: string;
  /** The interpreter: a path, or a name in `PATH`. */
  readonly executable: string;
  /** With fewer than `concurrency`, each runs several tasks at a time: async functions beside one another, others in turn. */
  readonly processes?: number | undefined;
  /** A process is replaced after this many tasks; by default, never. */
  readonly maxTasks?: number | undefined;
  /** A process is replaced after a task at whose end it has used more memory than this, bytes; by default, never. */
  readonly maxMemoryBytes?: number | undefined;
  /** Time limit for loading the module, ms; 0 for none. */
  readonly timeoutMs: number;
  /** Ends the first start. */
  readonly stopping: AbortSignal;
  /** From the abort of a task to SIGTERM, ms. */
  readonly politeMs?: number;
}

const POLITE_MS = 1_000;

/**
 * Starts a process and waits until it has loaded the module. If `stopping` aborts before that, the returned handler runs nothing.
 *
 * Throws `HandlerLoadError` for a target that is none, an interpreter that is not there or lacks the package, and a module that cannot be
 * loaded, or not in time.
 */
export async function openPython(options: PythonOptions): Promise<OpenHandler> {
  const { target, executable, maxTasks, maxMemoryBytes, timeoutMs, stopping } = options;
  const { graceMs = DEFAULT_GRACE_MS, politeMs = POLITE_MS, maxOutputBytes = MAX_RESULT_BYTES } = options;
  if (!/^[^\s:]+(:[^\s:]+)?$/.test(target))
    throw new HandlerLoadError(
      `--python ${target} is no module: write tasks:simulate, or tasks for all tasks of a module`,
    );
  const args = ['-m', 'millrace.worker', target, '--max-result', String(maxOutputBytes)];
  if (maxTasks !== undefined) args.push('--max-tasks', String(maxTasks));
  if (maxMemoryBytes !== undefined) args.push('--max-memory', String(maxMemoryBytes));
  const program = await findProgram({ ...options, command: [executable, ...args] });
  const limits = { graceMs, politeMs: Math.min(politeMs, graceMs), maxOutputBytes };
  const pool = openKeptPool({
    ...options,
    start: (how) => startPython(program, { ...options, ...limits, ...how }),
  });
  const late = new AbortController();
  const limit = timeout(timeoutMs || Infinity, () => late.abort()).unref();
  try {
    await pool.warm(AbortSignal.any([stopping, late.signal]));
  } catch (error) {
    if (stopping.aborted) return pool;
    await pool[Symbol.asyncDispose]();
    if (!late.signal.aborted) throw error;
    const time = formatDuration(timeoutMs);
    throw new HandlerLoadError(`--python ${target} was not loaded within ${time}: see --module-timeout`, {
      cause: error,
    });
  } finally {
    limit.clear();
  }
  return pool;
}
