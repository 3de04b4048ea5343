/**
 * A worker as a library: what `millrace-worker` runs, for programs that bring their own process.
 * It registers, runs epochs until it is stopped, and leaves nothing behind in Redis.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Redis, RedisOptions } from 'ioredis';
import { closeRedis, openRedis, within } from '../queue/connection/connection.ts';
import { checkDurability } from '../queue/connection/durability.ts';
import { readExitReason } from '../queue/workers/exit-reason.ts';
import { describeRisk, evictionRisk } from '../queue/connection/eviction.ts';
import { watchDrops, type Drops } from '../queue/connection/drops.ts';
import { queueKeys, type QueueKeys } from '../queue/keys.ts';
import { clientName } from '../queue/workers/worker-connections.ts';
import { findFilled } from '../queue/workers/filled-queues.ts';
import { defineScripts, reap } from '../queue/scripts/scripts.ts';
import { systemClock } from '../runtime/clock.ts';
import { LogEvent } from '../runtime/log-event.ts';
import { timeout } from '../runtime/timers.ts';
import { createLeaseKeepers, type LeaseKeepers } from './lease/lease.ts';
import { runEpoch } from './epoch/epoch.ts';
import { BLOCKER_OPTIONS } from './epoch/idle-wait.ts';
import {
  createRefusals,
  REFUSED_MS,
  type ConnectionAttempts,
} from './epoch/registration/connection-errors.ts';
import { createRegistration, NameTaken } from './epoch/registration/registration.ts';
import { createWorkerSlots, type WorkerSlots } from './epoch/slots/slots.ts';
import type { WorkerOptions } from './epoch/options.ts';

export { TaskCancelled } from '../queue/cancel.ts';
export type { Trace } from '../runtime/opentelemetry.ts';
export type { Handler, TaskContext } from './task/handler.ts';
export type { DeadLetterPolicy, ResultPolicy, TaskPolicy, WorkerOptions } from './epoch/options.ts';
export { NameTaken } from './epoch/registration/registration.ts';
export type { RetryPolicy } from './task/retry.ts';

/** How long a worker that stops after it was fenced may take to clean up in Redis, ms. */
const LAST_REAP_TIMEOUT_MS = 1_000;
/** A live server answers within this time, ms. */
const PING_TIMEOUT_MS = 2_000;
/** How long after a death the controller may take to record its reason, ms. */
const EXIT_REASON_TIMEOUT_MS = 3_000;
/** A queue that cannot be registered delays those below it no longer than this, ms. */
const FIRST_TURN_TIMEOUT_MS = 1_000;

/** A name for a worker outside Kubernetes. It may be the same on two hosts, or in two containers of one: see `mayRename`. */
export function defaultWorkerId(): string {
  return `${hostname()}-${process.pid}`;
}

/**
 * Works until `stopping` aborts and what runs has finished, or until `hurry` aborts: then what still runs goes back
 * to the queue. Redis may come and go meanwhile. Rejects with `RangeError` for an invalid address or invalid names, with
 * `NameTaken` when another living worker has this id and it may not take another one, and with Error when Redis refused user,
 * password, certificate or database for `refusedMs`, or is a cluster.
 */
export async function runWorker(
  options: WorkerOptions,
  stopping: AbortSignal,
  hurry: AbortSignal,
): Promise<void> {
  let { id } = options;
  for (;;) {
    try {
      return await runAs({ ...options, id }, stopping, hurry);
    } catch (error) {
      if (!(error instanceof NameTaken) || !options.mayRename) throw error;
      id = `${options.id}-${randomUUID().slice(0, 8)}`;
      options.log.warn(
        { err: error, worker: id },
        'the name of this worker is taken; continuing under another one',
      );
    }
  }
}

async function runAs(options: WorkerOptions, stopping: AbortSignal, hurry: AbortSignal): Promise<void> {
  const queues = typeof options.queue === 'string' ? [options.queue] : options.queue;
  const lanes = queues.map((queue) => queueKeys(queue, options.result));
  if (new Set(queues).size < Math.max(queues.length, 1))
    throw new RangeError(`a worker needs queues, each of them once: got ${JSON.stringify(queues)}`);
  const { durability } = options;
  if (durability) checkDurability(durability);
  using refusals = createRefusals({
    address: options.redis,
    afterMs: options.refusedMs ?? REFUSED_MS,
    log: (line) => options.log.error(line),
    now: () => systemClock.elapsed(),
  });
  const mark = randomUUID().slice(0, 8);
  const connectionName = clientName(queues.join(','), options.id, mark);
  const connect = (own: RedisOptions): Redis => {
    const attempts = refusals.attempts();
    const onError = (error: Error): void => {
      options.metrics.redisFailed('connection');
      attempts.failed(error);
    };
    return openRedis(options.redis, { ...own, connectionName, onError }).on('ready', () =>
      attempts.succeeded(),
    );
  };
  const redis = defineScripts(connect({}));
  redis.on('ready', () => {
    // at each connect: the settings of another server may differ
    void evictionRisk(redis).then((risk) => risk && options.log.error(describeRisk(risk)));
  });
  const drops = watchDrops(redis);
  const openSpare = (): Redis => defineScripts(connect({}));
  options.health?.reach(() => within(PING_TIMEOUT_MS, redis.ping(), 'PING'));
  const slots = createWorkerSlots(options.concurrency, async (asked) => {
    const which = asked.map(({ keys }) => keys);
    const found = await findFilled(redis, which, options.id);
    return new Set(asked.filter((_, i) => found.has(i)));
  });
  options.metrics.watchSlots(slots);
  const { id: worker, leaseMs } = options;
  await using keepers = options.mayBlock
    ? createLeaseKeepers({ redis, worker, leaseMs, queues: queues.length })
    : undefined;
  const ended = new AbortController();
  const oneEnds = AbortSignal.any([stopping, ended.signal]);
  const refused = new AbortController();
  void refusals.forGood.then((why) => {
    options.onRefused?.(why);
    // what runs can no longer be settled
    refused.abort(new Error(why));
    ended.abort();
  });
  const atOnce = AbortSignal.any([hurry, refused.signal]);
  const registered = new Set<number>();
  // its first turn loads the scripts into the server, which the others would all do at the same time
  const first = Promise.withResolvers<void>();
  const left = lanes.map(async (keys, rank) => {
    const onReady = (): void => {
      if (registered.add(rank).size === lanes.length) options.onReady?.();
    };
    try {
      const registering = refusals.attempts();
      const own = { keys, rank, registering, onReady, onTurn: first.resolve };
      if (rank > 0)
        await within(FIRST_TURN_TIMEOUT_MS, first.promise, 'the first turn').catch(() => undefined);
      const shared = { worker: options, mark, redis, drops, openSpare, slots, connect, keepers };
      await runLane({ ...shared, ...own }, oneEnds, atOnce);
    } finally {
      first.resolve();
      // none goes on without the others
      ended.abort();
    }
  });
  try {
    await Promise.all(left);
  } finally {
    await Promise.allSettled(left);
    await closeRedis(redis);
  }
  refused.signal.throwIfAborted();
}

