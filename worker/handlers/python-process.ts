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
import type { TaskContext } from '../task/handler.ts';
import { describeExit, onceAborted, startProgram, type ProgramProcess } from './child.ts';
import { stopped, withStderr, type LogSource } from './command.ts';
import { CommandError, HandlerLoadError } from './errors.ts';
import type { KeptProcess } from './kept-starts.ts';
import { parseJson, type Answer } from './line-protocol.ts';
import type { Program } from './program.ts';
import { decodeError, decodeHello, type PythonError } from './python-answer.ts';
import { cancelFrame, FrameKind, frameReader, runFrame, spawnedTasks } from './python-frames.ts';
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

interface Asked {
  readonly number: number;
  readonly context: TaskContext;
  readonly id: string;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  /** Why the tasks that it has added cannot be; its result is dropped. */
  refused: Error | undefined;
  /** Of its abort. */
  timer: Timer | undefined;
}

interface State {
  readonly options: PythonProcessOptions;
  readonly child: ProgramProcess;
  readonly log: (line: string) => void;
  readonly asked: Map<number, Asked>;
  /** Frames of this tick, which are written together. */
  readonly unsent: Buffer[];
  lastNumber: number;
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
  const state: State = {
    options,
    child: await startProgram(program, { ...options, log, channel: true }),
    log,
    asked: new Map(),
    unsent: [],
    lastNumber: 0,
    healthy: false,
    retired: false,
    broken: undefined,
    loaded: Promise.withResolvers<void>(),
  };
  const { child } = state;
  connect(state);
  const gone = untilGone(state);
  await untilLoaded(state);
  return {
    gone,
    get usable() {
      return !state.broken && !state.retired && !child.hasEnded();
    },
    quiet: () => undefined,
    ask: (context) => ask(state, context),
    async close(waitMs) {
      state.retired = true;
      child.channel?.end();
      await child.exitWithin(waitMs, options.graceMs);
      await gone;
    },
  };
}

function logFor({ child, options }: State, asked: Asked | undefined, line: string): void {
  options.log(line, { pid: child.pid, ...(asked && { id: asked.id, attempt: asked.context.attempt }) });
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
  const read = frameReader(
    maxBytes,
    (kind, number, body) => onFrame(state, kind, number, body),
    (bytes) =>
      end(
        state,
        new CommandError(`a frame of ${bytes} bytes came from Python: something else wrote to its socket`),
      ),
  );
  child.channel?.on('data', read);
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

async function ask(state: State, context: TaskContext): Promise<Answer> {
  const { child } = state;
  const { id, signal } = context;
  if (signal.aborted) throw stopped(signal);
  const number = (state.lastNumber + 1) >>> 0 || 1;
  state.lastNumber = number;
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const name = typeof id === 'string' ? id : id.toString();
  const asked: Asked = { number, context, id: name, resolve, reject, refused: undefined, timer: undefined };
  state.asked.set(number, asked);
  if (state.asked.size === 1) child.forgetStderr();
  const abort = (): void => cancel(state, asked);
  const ending = onceAborted(signal, abort);
  send(state, runFrame(number, context));
  return await promise.finally(ending);
}

/** Tasks that begin together, as after a turn, cost one system call. */
function send(state: State, parts: readonly Buffer[]): void {
  const { unsent, child } = state;
  if (unsent.length === 0)
    process.nextTick(() => {
      const all = unsent.splice(0);
      const [only] = all;
      if (child.channel?.writable) child.channel.write(only && all.length === 1 ? only : Buffer.concat(all));
    });
  unsent.push(...parts);
}

/** Its result is no longer wanted. */
function cancel(state: State, asked: Asked): void {
  const { child, options } = state;
  if (!state.asked.has(asked.number) || child.hasEnded()) return;
  send(state, [cancelFrame(asked.number, describeError(asked.context.signal.reason))]);
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
  const { broken, loaded } = state;
  if (broken) return;
  const asked = state.asked.get(number);
  try {
    if (kind === FrameKind.Hello) {
      decodeHello(body);
      loaded.resolve();
    } else if (kind === FrameKind.Error && number === 0) {
      const { message, traceback } = decodeError(body.subarray(1));
      if (traceback !== '') state.log(traceback);
      loaded.reject(new HandlerLoadError(message));
    } else if (asked) {
      if (kind === FrameKind.Progress) asked.context.progress(parseJson(body.toString()));
      else if (kind === FrameKind.Spawn) spawn(asked, spawnedTasks(body));
      else answer(state, asked, decode(kind, asked, body));
    } else if (kind !== FrameKind.Progress) {
      // a thread that a function has left running may report just after its task has ended
      throw new SyntaxError(`a frame of kind ${kind} came for task ${number}, which it does not run`);
    }
  } catch (error) {
    end(state, new CommandError(`Python sent what it should not: ${describeError(error)}`, { cause: error }));
  }
}

/** The package has checked them in its own way; what the worker refuses all the same fails the attempt. */
function spawn(asked: Asked, tasks: readonly Buffer[]): void {
  try {
    asked.context.spawn(tasks);
  } catch (error) {
    asked.refused = error as Error;
  }
}

function decode(kind: number, { id }: Asked, body: Buffer): Answer & Partial<PythonError> {
  const last = body[0] === 1;
  const rest = body.subarray(1);
  if (kind === FrameKind.Result) return { kind: 'result', id, value: rest, last };
  if (kind === FrameKind.Error) return { kind: 'error', id, last, ...decodeError(rest) };
  throw new SyntaxError(`a frame of kind ${kind} came`);
}

function answer(state: State, asked: Asked, found: Answer & Partial<PythonError>): void {
  const { signal } = asked.context;
  if (found.kind === 'error' && found.traceback && !signal.aborted) logFor(state, asked, found.traceback);
  asked.timer?.clear();
  state.asked.delete(asked.number);
  state.healthy = true;
  state.retired ||= found.last;
  if (asked.refused && found.kind === 'result' && !signal.aborted) return asked.reject(asked.refused);
  if (!signal.aborted) return asked.resolve(found);
  const error = stopped(signal);
  if (!state.retired) return asked.reject(error);
  // a process that was interrupted keeps its slot until it is gone
  void state.child.exited.then(() => asked.reject(error));
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
  if (asked.size === 0 && !broken && !retired && state.lastNumber > 0)
    log(`Python ended without a task: ${exit}`);
  const died = new CommandError(withStderr(`Python ended before the task did, ${exit}`, child.stderrTail()));
  for (const { timer, context, reject } of asked.values()) {
    timer?.clear();
    reject(broken ?? (context.signal.aborted ? stopped(context.signal) : died));
  }
  asked.clear();
}

function whyNotStarted(exit: string, stderr: string): string {
  if (/No module named '?millrace\b/.test(stderr))
    return 'this Python has no package millrace: install it where the module is run (pip install millrace), or name another with --python-executable';
  return withStderr(`Python ended before it had loaded the module, ${exit}`, stderr);
}
