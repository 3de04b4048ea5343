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
import type { Members, Target } from '../../controller/act/target.ts';
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

/** Workers that ended unexpectedly. */
interface Crashes {
  /** The last one, while none has become ready since. */
  trouble: string | undefined;
  /** What is left of the pause after it, ms. */
  readonly pauseMs: number;
  /** Several at the same time count as one. */
  add(trouble: string): void;
}

function createCrashes(): Crashes {
  let streak = 0;
  /** By performance.now(). */
  let at = -Infinity;
  return {
    trouble: undefined,
    get pauseMs() {
      return at + crashPause(streak) - performance.now();
    },
    add(trouble) {
      this.trouble = trouble;
      const now = performance.now();
      const since = now - at;
      const pause = crashPause(streak);
      if (since < pause) return;
      streak = since > pause + STABLE_MS ? 1 : streak + 1;
      at = now;
    },
  };
}

interface Situation {
  /** Workers that are wanted and not there; negative if there are too many. */
  readonly missing: number;
  /** The last one that ended did so unexpectedly, and none has become ready since. */
  readonly broken: boolean;
  /** What is left of the pause after a crash, ms. */
  readonly pauseMs: number;
  /** All that are there are ready. */
  readonly ready: boolean;
}

/** How many workers to start, and in how many ms to ask again: all that are missing, one at a time after a crash. */
export function nextStarts({ missing, broken, pauseMs, ready }: Situation): {
  readonly start: number;
  readonly retryMs?: number;
} {
  if (missing <= 0) return { start: 0 };
  if (!broken) return { start: missing };
  if (pauseMs > 0) return { start: 0, retryMs: pauseMs + 1 };
  return { start: ready ? 1 : 0 };
}

function membersOf(workers: readonly LocalWorker[], wanted: number): Members {
  const all = workers
    .filter(({ stopping }) => !stopping)
    .map(({ id, ready, number }) => ({ id, ready, created: number, going: false }));
  const ending = workers.filter(({ stopping }) => stopping).map(({ id }) => id);
  return { wanted, existing: all.length, rollingOut: false, all, ending, ...certain };
}

/** No worker is started before the first `raise`. */
export function createLocalTarget(options: LocalTargetOptions): LocalTarget {
  const { onEvent = () => undefined } = options;
  const crashes = createCrashes();
  const workers = createLocalWorkers({
    ...options,
    onEvent,
    onReady: () => {
      crashes.trouble = undefined;
      fill();
    },
    onCrash: (why) => {
      crashes.add(why);
      fill();
    },
  });
  let wanted = 0;
  let retryTimer: Timer | undefined;
  let disposed: PromiseLike<void> | undefined;

  function fill(): void {
    if (disposed) return;
    retryTimer?.clear();
    const running = workers.active;
    const next = nextStarts({
      missing: wanted - running.length,
      broken: crashes.trouble !== undefined,
      pauseMs: crashes.pauseMs,
      ready: running.every((worker) => worker.ready),
    });
    for (let i = 0; i < next.start; i++) workers.start();
    if (next.retryMs !== undefined) retryTimer = timeout(next.retryMs, fill);
  }

  function request(replicas: number): void {
    wanted = replicas;
    fill();
  }

  return {
    get workers() {
      return workers.all.map(({ id }) => id);
    },
    observe: () => {
      const ready = workers.active.filter((worker) => worker.ready).length;
      const { trouble } = crashes;
      return Promise.resolve({ wanted, existing: workers.all.length, ready, trouble, rollingOut: false });
    },
    members: () => Promise.resolve(membersOf(workers.all, wanted)),
    raise: (replicas) => {
      request(replicas);
      return Promise.resolve(true);
    },
    remove: (ids, replicas) => {
      for (const id of ids) workers.stop(id);
      // no workers are wanted any more: the next one starts without history
      if (replicas === 0) crashes.trouble = undefined;
      request(replicas);
      return Promise.resolve(true);
    },
    keep: () => Promise.resolve(),
    hurry: () => workers.hurry(),
    [Symbol.asyncDispose]: () => {
      retryTimer?.clear();
      return (disposed ??= workers[Symbol.asyncDispose]());
    },
  };
}

interface LocalWorkersOptions extends LocalTargetOptions {
  readonly onEvent: (event: LocalEvent) => void;
  readonly onReady: () => void;
  readonly onCrash: (why: string) => void;
}

/** The processes. Disposing stops all and waits for them. */
interface LocalWorkers extends AsyncDisposable {
  readonly all: readonly LocalWorker[];
  /** Those that are not stopping. */
  readonly active: readonly LocalWorker[];
  start(): void;
  stop(id: string): void;
  hurry(): void;
}

function createLocalWorkers({
  worker,
  graceMs,
  onEvent,
  onReady,
  onCrash,
}: LocalWorkersOptions): LocalWorkers {
  const watcher = openWatcher();
  const workers = new Map<string, LocalWorker>();
  // process ids repeat across hosts and containers
  const family = randomInt(1e9);
  let started = 0;
  let hurried = false;

  function onEnd({ id, stopping, lastWords }: LocalWorker, how: string): void {
    workers.delete(id);
    if (stopping) return onEvent({ kind: 'ended', id });
    const why = `a worker ended (${how})${lastWords === '' ? '' : `: ${lastWords}`}`;
    onEvent({ kind: 'crashed', id, how, why });
    onCrash(why);
  }

  function stop(id: string): void {
    if (workers.get(id)?.stop(hurried)) onEvent({ kind: 'stopping', id });
  }

  return {
    get all() {
      return [...workers.values()];
    },
    get active() {
      return [...workers.values()].filter((one) => !one.stopping);
    },
    start: () => {
      const number = ++started;
      const id = `local-${family}-${number}`;
      workers.set(
        id,
        startLocalWorker({
          id,
          number,
          program: worker(id),
          graceMs,
          watcher,
          onReady: () => {
            onEvent({ kind: 'ready', id });
            onReady();
          },
          onLine: (line) => onEvent({ kind: 'line', id, line }),
          onEnd,
        }),
      );
      onEvent({ kind: 'started', id });
    },
    stop,
    hurry: () => {
      hurried = true;
      for (const one of workers.values()) if (one.stopping) one.hurry();
    },
    [Symbol.asyncDispose]: async () => {
      const all = [...workers.values()];
      for (const { id } of all) stop(id);
      await Promise.all(all.map(({ gone }) => gone));
      await watcher[Symbol.asyncDispose]();
    },
  };
}