interface LaneOptions {
  readonly worker: WorkerOptions;
  readonly keys: QueueKeys;
  readonly rank: number;
  readonly redis: Redis;
  readonly drops: Drops;
  readonly openSpare: () => Redis;
  readonly slots: WorkerSlots;
  /** Given where a handler may block turns. */
  readonly keepers: LeaseKeepers | undefined;
  /** Opens one more connection of the worker. */
  readonly connect: (own: RedisOptions) => Redis;
  readonly registering: ConnectionAttempts;
  /** Of this process: see epoch/registration/registration.ts. */
  readonly mark: string;
  /** Called each time that it is registered. */
  readonly onReady: () => void;
  /** Called after each turn. */
  readonly onTurn: () => void;
}

/** One queue of a worker: epoch after epoch, until it is stopped. */
async function runLane(options: LaneOptions, stopping: AbortSignal, hurry: AbortSignal): Promise<void> {
  const { keys, rank, redis, drops, openSpare, slots, connect, registering, mark, onTurn } = options;
  const { id: worker, leaseMs, durability, handler, retry, results, ...given } = options.worker;
  const { queue } = keys;
  const log = given.log.child({ queue });
  const metrics = given.metrics.of(queue);
  const blocker = connect(BLOCKER_OPTIONS);
  const about = { redis, keys, worker: options.worker, mark, attempts: registering };
  const registration = createRegistration({ ...about, log, stopping });
  using keeper = options.keepers?.of({ rank, keys, clientName: () => registration.clientName });
  // outside of a pool no controller records reasons
  const exitReasonOf = (lost: string): Promise<string | undefined> =>
    readExitReason(redis, keys, lost, given.pool === '' ? 0 : EXIT_REASON_TIMEOUT_MS);
  const run = {
    handler,
    queue,
    retry,
    maxTaskBytes: given.tasks?.maxBytes ?? Infinity,
    bytesOnly: given.bytesOnly ?? false,
    maxResultBytes: results.maxBytes,
    random: Math.random,
    exitReasonOf,
    onThrown: (id: string | Buffer, attempt: number, err: unknown): void =>
      log.debug({ task: id.toString().slice(0, 100), attempt, err }, 'a handler threw'),
  };
  const connections = { redis, drops, openSpare, blocker, keys, worker, slots, rank };
  const lane = {
    ...connections,
    onTurn,
    leaseMs,
    keeper,
    run,
    durability,
    log,
    metrics,
    health: given.health,
  };
  const enter = holdPlace(slots, keys, rank);
  let last: number | undefined;
  try {
    while (!stopping.aborted) {
      const epoch = await registration.begin(last);
      if (epoch === undefined) break;
      last = epoch;
      log.info({ event: LogEvent.Registered, epoch, worker }, 'taking tasks');
      given.health?.turned(queue, 0);
      options.onReady();
      const epochEnd = runEpoch(epoch, { ...lane, stopping, hurry });
      enter();
      const end = await epochEnd;
      if (end === 'left') return;
      metrics.fenced();
    }
    // fenced, and stopped before it could register again: a server that went back may still hold that epoch
    if (last !== undefined)
      await within(LAST_REAP_TIMEOUT_MS, reap(redis, keys, worker, last, 'displaced'), 'reap').catch(
        () => undefined,
      );
  } finally {
    given.health?.left(queue);
    enter();
    await closeRedis(blocker);
  }
}

/** Keeps a starting worker from beginning with the least urgent queue only because that one was registered first. */
function holdPlace(slots: WorkerSlots, keys: QueueKeys, rank: number): () => void {
  const nothing = (): void => undefined;
  const place = { keys, rank, held: 0, running: 0, wantsWork: true, readAt: Infinity, readSentAt: Infinity };
  const looks = { inMotion: true, turns: 0, foundEmpty: nothing };
  const suspects = { apart: false, solitary: false, taking: false, emptyInMs: 0, windowMs: 0 };
  const drains = { drainOrdered: false, maybeDrained: false, empty: true };
  const calls = {
    fill: nothing,
    take: nothing,
    poll: nothing,
    announceCompany: nothing,
    wake: nothing,
    guardLease: nothing,
  };
  const leave = slots.join({ ...place, ...looks, ...suspects, ...drains, ...calls });
  const timer = timeout(FIRST_TURN_TIMEOUT_MS, leave);
  return () => {
    timer.clear();
    leave();
  };
}
