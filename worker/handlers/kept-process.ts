/**
 * One kept-running program and the line protocol with it: one task in, one answer out at a time. A program that violates the
 * protocol is ended, never resynchronised: an answer must not reach another task.
 */
import { sleep, timeout } from '../../runtime/timers.ts';
import { tooLarge } from '../task/encode.ts';
import { describeError } from '../../runtime/describe-error.ts';
import type { RawTask } from '../task/handler.ts';
import { describeExit, startProgram, type ProgramProcess } from './child.ts';
import { stopped, withStderr, type LogSource } from './command.ts';
import { CommandError, errorOf } from './errors.ts';
import { decodeLine, taskLine, idInLine, type Answer } from './line-protocol.ts';
import type { KeptProcess, OnLeft } from './kept-starts.ts';
import type { Program } from './program.ts';
import { splitLines } from './split-lines.ts';
import type { Watcher } from '../../runtime/child-watchdog.ts';

export interface KeptProcessOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly watcher: Watcher;
  readonly log: (line: string, source: LogSource) => void;
  readonly graceMs: number;
  readonly maxOutputBytes: number;
  /**
   * A line that a program without ids in its answers writes within this time after an answer is a surplus answer, ms; a fifth
   * of it after some correct answers, because programs that answer twice mostly do so from the start.
   */
  readonly quietMs: number;
  /** Called when the process is gone. `healthy` is false if it failed without a single answer and was not stopped. */
  readonly onGone: (healthy: boolean) => void;
}

/** A process that closes a pipe but does not exit is ended after this time, ms. */
const EXIT_AFTER_CLOSING_MS = 250;

/** Answers without a surplus one after which a program is trusted. */
const TRUSTED_AFTER = 20;

interface Asked {
  readonly id: string;
  readonly task: RawTask;
  /** Ends it. */
  readonly left: (answered: boolean) => void;
}

interface KeptState {
  readonly name: string;
  readonly options: KeptProcessOptions;
  readonly child: ProgramProcess;
  readonly log: (line: string) => void;
  asked: Asked | undefined;
  healthy: boolean;
  /** When it may get the next task, by performance.now(). */
  quietAt: number;
  answered: number;
  /** It gets no further task: it announced its exit, or is being closed. The answer to its current task still counts. */
  retired: boolean;
  /** Why it is being ended; from then on its output is ignored. */
  broken: Error | undefined;
  readonly breaking: AbortController;
}

/** Throws `CommandError` when the system cannot start it. */
export async function startKeptProcess(program: Program, options: KeptProcessOptions): Promise<KeptProcess> {
  const { name } = program;
  const { graceMs, maxOutputBytes } = options;
  const log = (line: string): void => {
    const { child, asked } = state;
    options.log(line, { pid: child.pid, ...(asked && { id: asked.id, attempt: asked.task.attempt }) });
  };
  const state: KeptState = {
    name,
    options,
    child: await startProgram(program, { ...options, log }),
    log,
    asked: undefined,
    healthy: false,
    quietAt: 0,
    answered: 0,
    retired: false,
    broken: undefined,
    breaking: new AbortController(),
  };
  const { child, breaking } = state;
  const lines = splitLines(
    maxOutputBytes,
    (line) => onLine(state, line),
    () =>
      end(state, tooLarge(`the program wrote a line of more than ${maxOutputBytes} bytes`, maxOutputBytes)),
  );
  connect(child, lines, (pipe) => end(state, new CommandError(`${name} closed its ${pipe}`)));
  const gone = untilGone(state);
  const kept: KeptProcess = {
    gone,
    get usable() {
      return !state.broken && !state.retired && !child.hasEnded();
    },
    get load() {
      return state.asked ? 1 : 0;
    },
    quiet: () => {
      const ms = state.quietAt - performance.now();
      return ms > 0 ? sleep(ms, breaking.signal) : undefined;
    },
    begin: (task, left) => begin(state, kept, task, left),
    async close(waitMs) {
      state.retired = true;
      child.stdin.end();
      await child.exitWithin(waitMs, graceMs);
      await gone;
    },
  };
  return kept;
}

