/**
 * One kept-running program and the line protocol with it: a task in, an answer out, one at a time. A program
 * that breaks the protocol is ended, never resynchronised: an answer must not reach a task that it is not for.
 */
import { sleep, timeout } from '../../runtime/timers.ts';
import { tooLarge } from '../task/encode.ts';
import { describeError } from '../task/describe-error.ts';
import type { TaskContext } from '../task/handler.ts';
import { describeExit, startProgram } from './child.ts';
import { stopped, withStderr, type LogSource } from './command.ts';
import { CommandError } from './errors.ts';
import { decodeLine, taskLine, idInLine, type Answer } from './line-protocol.ts';
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
   * What a program that names no ids writes within this time after an answer is an answer too many, ms; a fifth of it once it
   * has answered some tasks well, because one that answers twice mostly does so from the start.
   */
  readonly quietMs: number;
  /** Called when the process is gone. Not healthy: it failed by itself, without a single answer. */
  readonly onGone: (healthy: boolean) => void;
}

export interface KeptProcess {
  /** Settles when the process is gone; never rejects. */
  readonly gone: Promise<void>;
  /** False once it has ended or is not to get another task. */
  readonly usable: boolean;
  /**
   * Resolves when it may get the next task: at once where it says in its answers which task they are for, else when it has
   * written nothing for a moment. It need not be usable any more then.
   */
  quiet(): Promise<void>;
  /**
   * Runs one task. It rejects only when the process is gone, so that another one may be started.
   *
   * Throws `CommandError` when the process ends or breaks the protocol, or the task is aborted.
   * Throws `ResultEncodingError` when the answer is longer than `maxOutputBytes`.
   */
  ask(context: TaskContext): Promise<Answer>;
  /**
   * Ends its stdin and gives it `waitMs` to answer what it runs and to exit by itself; then SIGTERM, and SIGKILL
   * after the grace.
   */
  close(waitMs: number): Promise<void>;
}

/** A process that closes a pipe but does not exit is ended after this time, ms. */
const EXIT_AFTER_CLOSING_MS = 250;

/** So many answers without one too many. */
const TRUSTED_AFTER = 20;

interface Asked {
  readonly id: string;
  readonly attempt: number;
  readonly progress: (value: unknown) => void;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** Throws `CommandError` when the system does not start it. */
export async function startKeptProcess(program: Program, options: KeptProcessOptions): Promise<KeptProcess> {
  const { name } = program;
  const { graceMs, maxOutputBytes, quietMs } = options;
  let asked: Asked | undefined;
  let healthy = false;
  /** It may get a task from then on, by performance.now(). */
  let quietAt = 0;
  let answered = 0;
  /** No further task: it said so, or it is being closed. The answer to the one that it runs still counts. */
  let retired = false;
  /** Why it is being ended; from here on nothing that it writes counts. */
  let broken: Error | undefined;
  const breaking = new AbortController();

  const log = (line: string): void =>
    options.log(line, { pid: child.pid, ...(asked && { id: asked.id, attempt: asked.attempt }) });
  const child = await startProgram(program, { ...options, log });

  const end = (reason: Error): void => {
    if (broken || child.hasEnded()) return;
    broken = reason;
    breaking.abort();
    if (!asked) log(describeError(reason));
    void child.terminate(graceMs);
  };

  const onLine = (line: Buffer): void => {
    if (broken) return;
    if (!asked) {
      end(new CommandError(`${name} wrote to stdout without a task: ${excerpt(line)}`));
      return;
    }
    try {
      const answer = decodeLine(line);
      const another = answer.id !== undefined && answer.id !== asked.id;
      if (answer.kind === 'progress') {
        // that of a task before may come late: it says whose it is
        if (!another) asked.progress(answer.value);
        return;
      }
      if (another) throw new SyntaxError('its "id" is that of another task');
      const { resolve } = asked;
      answered++;
      const trusted = answered > TRUSTED_AFTER;
      quietAt = answer.id === undefined ? performance.now() + (trusted ? quietMs / 5 : quietMs) : 0;
      asked = undefined;
      healthy = true;
      retired ||= answer.last;
      resolve(answer);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `${name} wrote a line that is no answer, ${why}: ${excerpt(line)}`;
      end(new CommandError(`${message} (answers go to stdout, everything else to stderr)`, { cause }));
    }
  };
  const onLongLine = (): void =>
    end(tooLarge(`the program wrote a line of more than ${maxOutputBytes} bytes`, maxOutputBytes));
  const lines = splitLines(maxOutputBytes, onLine, onLongLine);
  child.stdout.on('data', (chunk: Buffer) => lines.push(chunk));

  const onClosed = (pipe: string): void => {
    const timer = timeout(EXIT_AFTER_CLOSING_MS, () => end(new CommandError(`${name} closed its ${pipe}`)));
    void child.exited.finally(() => timer.clear());
  };
  child.stdin.on('error', () => onClosed('stdin'));
  child.stdout.once('end', () => {
    lines.end();
    onClosed('stdout');
  });

  const untilGone = async (): Promise<void> => {
    const exit = describeExit(await child.exited);
    options.onGone(healthy);
    if (!asked && !broken && !retired) log(`${name} ended without a task: ${exit}`);
    asked?.reject(broken ?? new CommandError(withStderr(`${exit} before it answered`, child.stderrTail())));
    asked = undefined;
  };
  const gone = untilGone();

  return {
    gone,
    get usable() {
      return !broken && !retired && !child.hasEnded();
    },
    quiet: async () => {
      const ms = quietAt - performance.now();
      if (ms > 0) await sleep(ms, breaking.signal);
    },
    async ask(context) {
      const { id, attempt, signal, progress } = context;
      const { promise, resolve, reject } = Promise.withResolvers<Answer>();
      asked = { id: idInLine(id), attempt, progress, resolve, reject };
      child.forgetStderr();
      const abort = (): void => {
        healthy = true; // Nothing can be held against a program that is stopped.
        end(stopped(signal));
      };
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
      else child.stdin.write(taskLine(context));
      try {
        return await promise;
      } finally {
        signal.removeEventListener('abort', abort);
      }
    },
    async close(waitMs) {
      retired = true;
      child.stdin.end();
      const timer = timeout(waitMs, () => void child.terminate(graceMs));
      await gone;
      timer.clear();
    },
  };
}

function excerpt(line: Buffer): string {
  const text = line.toString('utf8', 0, 200);
  return JSON.stringify(line.length > 200 ? `${text}…` : text);
}
