/**
 * One process of the Python package, which keeps a module loaded and runs its tasks, over frames (`python-frames.ts`).
 * What the module and its libraries write to stdout and stderr is log.
 *
 * A task whose result is no longer wanted is told so; its function may end it in its own way, and the process is kept. After a
 * second its process group gets SIGTERM, at which the package raises an exception in the function, and in the end SIGKILL. A process
 * that has other tasks gets no more, and SIGTERM when they have ended, or after the grace period: the function may hold them up.
 */
import { timeout, type Timer } from '../../runtime/timers.ts';
import type { Watcher } from '../../runtime/child-watchdog.ts';
import { describeError } from '../../runtime/describe-error.ts';
import type { RawTask } from '../task/handler.ts';
import { NotBegun } from '../task/not-begun.ts';
import { openBegunTasks, type BegunTasks } from './begun-tasks.ts';
import { describeExit, FILE, onceAborted, startProgram, type ProgramProcess } from './child.ts';
import { stopped, withStderr, type LogSource } from './command.ts';
import { CommandError, errorOf, HandlerLoadError } from './errors.ts';
import type { KeptProcess, OnLeft } from './kept-starts.ts';
import { parseJson } from './line-protocol.ts';
import { NumberedTasks } from './numbered-tasks.ts';
import type { Program } from './program.ts';
import { decodeError, decodeHello, type PythonError } from './python-answer.ts';
import {
  cancelFrame,
  followingNumber,
  FrameKind,
  frameReader,
  resultsIn,
  spawnedTasks,
} from './python-frames.ts';
import { createPythonOutbox, type PythonOutbox } from './python-outbox.ts';
import { splitLines } from './split-lines.ts';

export interface PythonProcessOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly watcher: Watcher;
  readonly log: (line: string, source: LogSource) => void;
  /** From the abort of a task to SIGKILL, ms. */
  readonly graceMs: number;
  /** From the abort of a task to SIGTERM, ms. */
  readonly politeMs: number;
  readonly maxOutputBytes: number;
  readonly onGone: (healthy: boolean) => void;
  /** Ends the start. */
  readonly signal: AbortSignal;
}

/** What a frame may have beside a result, bytes. */
const FRAME_ROOM = 1 << 20;
const LINE_BYTES = 16 * 1024;

/** A task that it was given and has not answered. */
class Asked {
  /** Why the tasks that it has added cannot be; its result is dropped. */
  refused: Error | undefined;
  /** Of its abort. */
  timer: Timer | undefined;
  readonly number: number;
  readonly task: RawTask;
  readonly onLeft: OnLeft;
  readonly #state: State;

  constructor(state: State, number: number, task: RawTask, onLeft: OnLeft) {
    this.#state = state;
    this.number = number;
    this.task = task;
    this.onLeft = onLeft;
    task.abort.listener = this;
  }

