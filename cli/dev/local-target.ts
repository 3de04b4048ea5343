/**
 * Worker processes on this machine as a Target: it starts and stops them as a Deployment does with pods.
 *
 * Each process has its own worker id and leads a process group, out of reach of a terminal's Ctrl-C: the owner of this target
 * decides when its workers stop. Those to be removed get SIGTERM and finish their tasks. One that ends unexpectedly is replaced,
 * after a pause that doubles with each crash; until one becomes ready again they are started one at a time, so that a broken
 * module costs one process now and then, and not a storm.
 *
 * Disposing stops all of them and waits: SIGTERM, then SIGKILL after the grace period. A watcher kills them if this process is
 * killed.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import type { Replicas, Target } from '../../controller/act/target.ts';
import { timeout, type Timer } from '../../runtime/timers.ts';
import { splitLines } from '../../worker/handlers/split-lines.ts';
import { openWatcher } from '../../runtime/child-watchdog.ts';
import { crashPause } from './crash-pause.ts';
import { readLogLine, type LogLine } from './log-line.ts';

export interface LocalTargetOptions {
  /** Program, arguments and environment of one worker; `id` is unique to the process. */
  readonly worker: (id: string) => WorkerProgram;
  /** Time for running tasks after SIGTERM, ms. The worker must be configured with the same. */
  readonly graceMs: number;
  readonly onEvent?: (event: LocalEvent) => void;
}