function begin(state: KeptState, kept: KeptProcess, task: RawTask, onLeft: OnLeft): void {
  const { child } = state;
  const { abort } = task;
  const left = (answered: boolean): void => {
    state.asked = undefined;
    abort.listener = undefined;
    onLeft(kept, answered);
  };
  state.asked = { id: idInLine(task.id), task, left };
  child.forgetStderr();
  const onAbort = (): void => {
    state.healthy = true; // a stopped program is not to blame
    end(state, stopped(abort));
  };
  abort.listener = { onAbort };
  if (abort.reason) onAbort();
  else child.stdin.write(taskLine(task));
}

function onLine(state: KeptState, line: Buffer): void {
  const { name, asked, broken } = state;
  if (broken) return;
  if (!asked) {
    end(state, new CommandError(`${name} wrote to stdout without a task: ${excerpt(line)}`));
    return;
  }
  const answer = readAnswer(line, asked, name);
  if (answer instanceof CommandError) return end(state, answer);
  if (answer === undefined) return;
  state.answered++;
  state.quietAt = performance.now() + pauseAfter(answer, state.answered, state.options.quietMs);
  state.healthy = true;
  state.retired ||= answer.last;
  asked.left(true);
  if (answer.kind === 'result') asked.task.succeeded(answer.value);
  else asked.task.failed(errorOf(answer));
}

function end(state: KeptState, reason: Error): void {
  const { child, asked, log, breaking, options } = state;
  if (state.broken || child.hasEnded()) return;
  state.broken = reason;
  breaking.abort();
  if (!asked) log(describeError(reason));
  void child.terminate(options.graceMs);
}

/** Resolves when the process is gone and its task is rejected; never rejects. */
async function untilGone(state: KeptState): Promise<void> {
  const { name, child, options, log } = state;
  const exit = describeExit(await child.exited);
  options.onGone(state.healthy);
  const { asked, broken, retired } = state;
  if (!asked && !broken && !retired) log(`${name} ended without a task: ${exit}`);
  asked?.left(false);
  asked?.task.failed(
    broken ?? new CommandError(withStderr(`${exit} before it answered`, child.stderrTail())),
  );
}

/** Passes on what the child writes. `onClosed` is called for a pipe that it closes, unless it exits in a moment. */
function connect(
  child: ProgramProcess,
  lines: ReturnType<typeof splitLines>,
  onClosed: (pipe: string) => void,
): void {
  const closed = (pipe: string): void => {
    const timer = timeout(EXIT_AFTER_CLOSING_MS, () => onClosed(pipe));
    void child.exited.finally(() => timer.clear());
  };
  child.stdin.on('error', () => closed('stdin'));
  child.stdout.on('data', (chunk: Buffer) => lines.push(chunk));
  child.stdout.once('end', () => {
    lines.end();
    closed('stdout');
  });
}

/**
 * The answer that a line is to a task; `undefined` for progress, which is passed on; an error for what is neither, or answers another
 * task.
 */
function readAnswer(line: Buffer, asked: Asked, name: string): Answer | CommandError | undefined {
  try {
    const answer = decodeLine(line);
    const another = answer.id !== undefined && answer.id !== asked.id;
    if (answer.kind === 'progress') {
      // one with the id of an earlier task is late
      if (!another) asked.task.progress(answer.value);
      return undefined;
    }
    if (another) throw new SyntaxError('its "id" is that of another task');
    return answer;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `${name} wrote a line that is no answer, ${why}: ${excerpt(line)}`;
    return new CommandError(`${message} (answers go to stdout, everything else to stderr)`, { cause });
  }
}

/** How long a program must be quiet after an answer until it may get the next task, ms. */
function pauseAfter({ id }: Answer, answered: number, quietMs: number): number {
  if (id !== undefined) return 0;
  return answered > TRUSTED_AFTER ? quietMs / 5 : quietMs;
}

function excerpt(line: Buffer): string {
  const text = line.toString('utf8', 0, 200);
  return JSON.stringify(line.length > 200 ? `${text}…` : text);
}
