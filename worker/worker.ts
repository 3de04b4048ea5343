/**
 * A worker as a library: what `millrace-worker` runs, for programs that bring their own process.
 * It registers, runs epochs until it is told to stop, and leaves nothing behind in Redis.
 */
import { hostname } from 'node:os';
import type { Redis } from 'ioredis';
import { closeRedis, describeRedisError, openRedis, type RedisAddress } from '../queue/connection.ts';
import { evictionRisk } from '../queue/eviction.ts';
import { queueKeys, type QueueKeys } from '../queue/keys.ts';
import { defineScripts, reap, register } from '../queue/scripts.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { createLeaseKeeper } from './lease.ts';
import { runEpoch, type Leftovers } from './epoch.ts';
import { BLOCKER_OPTIONS } from './fetch.ts';
import type { Handler } from './handler.ts';
import type { WorkerMetrics } from './metrics.ts';
import type { RetryPolicy } from './retry.ts';

export type { Handler, TaskContext } from './handler.ts';
export type { RetryPolicy } from './retry.ts';

export interface WorkerOptions {
  readonly redis: RedisAddress;
  readonly queue: string;
  readonly result: string;
  /** Unique among the living workers of the queue; in Kubernetes the pod's name. */
  readonly id: string;
  /** How many tasks run at once. */
  readonly concurrency: number;
  /** A worker that is not heard of for this long has lost its tasks to others, ms. */
  readonly leaseMs: number;
  readonly retry: RetryPolicy;
  readonly handler: Handler;
  /** The handler may compute in this thread for long: a thread of its own keeps the lease meanwhile. */
  readonly mayBlock: boolean;
  readonly version: string;
  /** `namespace/name` of the WorkerPool that it is of, or empty. */
  readonly pool: string;
  readonly log: Logger;
  readonly metrics: WorkerMetrics;
  /** Called each time that the worker is registered and takes tasks. */
  readonly onReady?: () => void;
}

const SOCKET_TIMEOUT_MS = 10_000;
const REGISTER_PAUSE_MS = 500;

/** A name for a worker outside Kubernetes. */
export function defaultWorkerId(): string {
  return `${hostname()}-${process.pid}`;
}

/**
 * Works until `stopping` aborts and what runs has finished, or until `hurry` aborts: then what still runs goes back
 * to the queue. Redis may come and go meanwhile. Rejects with `RangeError` for an address or names that cannot be.
 */
export async function runWorker(
  options: WorkerOptions,
  stopping: AbortSignal,
  hurry: AbortSignal,
): Promise<void> {
  const keys = queueKeys(options.queue, options.result);
  let complained: string | undefined;
  const onError = (error: Error): void => {
    const text = describeRedisError(error, options.redis);
    if (text !== complained) options.log.error(text);
    complained = text;
  };
  const redis = defineScripts(openRedis(options.redis, { onError, socketTimeout: SOCKET_TIMEOUT_MS }));
  redis.on('ready', () => (complained = undefined));
  const blocker = openRedis(options.redis, { onError, ...BLOCKER_OPTIONS });
  const { id: worker, concurrency, leaseMs, log, metrics } = options;
  // as often as it connects: the settings of another server may differ
  redis.on('ready', () => void evictionRisk(redis).then((risk) => risk && log.error(risk)));
  await using keeper = options.mayBlock ? createLeaseKeeper({ redis, keys, worker, leaseMs }) : undefined;
  const leftovers: Leftovers = new Set();
  const run = { handler: options.handler, queue: options.queue, retry: options.retry, random: Math.random };
  try {
    while (!stopping.aborted) {
      const epoch = await begin(redis, keys, options, stopping);
      if (epoch === undefined) return;
      options.log.info({ epoch, queue: options.queue, worker: options.id }, 'taking tasks');
      options.onReady?.();
      const end = await runEpoch(
        epoch,
        { redis, blocker, keys, worker, concurrency, leaseMs, keeper, run, log, metrics, stopping, hurry },
        leftovers,
      );
      if (end === 'left') return;
      log.warn({ epoch }, 'the lease was lost: what ran was dropped, and a new epoch begins');
    }
  } finally {
    await Promise.all([closeRedis(redis), closeRedis(blocker)]);
  }
}

/**
 * Ends this worker's earlier epoch, so that a restarted container gets its own tasks back at once, and begins a new
 * one. `undefined` when told to stop before that worked.
 */
async function begin(
  redis: Redis,
  keys: QueueKeys,
  options: WorkerOptions,
  stopping: AbortSignal,
): Promise<number | undefined> {
  const about = { concurrency: options.concurrency, version: options.version, pool: options.pool };
  const stopped = new Promise<undefined>((resolve) => {
    stopping.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  for (let failures = 0; !stopping.aborted; failures++) {
    try {
      // both commands travel together; the second `any` clears the grave that the first one leaves
      const registering = Promise.all([
        reap(redis, keys, options.id, 'any', 'lost'),
        reap(redis, keys, options.id, 'any', 'leave'),
        register(redis, keys, options.id, options.leaseMs, about),
      ]);
      const done = await Promise.race([registering, stopped]);
      if (done === undefined) {
        registering.catch(() => undefined);
        return undefined;
      }
      const [recovered, , epoch] = done;
      if (recovered)
        options.log.info({ tasks: recovered }, 'an earlier life of this worker held tasks: they are back');
      if (epoch !== undefined) return epoch;
    } catch (error) {
      if (failures % 20 === 0)
        options.log.error(`cannot register: ${describeRedisError(error, options.redis)}`);
    }
    await systemClock.sleep(REGISTER_PAUSE_MS, stopping);
  }
  return undefined;
}
