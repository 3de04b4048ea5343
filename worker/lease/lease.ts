/**
 * `worker/lease/` takes an epoch and the beat of its turns and renews the lease from a thread of its own while they fail to
 * come. It knows nothing of tasks.
 *
 * Keeps the lease of a worker whose handler computes long enough to block the event loop: no turn is made then, and without a
 * turn the lease ends and the task goes to another worker, which will fare no better.
 *
 * A thread (lease-thread.ts) watches shared counters that turns set, one for each queue, and renews in the worker's name where
 * one stands still. A worker has one thread, with one connection to each server, however many queues it serves. It is started with the first
 * task and ended after a while without any, so that it costs neither start-up time nor the memory of an idle worker. A handler
 * that never ends keeps its lease for ever; a liveness probe on `/healthz`, which does not answer meanwhile, ends such a worker.
 */
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { SHARE_ENV, Worker } from 'node:worker_threads';
import type { Redis } from 'ioredis';
import type { CredentialFiles, RedisAddress } from '../../queue/connection/address.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { sources, textOf } from '../../queue/scripts/lua.ts';
import { entry } from './lease-entry.ts';

/** The thread's initial data. */
export interface LeaseData {
  /** When the last turn of each queue was answered, by `process.hrtime`, which all threads of a process share. */
  readonly beats: BigInt64Array;
  readonly leaseMs: number;
  readonly login: LeaseLogin | undefined;
}

/** Credentials in files, which the thread reads itself: the worker cannot while its event loop is blocked. */
export interface LeaseLogin {
  readonly files: CredentialFiles;
  /** The address whose credentials these files hold. */
  readonly url: string | undefined;
  /** These take precedence over those of a URL. */
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** Where and how to renew; a new one for each epoch of each queue. */
export interface LeaseServer {
  /** Of the queue among the worker's. */
  readonly rank: number;
  /** Queues of one group are on one server: the one that was posted last for any of them. */
  readonly group: number;
  readonly host: string;
  readonly port: number;
  readonly tls: ConnectionOptions | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  /** The name of the worker's connections; empty where they may have none. */
  readonly clientName: string;
  /** Arguments of EVAL. */
  readonly renew: readonly string[];
}

/** Of one queue. */
export interface LeaseKeeper extends Disposable {
  /** Tasks begin that may block the next turns. */
  begin(epoch: number): void;
  /** A turn was answered: the lease is fresh. `idle`: nothing runs, and nothing is about to. */
  renewed(idle: boolean): void;
}

export interface LeaseKeeperOptions {
  /** For turns. Queues that share it are on one server. */
  readonly redis: Redis;
  readonly rank: number;
  readonly keys: QueueKeys;
  /** The name of the worker's connections; empty where they may have none. */
  readonly clientName: () => string;
}

/** Of a whole worker. */
export interface LeaseKeepers extends AsyncDisposable {
  of(queue: LeaseKeeperOptions): LeaseKeeper;
}

export interface LeaseKeepersOptions {
  readonly worker: string;
  readonly leaseMs: number;
  readonly address: RedisAddress;
  /** How many queues the worker has. */
  readonly queues: number;
}

/** A thread without work is ended after this. */
const IDLE_MS = 10_000;

export function createLeaseKeepers({ worker, leaseMs, address, queues }: LeaseKeepersOptions): LeaseKeepers {
  const beats = new BigInt64Array(new SharedArrayBuffer(8 * queues));
  const groups = new Map<Redis, number>();
  let thread: Worker | undefined;
  let busyAt = 0;

  function start(): Worker {
    const started = new Worker(entry.code, {
      eval: entry.eval,
      env: SHARE_ENV,
      // it prints nothing: this process' own need not be opened for it
      stdout: true,
      stderr: true,
      workerData: { beats, leaseMs, login: loginOf(address) } satisfies LeaseData,
    });
    started.unref();
    // without the thread a worker still works, but loses its lease while a handler blocks
    started.on('error', () => {
      if (thread === started) thread = undefined;
    });
    return (thread = started);
  }

  function stop(): void {
    void thread?.terminate();
    thread = undefined;
  }

  function keeperOf({ redis, rank, keys, clientName }: LeaseKeeperOptions): LeaseKeeper {
    const group = groups.get(redis) ?? groups.size;
    groups.set(redis, group);
    let posted: Posted | undefined;
    return {
      renewed: (idle) => {
        Atomics.store(beats, rank, process.hrtime.bigint());
        if (idle && thread && performance.now() - busyAt >= IDLE_MS) stop();
      },
      begin: (epoch) => {
        busyAt = performance.now();
        // asked for each queue whenever tasks come
        const { password, tls } = redis.options;
        const now = { epoch, stream: redis.stream, password, tls };
        if (thread && posted?.thread === thread && isSame(posted, now)) return;
        const server = serverOf(redis);
        if (!server) return;
        const renew = renewal(keys, worker, epoch, leaseMs);
        const to = thread ?? start();
        to.postMessage({ ...server, rank, group, renew, clientName: clientName() } satisfies LeaseServer);
        posted = { thread: to, ...now };
      },
      [Symbol.dispose]: () => thread?.postMessage(rank),
    };
  }

  return {
    of: keeperOf,
    [Symbol.asyncDispose]: async () => {
      await thread?.terminate();
    },
  };
}

function loginOf({ url, username, password, credentials }: RedisAddress): LeaseLogin | undefined {
  const files = credentials?.files;
  return files && { files, url, username, password: files.password === undefined ? password : undefined };
}

/** What the thread was last sent about a queue; another password or certificate is another value here. */
interface Posted {
  readonly thread: Worker;
  readonly epoch: number;
  readonly stream: Redis['stream'];
  readonly password: Redis['options']['password'];
  readonly tls: Redis['options']['tls'];
}

function isSame(a: Omit<Posted, 'thread'>, b: Omit<Posted, 'thread'>): boolean {
  return a.epoch === b.epoch && a.stream === b.stream && a.password === b.password && a.tls === b.tls;
}

const renewal = (keys: QueueKeys, worker: string, epoch: number, leaseMs: number): string[] => [
  textOf(sources['renew'] ?? ''),
  '3',
  keys.workers,
  keys.worker(worker),
  keys.clock,
  worker,
  String(epoch),
  String(leaseMs),
];

/**
 * The server that the worker's own connection has reached: with Sentinel, today's primary. `undefined` while there is none: in a cluster,
 * the queue may just have moved to a primary that is not connected yet.
 */
function serverOf(redis: Redis): Omit<LeaseServer, 'rank' | 'group' | 'renew' | 'clientName'> | undefined {
  const { stream } = redis as { readonly stream?: { remoteAddress?: string; remotePort?: number } };
  const { remoteAddress: host, remotePort: port } = stream ?? {};
  if (!host || !port) return undefined;
  const { tls, username, password, db = 0, host: name } = redis.options;
  return {
    host,
    port,
    tls: tls && { ...(name && !isIP(name) ? { servername: name } : {}), ...tls },
    username: username ?? undefined,
    password: password ?? undefined,
    db,
  };
}
