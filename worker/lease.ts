/**
 * Keeps the lease of a worker whose handler computes for so long that the event loop stands still: no turn is made
 * then, and without a turn the lease ends and the task goes to another worker, which will not fare better.
 *
 * A thread (lease-thread.ts) watches a shared counter that every turn sets, and renews in the worker's name when that
 * stands still. It is started with the first task and ended when there was none for a while, so that it costs neither
 * start-up time nor the memory of an idle worker. A handler that never ends keeps its lease for ever; a liveness probe on `/healthz`, which does not answer meanwhile, ends such a worker.
 */
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { Worker } from 'node:worker_threads';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../queue/keys.ts';
import { sources } from '../queue/lua.ts';
import { entry } from './lease-entry.ts';

/** What the thread starts with. */
export interface LeaseData {
  /** When the last turn was answered, by `process.hrtime`, which all threads of a process share. */
  readonly beats: BigInt64Array;
  readonly leaseMs: number;
}

/** Where and how to renew; a new one for each epoch. */
export interface LeaseServer {
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

export interface LeaseKeeper extends AsyncDisposable {
  /** Tasks begin that may stand in the way of the next turns. */
  begin(epoch: number): void;
  /** A turn was answered: the lease is fresh. `idle`: nothing runs, and nothing is about to. */
  renewed(idle: boolean): void;
}

export interface LeaseKeeperOptions {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly worker: string;
  readonly leaseMs: number;
  /** The name of the worker's connections; empty where they may have none. */
  readonly clientName: () => string;
}

/** A thread without work is ended after this. */
const IDLE_MS = 10_000;

export function createLeaseKeeper(options: LeaseKeeperOptions): LeaseKeeper {
  const { redis, keys, worker, leaseMs } = options;
  const beats = new BigInt64Array(new SharedArrayBuffer(8));
  let thread: Worker | undefined;
  let told: string | undefined;
  let busyAt = 0;

  /** The server that the worker's own connection has reached: with Sentinel, today's primary. */
  function serverOf(epoch: number): LeaseServer | undefined {
    const { remoteAddress: host, remotePort: port } = redis.stream as {
      remoteAddress?: string;
      remotePort?: number;
    };
    if (!host || !port) return undefined;
    const { tls, username, password, db = 0, host: name } = redis.options;
    const renew = [
      sources['renew'] ?? '',
      '3',
      keys.workers,
      keys.worker(worker),
      keys.clock,
      worker,
      String(epoch),
      String(leaseMs),
    ];
    return {
      host,
      port,
      tls: tls && { ...(name && !isIP(name) ? { servername: name } : {}), ...tls },
      username: username ?? undefined,
      password: password ?? undefined,
      db,
      clientName: options.clientName(),
      renew,
    };
  }

  function start(): Worker {
    const started = new Worker(entry.code, {
      eval: entry.eval,
      workerData: { beats, leaseMs } satisfies LeaseData,
    });
    started.unref();
    // without the thread a worker is as good as it was before there was one
    started.on('error', () => {
      if (thread !== started) return;
      thread = undefined;
      told = undefined;
    });
    return started;
  }

  return {
    renewed: (idle) => {
      Atomics.store(beats, 0, process.hrtime.bigint());
      if (!idle || !thread || performance.now() - busyAt < IDLE_MS) return;
      void thread.terminate();
      thread = undefined;
      told = undefined;
    },
    begin: (epoch) => {
      busyAt = performance.now();
      const mark = `${epoch} ${redis.stream?.remotePort} ${redis.stream?.localPort}`;
      if (mark === told) return;
      const server = serverOf(epoch);
      if (!server) return;
      thread ??= start();
      thread.postMessage(server);
      told = mark;
    },
    [Symbol.asyncDispose]: async () => {
      await thread?.terminate();
    },
  };
}
