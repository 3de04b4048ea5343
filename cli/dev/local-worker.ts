/**
 * One worker process on this machine: its start, its output and its end. It leads a process group, out of reach of a terminal's
 * Ctrl-C: whoever started it decides when it stops.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Watcher } from '../../runtime/child-watchdog.ts';
import { timeout, type Timer } from '../../runtime/timers.ts';
import { splitLines } from '../../worker/handlers/split-lines.ts';
import { readLogLine, type LogLine } from './log-line.ts';

export interface WorkerProgram {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

export interface LocalWorker {
  readonly id: string;
  /** In the order of their start. */
  readonly number: number;
  /** It takes tasks. */
  readonly ready: boolean;
  readonly stopping: boolean;
  /** The last warning or error that it wrote; empty if there was none. */
  readonly lastWords: string;
  /** The process has ended, and its output has been read. */
  readonly gone: Promise<void>;
  /**
   * Sends SIGTERM, upon which it finishes its tasks, or, if `hurried`, hands them back; SIGKILL follows after the grace period.
   * Returns whether that was news.
   */
  stop(hurried: boolean): boolean;
  /** Makes it hand back its tasks instead of finishing them. */
  hurry(): void;
}

export interface LocalWorkerOptions {
  readonly id: string;
  readonly number: number;
  readonly program: WorkerProgram;
  /** Time for running tasks after SIGTERM, ms. The worker must be configured with the same. */
  readonly graceMs: number;
  /** Kills the process if this one is killed. */
  readonly watcher: Watcher;
  readonly onReady: (worker: LocalWorker) => void;
  readonly onLine: (line: LogLine) => void;
  /** `how`: its exit. */
  readonly onEnd: (worker: LocalWorker, how: string) => void;
}

/** Time for a worker to leave Redis after its own grace period, ms. */
const GOODBYE_MS = 4_000;
/** Longer lines of a worker, or of the code that it runs, are cut, bytes. */
const LONGEST_LINE = 64 << 10;

export function startLocalWorker(options: LocalWorkerOptions): LocalWorker {
  const { id, number, graceMs, onReady, onLine, onEnd } = options;
  const { file, args, env } = options.program;
  const child = spawn(file, args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  const state = { ready: false, stopping: false, lastWords: '' };
  let killTimer: Timer | undefined;
  const worker: LocalWorker = {
    id,
    number,
    gone,
    get ready() {
      return state.ready;
    },
    get stopping() {
      return state.stopping;
    },
    get lastWords() {
      return state.lastWords;
    },
    stop: (hurried) => {
      if (state.stopping) return false;
      state.stopping = true;
      child.kill('SIGTERM');
      // its second signal, of another kind: two pending signals of the same kind are delivered as one
      if (hurried) child.kill('SIGINT');
      killTimer = timeout(graceMs + GOODBYE_MS, () => child.kill('SIGKILL'));
      return true;
    },
    hurry: () => void child.kill('SIGINT'),
  };
  readLines(child, (line, isError) => {
    if (isError && line.level !== 'info') state.lastWords = line.text;
    const becameReady = line.ready && !state.ready;
    state.ready ||= line.ready;
    if (becameReady) onReady(worker);
    onLine(line);
  });
  awaitEnd(child, options.watcher, (how) => {
    killTimer?.clear();
    onEnd(worker, how);
    resolve();
  });
  return worker;
}

/** `isError`: the line is of stderr. */
function readLines(child: ChildProcess, onLine: (line: LogLine, isError: boolean) => void): void {
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    const onText = (bytes: Buffer): void => {
      const text = bytes.toString();
      if (text.trim() !== '') onLine(readLogLine(text), stream === child.stderr);
    };
    const cut = (head: Buffer): void => onText(Buffer.concat([head, Buffer.from('…')]));
    const lines = splitLines(LONGEST_LINE, onText, cut);
    stream.on('data', (chunk: Buffer) => lines.push(chunk)).on('end', () => lines.end());
  }
}

/** Calls back when the process has ended, or could not be started, and its output has been read. */
function awaitEnd(child: ChildProcess, watcher: Watcher, onEnd: (how: string) => void): void {
  const { pid } = child;
  if (pid !== undefined) watcher.add(pid);
  let failure: Error | undefined;
  child.once('error', (error) => (failure = error));
  child.once('close', (code, signal) => {
    if (pid !== undefined) watcher.remove(pid);
    onEnd(failure?.message ?? (signal === null ? `exit code ${code}` : `killed by ${signal}`));
  });
}