export interface WorkerProgram {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

export type LocalEvent =
  | { readonly kind: 'started' | 'ready' | 'stopping' | 'ended'; readonly id: string }
  /** It ended unexpectedly: its tasks can go back to the queue. `how`: its exit; `why`: that and its last output. */
  | { readonly kind: 'crashed'; readonly id: string; readonly how: string; readonly why: string }
  /** Output of the worker, or of the code that it runs. */
  | { readonly kind: 'line'; readonly id: string; readonly line: LogLine };

export interface LocalTarget extends Target, AsyncDisposable {
  /** Ids of the running processes, including those that are stopping. */
  readonly workers: readonly string[];
  /** Makes workers that are stopping, now or later, hand back their tasks instead of finishing them. */
  hurry(): void;
}

interface Worker {
  readonly id: string;
  readonly child: ChildProcess;
  /** In the order of their start. */
  readonly number: number;
  ready: boolean;
  stopping: boolean;
  lastWords: string;
  killTimer: Timer | undefined;
  /** The process has ended, and its output has been read. */
  readonly gone: Promise<void>;
}

/** Time for a worker to leave Redis after its own grace period, ms. */
const GOODBYE_MS = 4_000;
/** Longer lines of a worker, or of the code that it runs, are cut, bytes. */
const LONGEST_LINE = 64 << 10;
/** After this long without a crash since the last pause, earlier crashes are forgotten, ms. */
const STABLE_MS = 10_000;

/** This process is the only source of these counts. */
const certain = { settled: true, fresh: true };

/** No worker is started before the first `raise`. */
export function createLocalTarget(options: LocalTargetOptions): LocalTarget {
  const { onEvent = () => undefined } = options;
  const watcher = openWatcher();
  const workers = new Map<string, Worker>();
  // process ids repeat across hosts and containers
  const family = randomInt(1e9);
  let wanted = 0;
  let started = 0;
  let hurried = false;
  let trouble: string | undefined;
  let crash = { streak: 0, at: -Infinity };
  let retryTimer: Timer | undefined;
  let disposed: Promise<void> | undefined;

  const active = (): Worker[] => [...workers.values()].filter((worker) => !worker.stopping);

  /** Starts missing workers: all of them normally, one at a time after a crash. */
  function fill(): void {
    if (disposed) return;
    const missing = wanted - active().length;
    const pauseLeft = crash.at + crashPause(crash.streak) - performance.now();
    retryTimer?.clear();
    if (missing <= 0) return;
    if (trouble === undefined) for (let i = 0; i < missing; i++) start();
    else if (pauseLeft > 0) retryTimer = timeout(pauseLeft + 1, fill);
    else if (active().every((worker) => worker.ready)) start();
  }

  function start(): void {
    const number = ++started;
    const id = `local-${family}-${number}`;
    const { file, args, env } = options.worker(id);
    const child = spawn(file, args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const { pid } = child;
    if (pid !== undefined) watcher.add(pid);
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const state = { ready: false, stopping: false, lastWords: '', killTimer: undefined };
    const worker: Worker = { id, child, number, gone, ...state };
    workers.set(id, worker);
    read(worker);
    onEvent({ kind: 'started', id });
    let failure: Error | undefined;
    child.once('error', (error) => (failure = error));
    child.once('close', (code, signal) => {
      if (pid !== undefined) watcher.remove(pid);
      worker.killTimer?.clear();
      workers.delete(id);
      if (worker.stopping) onEvent({ kind: 'ended', id });
      else
        crashed(worker, failure?.message ?? (signal === null ? `exit code ${code}` : `killed by ${signal}`));
      resolve();
    });
  }

  function read(worker: Worker): void {
    const { id, child } = worker;
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      const onLine = (bytes: Buffer): void => {
        const text = bytes.toString();
        if (text.trim() === '') return;
        const line = readLogLine(text);
        if (stream === child.stderr && line.level !== 'info') worker.lastWords = line.text;
        if (line.ready && !worker.ready) becameReady(worker);
        onEvent({ kind: 'line', id, line });
      };
      const cut = (head: Buffer): void => onLine(Buffer.concat([head, Buffer.from('…')]));
      const lines = splitLines(LONGEST_LINE, onLine, cut);
      stream.on('data', (chunk: Buffer) => lines.push(chunk)).on('end', () => lines.end());
    }
  }

  function becameReady(worker: Worker): void {
    worker.ready = true;
    trouble = undefined;
    onEvent({ kind: 'ready', id: worker.id });
    fill();
  }

  function crashed(worker: Worker, how: string): void {
    const now = performance.now();
    // several at the same time count as one
    const since = now - crash.at;
    const pause = crashPause(crash.streak);
    if (since > pause + STABLE_MS) crash = { streak: 1, at: now };
    else if (since >= pause) crash = { streak: crash.streak + 1, at: now };
    trouble = `a worker ended (${how})${worker.lastWords === '' ? '' : `: ${worker.lastWords}`}`;
    onEvent({ kind: 'crashed', id: worker.id, how, why: trouble });
    fill();
  }

  function stop(worker: Worker): void {
    if (worker.stopping) return;
    worker.stopping = true;
    onEvent({ kind: 'stopping', id: worker.id });
    worker.child.kill('SIGTERM');
    // its second signal, of another kind: two pending signals of the same kind are delivered as one
    if (hurried) worker.child.kill('SIGINT');
    worker.killTimer = timeout(options.graceMs + GOODBYE_MS, () => worker.child.kill('SIGKILL'));
  }

  async function dispose(): Promise<void> {
    retryTimer?.clear();
    const all = [...workers.values()];
    for (const worker of all) stop(worker);
    await Promise.all(all.map((worker) => worker.gone));
    await watcher[Symbol.asyncDispose]();
  }

  return {
    get workers() {
      return [...workers.keys()];
    },
    observe: () => {
      const ready = active().filter((worker) => worker.ready).length;
      const replicas: Replicas = { wanted, existing: workers.size, ready, trouble, rollingOut: false };
      return Promise.resolve(replicas);
    },
    members: () => {
      const all = active().map(({ id, ready, number }) => ({ id, ready, created: number, going: false }));
      const ending = [...workers.values()].filter(({ stopping }) => stopping).map(({ id }) => id);
      return Promise.resolve({ wanted, existing: all.length, rollingOut: false, all, ending, ...certain });
    },
    raise: (replicas) => {
      wanted = replicas;
      fill();
      return Promise.resolve();
    },
    remove: (ids, replicas) => {
      wanted = replicas;
      for (const id of ids) {
        const worker = workers.get(id);
        if (worker) stop(worker);
      }
      // no workers are wanted any more: the next one starts without history
      if (replicas === 0) trouble = undefined;
      fill();
      return Promise.resolve(true);
    },
    keep: () => Promise.resolve(),
    hurry: () => {
      hurried = true;
      for (const worker of workers.values()) if (worker.stopping) worker.child.kill('SIGINT');
    },
    [Symbol.asyncDispose]: () => (disposed ??= dispose()),
  };
}
