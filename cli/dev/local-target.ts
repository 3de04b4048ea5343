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
import { randomInt } from 'node:crypto';
import type { Replicas, Target } from '../../controller/act/target.ts';
import { openWatcher } from '../../runtime/child-watchdog.ts';
import { timeout, type Timer } from '../../runtime/timers.ts';
import { crashPause } from './crash-pause.ts';
import { startLocalWorker, type LocalWorker, type WorkerProgram } from './local-worker.ts';
import type { LogLine } from './log-line.ts';

export interface LocalTargetOptions {
  /** Program, arguments and environment of one worker; `id` is unique to the process. */
  readonly worker: (id: string) => WorkerProgram;
  /** Time for running tasks after SIGTERM, ms. The worker must be configured with the same. */
  readonly graceMs: number;
  readonly onEvent?: (event: LocalEvent) => void;
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

/** After this long without a crash since the last pause, earlier crashes are forgotten, ms. */
const STABLE_MS = 10_000;

/** This process is the only source of these counts. */
const certain = { settled: true, fresh: true };

/** Crashes in a row, and when the last one was, by performance.now(). */
interface Crashes {
  readonly streak: number;
  readonly at: number;
}

/** Several at the same time count as one. */
function afterCrash(crashes: Crashes, now: number): Crashes {
  const since = now - crashes.at;
  const pause = crashPause(crashes.streak);
  if (since > pause + STABLE_MS) return { streak: 1, at: now };
  return since >= pause ? { streak: crashes.streak + 1, at: now } : crashes;
}

/** No worker is started before the first `raise`. */
export function createLocalTarget(options: LocalTargetOptions): LocalTarget {
  const { graceMs, onEvent = () => undefined } = options;
  const watcher = openWatcher();
  const workers = new Map<string, LocalWorker>();
  // process ids repeat across hosts and containers
  const family = randomInt(1e9);
  let wanted = 0;
  let started = 0;
  let hurried = false;
  let trouble: string | undefined;
  let crashes: Crashes = { streak: 0, at: -Infinity };
  let retryTimer: Timer | undefined;
  let disposed: Promise<void> | undefined;

  const active = (): LocalWorker[] => [...workers.values()].filter((worker) => !worker.stopping);

  /** Starts missing workers: all of them normally, one at a time after a crash. */
  function fill(): void {
    if (disposed) return;
    const missing = wanted - active().length;
    const pauseLeft = crashes.at + crashPause(crashes.streak) - performance.now();
    retryTimer?.clear();
    if (missing <= 0) return;
    if (trouble === undefined) for (let i = 0; i < missing; i++) start();
    else if (pauseLeft > 0) retryTimer = timeout(pauseLeft + 1, fill);
    else if (active().every((worker) => worker.ready)) start();
  }

  function start(): void {
    const number = ++started;
    const id = `local-${family}-${number}`;
    const program = options.worker(id);
    const onLine = (line: LogLine): void => onEvent({ kind: 'line', id, line });
    workers.set(id, startLocalWorker({ id, number, program, graceMs, watcher, onReady, onLine, onEnd }));
    onEvent({ kind: 'started', id });
  }

  function onReady({ id }: LocalWorker): void {
    trouble = undefined;
    onEvent({ kind: 'ready', id });
    fill();
  }

  function onEnd({ id, stopping, lastWords }: LocalWorker, how: string): void {
    workers.delete(id);
    if (stopping) return onEvent({ kind: 'ended', id });
    crashes = afterCrash(crashes, performance.now());
    trouble = `a worker ended (${how})${lastWords === '' ? '' : `: ${lastWords}`}`;
    onEvent({ kind: 'crashed', id, how, why: trouble });
    fill();
  }

  function stop(worker: LocalWorker): void {
    if (worker.stop(hurried)) onEvent({ kind: 'stopping', id: worker.id });
  }

  function request(replicas: number): void {
    wanted = replicas;
    fill();
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
    raise: (replicas) => Promise.resolve(request(replicas)),
    remove: (ids, replicas) => {
      for (const worker of ids.map((id) => workers.get(id))) if (worker) stop(worker);
      // no workers are wanted any more: the next one starts without history
      if (replicas === 0) trouble = undefined;
      request(replicas);
      return Promise.resolve(true);
    },
    keep: () => Promise.resolve(),
    hurry: () => {
      hurried = true;
      for (const worker of workers.values()) if (worker.stopping) worker.hurry();
    },
    [Symbol.asyncDispose]: () => (disposed ??= dispose()),
  };
}
