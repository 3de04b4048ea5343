/**
 * A handler from a program in any language, started for each task: the task's bytes are its stdin, its stdout is the result,
 * exit code 0 is success. Any other code fails the attempt; two codes of sysexits(3) mean more: 65 (EX_DATAERR) that no attempt
 * can succeed, 75 (EX_TEMPFAIL) that a later one may, and stdout may then contain the delay, as a duration. Tasks share nothing,
 * so nothing can leak from one to the next; the cost is a process start. Where that matters, `lines.ts` keeps the program
 * running.
 *
 * Guarantees: an attempt settles only when its process group is gone, so that slots bound the processes; an aborted attempt
 * never yields a result, even if the program exits with code 0 on SIGTERM.
 *
 * Known limit: Node gives a program sockets for stdin, stdout and stderr. Reading and writing are the same, but Linux refuses to
 * open a socket by name, so that `tool --output /dev/stdout` fails; `sh -c 'tool --output /dev/stdout | cat'` puts a pipe in its
 * place.
 */
import { parseDuration } from '../../runtime/duration.ts';
import { tooLarge, MAX_RESULT_BYTES } from '../task/encode.ts';
import { describeError } from '../../runtime/describe-error.ts';
import type { OpenHandler, TaskContext } from '../task/handler.ts';
import { trackAttempts } from './attempts.ts';
import { describeExit, startProgram, type ProgramProcess, type Exit } from './child.ts';
import { CommandError, FinalCommandError, LaterCommandError } from './errors.ts';
import { findProgram, type ProgramSource } from './program.ts';
import { cannotFork, CannotFork, createShortage } from './shortage.ts';
import { openWatcher } from '../../runtime/child-watchdog.ts';

/** The writer of a line on stderr. A kept-running program has no task between two of them. */
export interface LogSource {
  readonly pid: number;
  readonly id?: string | undefined;
  readonly attempt?: number;
}

export interface CommandOptions extends ProgramSource {
  /** Receives the program's stderr line by line; lines over 16 KB are truncated. */
  readonly log: (line: string, source: LogSource) => void;
  /** Receives the reason when programs cannot be started for want of processes, memory or file descriptors, and then `undefined`. */
  readonly onShortage?: (why: string | undefined) => void;
  /** Time from SIGTERM to SIGKILL when a task is aborted, ms. */
  readonly graceMs?: number;
  /** The largest result, bytes; Redis's own limit by default. */
  readonly maxOutputBytes?: number;
}

export const DEFAULT_GRACE_MS = 5_000;

/** The kernel limits the size of an environment variable; longer ids are left out. */
const MAX_VARIABLE_BYTES = 4096;

/**
 * Opens a command that is started once per task, with `MILLRACE_TASK_ID`, `MILLRACE_ATTEMPT` and `MILLRACE_QUEUE` in its
 * environment (an id or a queue that is not text, contains a NUL or is longer than 4 KB is left out), and with `TRACEPARENT` and
 * `TRACESTATE` if the task belongs to a trace.
 *
 * Throws `HandlerLoadError` when the command names no program that can be started.
 */
export async function openCommand(options: CommandOptions): Promise<OpenHandler> {
  const { cwd, env, log, graceMs = DEFAULT_GRACE_MS, maxOutputBytes = MAX_RESULT_BYTES } = options;
  const program = await findProgram(options);
  const watcher = openWatcher();
  const closing = new AbortController();

  const shortage = createShortage(options.onShortage);

  const run = async (context: TaskContext): Promise<Buffer> => {
    const signal = AbortSignal.any([context.signal, closing.signal]);
    return await shortage.outlast(
      () => once(context, signal),
      signal,
      () => stopped(signal),
    );
  };

  const once = async (context: TaskContext, signal: AbortSignal): Promise<Buffer> => {
    const { id, attempt } = context;
    if (signal.aborted) throw stopped(signal);
    const child = await startProgram(program, {
      cwd,
      env: taskEnvironment(env, context),
      watcher,
      log: (line) => log(line, { pid: child.pid, id: id.toString(), attempt }),
    });
    const output = collect(child, maxOutputBytes);
    child.stdin.end(context.raw);
    let aborted = false;
    const abort = (): void => {
      if (child.hasEnded()) return;
      aborted = true;
      void child.terminate(graceMs);
    };
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    const exit = await child.exited;
    signal.removeEventListener('abort', abort);

    if (aborted) throw stopped(signal);
    const result = output();
    if (exit.code !== 0) throw failureOf(exit, child.stderrTail(), result);
    return result;
  };

  const { handle, settled } = trackAttempts(run);
  return {
    handle,
    bytesOnly: true,
    async [Symbol.asyncDispose]() {
      closing.abort(new CommandError('the handler is closed'));
      await settled();
      await watcher[Symbol.asyncDispose]();
    },
  };
}

const EX_DATAERR = 65;
const EX_TEMPFAIL = 75;
/** No text of a duration is longer than this, bytes. */
const MAX_DURATION_BYTES = 100;

function failureOf(exit: Exit, stderr: string, stdout: Buffer): CommandError {
  const message = withStderr(describeExit(exit), stderr);
  if (exit.code === EX_DATAERR) return new FinalCommandError(message);
  if (cannotFork(stderr)) return new CannotFork(message);
  const later = exit.code === EX_TEMPFAIL ? delayIn(stdout) : undefined;
  return later === undefined ? new CommandError(message) : new LaterCommandError(message, later);
}

/** The duration that an output consists of, ms; `undefined` for anything else. */
function delayIn(stdout: Buffer): number | undefined {
  if (stdout.length > MAX_DURATION_BYTES) return undefined;
  try {
    return parseDuration(stdout.toString().trim());
  } catch {
    return undefined; // probably a partial result
  }
}

/** The error of an attempt whose signal was aborted. */
export function stopped(signal: { readonly reason?: unknown }): CommandError {
  return new CommandError(`stopped: ${describeError(signal.reason)}`, { cause: signal.reason });
}

/** What went wrong, with the end of the program's stderr. */
export function withStderr(what: string, tail: string): string {
  return tail === '' ? `${what}, nothing on stderr` : `${what}: ${tail}`;
}

/** Collects stdout; over the limit it kills the program, and the returned function throws. */
function collect(child: ProgramProcess, maxBytes: number): () => Buffer {
  let chunks: Buffer[] = [];
  let size = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= maxBytes) {
      chunks.push(chunk);
    } else {
      chunks = [];
      child.kill();
    }
  });
  return () => {
    if (size > maxBytes) throw tooLarge(`the program wrote more than ${maxBytes} bytes to stdout`, maxBytes);
    return Buffer.concat(chunks, size);
  };
}

function taskEnvironment(
  env: NodeJS.ProcessEnv,
  { id, attempt, queue, trace }: TaskContext,
): NodeJS.ProcessEnv {
  return {
    ...env,
    MILLRACE_TASK_ID: variable(id),
    MILLRACE_ATTEMPT: String(attempt),
    MILLRACE_QUEUE: variable(queue),
    TRACEPARENT: trace?.traceparent,
    TRACESTATE: trace?.tracestate,
  };
}

/** Node omits a variable that is `undefined`, even if the worker's own environment has one of that name. */
function variable(value: string | Buffer): string | undefined {
  if (typeof value !== 'string') return undefined;
  return value.includes('\0') || Buffer.byteLength(value) > MAX_VARIABLE_BYTES ? undefined : value;
}
