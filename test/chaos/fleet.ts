/**
 * The worker processes of a run, as a cluster keeps pods: so many as are wanted, each `millrace-worker` in a process of its
 * own, and behind a TCP proxy of its own if the run wants to break its connections. A killed one comes back, as a restarted container of the same name or as a new pod.
 * Every process leaves a Life: when it lived, and who ended it. A watcher kills them all if this process dies.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { workerProgram, type WorkerSettings } from '../../cli/dev/worker-program.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { formatDuration } from '../../runtime/duration.ts';
import { openWatcher } from '../../runtime/child-watchdog.ts';
import type { TcpProxy } from '../support/tcpproxy.ts';
import type { Life } from './check.ts';

/** How a worker reaches Redis. */
export interface Reach {
  readonly address: RedisAddress;
  /** All its connections go through it. */
  readonly proxy?: TcpProxy;
}

export interface FleetOptions {
  /** Of each new worker, which disposes of the proxy. */
  readonly reach: () => Promise<Reach>;
  readonly settings: Omit<WorkerSettings, 'redis'>;
  readonly leaseMs: number;
  /** More variables of their environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** Folder of the ledger. */
  readonly ledger: string;
  /** A pod is gone for good. */
  readonly onGone: (worker: string) => void;
}

export interface Pod {
  readonly id: string;
  readonly number: number;
  readonly reach: Reach;
  child: ChildProcess;
  ready: boolean;
  /** Who asked it to stop. */
  stopping: 'scaling' | 'outside' | undefined;
  /** Set by `kill`. */
  back: 'restarted' | 'replaced' | undefined;
  /** Resolves to how it ended. */
  ended: Promise<string>;
}

export interface Fleet extends AsyncDisposable {
  /** Those that were not asked to stop, oldest first. */
  readonly pods: readonly Pod[];
  readonly wanted: number;
  readonly existing: number;
  readonly lives: readonly Life[];
  /** The last words of processes, for an account of what went wrong. */
  readonly lines: readonly string[];
  /** So many in all; new ones are started. */
  raise(replicas: number): void;
  /** So many in all, without these: they are asked to stop. */
  remove(ids: readonly string[], replicas: number): void;
  kill(pod: Pod, back: 'restarted' | 'replaced'): void;
  /** SIGTERM from outside, and a new pod in its place. */
  evict(pod: Pod): void;
  /** Asks all to stop and waits for their end; no more are started. */
  stop(): Promise<void>;
}

const HANDLER = join(import.meta.dirname, '../fixtures/chaos-handler.ts');
/** After its own grace period, a worker has this long to say goodbye, ms. */
const GOODBYE_MS = 10_000;
const LINES_KEPT = 2_000;
/** Of each process, for the account of a crash. */
const LAST_LINES = 20;

export function createFleet(options: FleetOptions): Fleet {
  const watcher = openWatcher();
  const pods = new Map<string, Pod>();
  const lives: Life[] = [];
  const lines: string[] = [];
  const adding = new Set<Promise<void>>();
  let wanted = 0;
  let closed = false;
  let numbers = 0;

  const active = (): Pod[] => [...pods.values()].filter((pod) => pod.stopping === undefined);

  async function add(): Promise<void> {
    const reach = await options.reach();
    if (active().length >= wanted) return reach.proxy?.[Symbol.asyncDispose]();
    const number = ++numbers;
    const id = `w${number}`;
    const pod = { id, number, reach, ready: false, stopping: undefined, back: undefined };
    const started: Pod = { ...pod, ...start(id, reach.address) };
    pods.set(id, started);
    watch(started);
  }

  function start(name: string, redis: RedisAddress): Pick<Pod, 'child' | 'ended'> {
    const { file, args, env } = workerProgram({ ...options.settings, module: HANDLER, redis }, name, {
      PATH: process.env['PATH'],
      CHAOS_LEDGER: options.ledger,
      CHAOS_REDIS: JSON.stringify(redis),
    });
    const lease = formatDuration(options.leaseMs);
    const child = spawn(file, args, {
      env: { ...env, ...options.env, MILLRACE_LEASE: lease },
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (child.pid === undefined) throw new Error(`the worker ${name} cannot be started`);
    watcher.add(child.pid);
    const { promise: ended, resolve } = Promise.withResolvers<string>();
    child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
    return { child, ended };
  }

  /** Notes what a process says and how it ends, and what follows from that. */
  function watch(pod: Pod): void {
    const { child, id } = pod;
    const from = Date.now();
    const last: string[] = [];
    if (child.stderr)
      createInterface({ input: child.stderr }).on('line', (line) => {
        if (line.includes('"event":"ready"')) pod.ready = true;
        lines.push(`${id} ${line}`);
        if (lines.length > LINES_KEPT) lines.shift();
        last.push(line);
        if (last.length > LAST_LINES) last.shift();
      });
    pod.ended = pod.ended.then(async (how) => {
      const pid = child.pid ?? 0;
      watcher.remove(pid);
      const end = pod.back === undefined ? (pod.stopping ?? 'crashed') : 'killed';
      const account = { account: [how, ...last].join('\n  ') };
      lives.push({ worker: id, pid, end, from, to: Date.now(), ...(end === 'crashed' && account) });
      if (pod.back === 'restarted' && pod.stopping === undefined) {
        pod.back = undefined;
        pod.ready = false;
        Object.assign(pod, start(id, pod.reach.address));
        watch(pod);
        return how;
      }
      pods.delete(id);
      options.onGone(id);
      await pod.reach.proxy?.[Symbol.asyncDispose]();
      fill();
      return how;
    });
  }

  function fill(): void {
    for (let missing = wanted - active().length - adding.size; missing > 0; missing--) {
      const added = add().finally(() => adding.delete(added));
      adding.add(added);
    }
  }

  function stop(pod: Pod, by: 'scaling' | 'outside'): void {
    if (pod.stopping) return;
    pod.stopping = by;
    const { child } = pod;
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), options.settings.graceMs + GOODBYE_MS);
    void pod.ended.finally(() => clearTimeout(late));
  }

  const fleet: Fleet = {
    get pods() {
      return active();
    },
    get wanted() {
      return wanted;
    },
    get existing() {
      return pods.size;
    },
    lives,
    lines,
    raise: (replicas) => {
      if (!closed) wanted = replicas;
      fill();
    },
    remove: (ids, replicas) => {
      if (!closed) wanted = replicas;
      for (const pod of active()) if (ids.includes(pod.id)) stop(pod, 'scaling');
      fill();
    },
    kill: (pod, back) => {
      pod.back = back;
      pod.child.kill('SIGKILL');
    },
    evict: (pod) => {
      stop(pod, 'outside');
      fill();
    },
    stop: async () => {
      closed = true;
      wanted = 0;
      for (const pod of active()) stop(pod, 'outside');
      while (pods.size + adding.size > 0)
        await Promise.all([...adding, ...Array.from(pods.values(), (pod) => pod.ended)]);
    },
    [Symbol.asyncDispose]: async () => {
      closed = true;
      wanted = 0;
      for (const pod of pods.values()) fleet.kill(pod, 'replaced');
      await fleet.stop();
      await watcher[Symbol.asyncDispose]();
    },
  };
  return fleet;
}