  onAbort(): void {
    cancel(this.#state, this);
  }
}

interface State {
  readonly options: PythonProcessOptions;
  readonly child: ProgramProcess;
  readonly log: (line: string) => void;
  readonly asked: NumberedTasks<Asked>;
  /** As its pool knows it, once it has loaded the module. */
  kept: KeptProcess | undefined;
  readonly outbox: PythonOutbox;
  readonly begun: BegunTasks | undefined;
  /** It notes there which tasks it has begun. */
  notesBegun: boolean;
  /** It was given a task. */
  used: boolean;
  healthy: boolean;
  /** It gets no further task. */
  retired: boolean;
  /** Why it is being ended; from then on its frames are ignored. */
  broken: Error | undefined;
  /** Its start. */
  readonly loaded: PromiseWithResolvers<void>;
}

/**
 * Resolves when the process has loaded its module.
 *
 * Throws `HandlerLoadError` when it cannot load it, and `CommandError` when the system cannot start it.
 */
export async function startPython(program: Program, options: PythonProcessOptions): Promise<KeptProcess> {
  const log = (line: string): void => {
    // of several tasks, nobody knows whose it is
    const [asked] = state.asked.size === 1 ? state.asked.values() : [];
    logFor(state, asked, line);
  };
  const begun = openBegunTasks();
  const env = begun ? { ...options.env, MILLRACE_BEGUN: String(FILE) } : options.env;
  const child = await startProgram(program, {
    ...options,
    env,
    log,
    channel: true,
    file: begun?.descriptor,
  }).catch((error: unknown) => {
    begun?.[Symbol.dispose]();
    throw error;
  });
  const state: State = {
    options,
    child,
    log,
    asked: new NumberedTasks(),
    kept: undefined,
    outbox: createPythonOutbox((bytes) => child.channel?.writable && child.channel.write(bytes)),
    begun,
    notesBegun: false,
    used: false,
    healthy: false,
    retired: false,
    broken: undefined,
    loaded: Promise.withResolvers<void>(),
  };
  connect(state);
  const gone = untilGone(state);
  await untilLoaded(state);
  const kept = {
    gone,
    get usable() {
      return !state.broken && !state.retired && !child.hasEnded();
    },
    get load() {
      return state.asked.size;
    },
    quiet: () => undefined,
    begin: (task: RawTask, onLeft: OnLeft) => begin(state, task, onLeft),
    async close(waitMs: number) {
      state.retired = true;
      child.channel?.end();
      await child.exitWithin(waitMs, options.graceMs);
      await gone;
    },
  };
  state.kept = kept;
  return kept;
}

function logFor({ child, options }: State, asked: Asked | undefined, line: string): void {
  options.log(line, {
    pid: child.pid,
    ...(asked && { id: String(asked.task.id), attempt: asked.task.attempt }),
  });
}

function connect(state: State): void {
  const { child, log } = state;
  child.stdin.end();
  const lines = splitLines(
    LINE_BYTES,
    (line) => log(line.toString()),
    (start) => log(`${start.toString()}…`),
  );
  child.stdout.on('data', (chunk: Buffer) => lines.push(chunk));
  child.stdout.once('end', () => lines.end());
  const maxBytes = state.options.maxOutputBytes + FRAME_ROOM;
  const push = frameReader(
    maxBytes,
    (kind, number, body) => onFrame(state, kind, number, body),
    (bytes) =>
      end(
        state,
        new CommandError(`a frame of ${bytes} bytes came from Python: something else wrote to its socket`),
      ),
  );
  child.channel?.on('data', push);
}

async function untilLoaded(state: State): Promise<void> {
  const { options, child, loaded } = state;
  const stop = (): void => end(state, stopped(options.signal));
  const ending = onceAborted(options.signal, stop);
  try {
    await loaded.promise;
  } catch (error) {
    // what could not be loaded ends by itself
    await child.exitWithin(options.graceMs, options.graceMs);
    throw error;
  } finally {
    ending();
  }
}

function begin(state: State, task: RawTask, onLeft: OnLeft): void {
  const number = state.asked.nextNumber();
  state.asked.add(new Asked(state, number, task, onLeft));
  state.used = true;
  if (state.asked.size === 1) state.child.forgetStderr();
  state.outbox.run(number, task);
}

/** Its result is no longer wanted. */
function cancel(state: State, asked: Asked): void {
  const { child, options } = state;
  if (!state.asked.get(asked.number) || child.hasEnded()) return;
  state.outbox.send(cancelFrame(asked.number, describeError(asked.task.abort.reason)));
  const aborted = performance.now();
  const interrupt = (): void => {
    state.healthy = true; // a stopped process is not to blame
    state.retired = true;
    if (state.asked.size > 1 && performance.now() - aborted < options.graceMs) {
      // unless it holds them up, others may end
      asked.timer = timeout(options.politeMs, interrupt);
      return;
    }
    void child.terminate(Math.max(0, options.graceMs - options.politeMs));
  };
  asked.timer = timeout(options.politeMs, interrupt);
}

function onFrame(state: State, kind: number, number: number, body: Buffer): void {
  if (state.broken) return;
  let pass: (() => void) | undefined;
  try {
    pass = read(state, kind, number, body);
  } catch (error) {
    end(state, new CommandError(`Python sent what it should not: ${describeError(error)}`, { cause: error }));
    return;
  }
  // outside of the above: the end of a task begins others
  pass?.();
}

type Answer = { readonly asked: Asked; readonly last: boolean } & (
  | { readonly result: string | Buffer }
  | { readonly error: PythonError }
);

/** Does what a frame asks for. Of answers, it returns what passes them on. */
function read(state: State, kind: number, number: number, body: Buffer): (() => void) | undefined {
  const { loaded } = state;
  if (kind === FrameKind.Results) return readResults(state, number, resultsIn(body));
  if (kind === FrameKind.Hello) {
    const hello = decodeHello(body);
    state.outbox.begin(hello);
    state.notesBegun = hello.begun;
    loaded.resolve();
  } else if (kind === FrameKind.Error && number === 0) {
    const { message, traceback } = decodeError(body.subarray(1));
    if (traceback !== '') state.log(traceback);
    loaded.reject(new HandlerLoadError(message));
  } else if (kind === FrameKind.Progress)
    // a thread that a function has left running may report just after its task has ended
    state.asked.get(number)?.task.progress(parseJson(body.toString()));
  else if (kind === FrameKind.Spawn) spawn(askedFor(state, kind, number), spawnedTasks(body));
  else {
    const found = readAnswer(askedFor(state, kind, number), kind, body);
    return () => answer(state, found);
  }
  return undefined;
}

/** Results of tasks that follow one another in number; the tasks that follow them begin together. */
function readResults(state: State, number: number, results: readonly (string | Buffer)[]): () => void {
  const all = results.map((_, i) => askedFor(state, FrameKind.Results, followingNumber(number, i)));
  const pass = (): void => results.forEach((result, i) => all[i] && succeed(state, all[i], result, false));
  return () => all[0]?.task.together(pass);
}

function askedFor({ asked }: State, kind: number, number: number): Asked {
  const found = asked.get(number);
  if (found) return found;
  throw new SyntaxError(`a frame of kind ${kind} came for task ${number}, which it does not run`);
}

/** The package has checked them in its own way; what the worker refuses all the same fails the attempt. */
function spawn(asked: Asked, tasks: readonly Buffer[]): void {
  try {
    asked.task.spawn(tasks);
  } catch (error) {
    asked.refused = error as Error;
  }
}

function readAnswer(asked: Asked, kind: number, body: Buffer): Answer {
  const last = body[0] === 1;
  const rest = body.subarray(1);
  if (kind === FrameKind.Result) return { asked, last, result: rest };
  if (kind === FrameKind.Error) return { asked, last, error: decodeError(rest) };
  throw new SyntaxError(`a frame of kind ${kind} came`);
}

function answer(state: State, found: Answer): void {
  const { asked, last } = found;
  if ('result' in found) return succeed(state, asked, found.result, last);
  const { error } = found;
  if (error.traceback && !asked.task.abort.reason) logFor(state, asked, error.traceback);
  close(state, asked, last);
  if (!dropped(state, asked)) fail(state, asked, errorOf(error), true);
}

function succeed(state: State, asked: Asked, result: string | Buffer, last: boolean): void {
  close(state, asked, last);
  if (dropped(state, asked)) return;
  if (asked.refused) return fail(state, asked, asked.refused, true);
  leave(state, asked, true);
  asked.task.succeeded(result);
}

function close(state: State, asked: Asked, last: boolean): void {
  asked.timer?.clear();
  state.asked.delete(asked.number);
  state.healthy = true;
  state.retired ||= last;
}

/** Whether the answer of a task comes too late, as its result is no longer wanted. */
function dropped(state: State, asked: Asked): boolean {
  const { abort } = asked.task;
  if (!abort.reason) return false;
  const error = stopped(abort);
  // a process that was interrupted keeps its slot until it is gone
  if (state.retired) void state.child.exited.then(() => fail(state, asked, error, true));
  else fail(state, asked, error, true);
  return true;
}

function fail(state: State, asked: Asked, error: Error, answered: boolean): void {
  leave(state, asked, answered);
  asked.task.failed(error);
}

function leave({ kept }: State, { task, onLeft }: Asked, answered: boolean): void {
  task.abort.listener = undefined;
  if (kept) onLeft(kept, answered);
}

function end(state: State, reason: Error): void {
  const { child, asked, log, options, loaded } = state;
  if (state.broken || child.hasEnded()) return;
  state.broken = reason;
  loaded.reject(reason);
  if (asked.size === 0) log(describeError(reason));
  void child.terminate(options.graceMs);
}

/** Resolves when the process is gone and its task is rejected; never rejects. */
async function untilGone(state: State): Promise<void> {
  const { child, options, log, loaded } = state;
  const exit = describeExit(await child.exited);
  options.onGone(state.healthy);
  const { asked, broken, retired } = state;
  loaded.reject(broken ?? new HandlerLoadError(whyNotStarted(exit, child.stderrTail())));
  if (asked.size === 0 && !broken && !retired && state.used) log(`Python ended without a task: ${exit}`);
  const left = asked.values();
  asked.clear();
  const errorFor = errorsOfDeath(state, exit, left);
  for (const one of left) {
    one.timer?.clear();
    fail(state, one, errorFor(one), false);
  }
}

/** Why these have no answer. */
function errorsOfDeath(
  { child, broken, begun, notesBegun, log }: State,
  exit: string,
  left: readonly Asked[],
): (asked: Asked) => Error {
  const hasBegun = notesBegun && begun ? begun.read() : () => true;
  begun?.[Symbol.dispose]();
  const died =
    broken ?? new CommandError(withStderr(`Python ended before the task did, ${exit}`, child.stderrTail()));
  const notBegun = new NotBegun(`Python ended before it had begun the task, ${exit}`);
  if (left.length > 0 && !left.some(({ number }) => hasBegun(number)))
    log(`Python ended before it had begun its tasks: ${exit}`);
  return ({ number, task }) => {
    if (task.abort.reason) return stopped(task.abort);
    return hasBegun(number) ? died : notBegun;
  };
}

function whyNotStarted(exit: string, stderr: string): string {
  if (/No module named '?millrace\b/.test(stderr))
    return 'this Python has no package millrace: install it where the module is run (pip install millrace), or name another with --python-executable';
  return withStderr(`Python ended before it had loaded the module, ${exit}`, stderr);
}
