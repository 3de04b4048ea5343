/**
 * A worker as a library: what `millrace-worker` runs, for programs that bring their own process.
 * It registers, runs epochs until it is stopped, and leaves nothing behind in Redis.
 */
import { hostname } from 'node:os';
import { within } from '../queue/connection/connection.ts';
import { checkDurability } from '../queue/connection/durability.ts';
import { queueKeys, type QueueKeys } from '../queue/keys.ts';
import { partitionedKeys } from '../queue/partitions.ts';
import { rankedKeys, type Level } from '../queue/priorities.ts';
import { announceLevels } from '../queue/served-levels.ts';
import { findFilled } from '../queue/workers/filled-queues.ts';
import { clientName } from '../queue/workers/worker-connections.ts';
import { systemClock } from '../runtime/clock.ts';
import { leastTasks } from '../runtime/concurrency.ts';
import type { WorkerOptions } from './epoch/options.ts';
import { FIRST_TURN_TIMEOUT_MS, runQueue, type QueueLoopOptions } from './epoch/queue-loop.ts';
import { createRefusals, patienceWith, type Refusals } from './epoch/registration/connection-errors.ts';
import { connectQueues, type ConnectedQueue } from './epoch/registration/connections.ts';
import { NameTaken } from './epoch/registration/registration.ts';
import { reportRenewals } from './epoch/registration/renewals.ts';
import type { Lane } from './epoch/slots/lane.ts';
import { createOwnSlots, type OwnSlots } from './epoch/own-slots.ts';
import { createWorkerSlots, type WorkerSlots } from './epoch/slots/slots.ts';
import { createLeaseKeepers } from './lease/lease.ts';

export { TaskCancelled } from '../queue/cancel.ts';
export type { Trace } from '../runtime/opentelemetry.ts';
export type { Handler, TaskContext } from './task/handler.ts';
export type { DeadLetterPolicy, ResultPolicy, TaskPolicy, WorkerOptions } from './epoch/options.ts';
export { NameTaken } from './epoch/registration/registration.ts';
export type { RetryPolicy } from '../queue/outcomes/retry.ts';

/** A live server answers within this time, ms. */
const PING_TIMEOUT_MS = 2_000;

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
      id = `${options.id}-${randomMark()}`;
      options.log.warn(
        { err: error, worker: id },
        'the name of this worker is taken; continuing under another one',
      );
    }
  }
}

/** Eight hexadecimal digits. A secret it is not, so that node:crypto need not be loaded for it. */
function randomMark(): string {
  return Math.floor(Math.random() * 2 ** 32)
    .toString(16)
    .padStart(8, '0');
}

async function runAs(options: WorkerOptions, stopping: AbortSignal, hurry: AbortSignal): Promise<void> {
  const queues = queuesOf(options);
  const { id, leaseMs, durability } = options;
  if (durability) checkDurability(durability);
  using refusals = createRefusals({
    address: options.redis,
    afterMs: options.refusedMs ?? patienceWith(options.redis),
    log: (line, about) => options.log.error(about, line),
    now: () => systemClock.elapsed(),
  });
  using _renewals = reportRenewals(options.redis, options.log);
  const mark = randomMark();
  const connected = connectQueues(options, queues, connectionName(options, mark), refusals);
  options.health?.reach(() => within(PING_TIMEOUT_MS, connected.ping(), 'PING'));
  const ownSlots = createOwnSlots(options, queues[0]?.queue ?? '', (total) => slots.resize(total));
  const slots = openSlots(connected.queues, options, ownSlots);
  await using keepers = options.mayBlock
    ? createLeaseKeepers({ worker: id, leaseMs, address: options.redis, queues: queues.length })
    : undefined;
  const refused = new AbortController();
  const ended = new AbortController();
  void refusals.forGood.then((why) => {
    options.onRefused?.(why);
    // what runs can no longer be settled
    refused.abort(new Error(why));
    ended.abort();
  });
  try {
    await runQueues(connected.queues, refusals, ended, {
      shared: { worker: announcing(options, connected.queues), mark, slots, ownSlots, keepers },
      inPartitions: isOneQueue(options) && levelsOf(options).length === 0,
      stopping: AbortSignal.any([stopping, ended.signal]),
      hurry: AbortSignal.any([hurry, refused.signal]),
    });
  } finally {
    await ownSlots?.left();
    await connected.close();
  }
  refused.signal.throwIfAborted();
}

function isOneQueue({ queue }: Pick<WorkerOptions, 'queue'>): boolean {
  return typeof queue === 'string' || queue.length === 1;
}

function levelsOf({ priorities = [] }: Pick<WorkerOptions, 'priorities'>): readonly Level[] {
  return priorities;
}

/** The same, telling clients which priorities it serves before it is ready. Of a pool's workers, the controller does that. */
function announcing(options: WorkerOptions, queues: readonly ConnectedQueue[]): WorkerOptions {
  const { pool, queue, log } = options;
  const levels = levelsOf(options);
  const served = queues.find(({ keys }) => keys.queue === [queue].flat()[0]);
  if (levels.length === 0 || pool !== '' || !served) return options;
  const { keys, connections } = served;
  const announce = async (): Promise<void> => {
    try {
      if ((await connections.redis.exists(keys.limits)) === 1)
        throw new Error(
          `"${keys.queue}" has limits, which would not hold for its tasks of other priorities: remove the limits, or --priorities`,
        );
      await announceLevels(connections.redis, keys, levels);
    } catch (err) {
      log.warn({ err, queue: keys.queue }, 'clients are not told that tasks of other priorities are served');
    }
    options.onReady?.();
  };
  return { ...options, onReady: () => void announce() };
}

/**
 * The keys of all its queues, of all partitions of its only one, or of its priorities, the highest first. Throws `RangeError` for invalid
 * names and numbers.
 */
function queuesOf({
  queue,
  result,
  partitions = 1,
  priorities = [],
}: Pick<WorkerOptions, 'queue' | 'result' | 'partitions' | 'priorities'>): QueueKeys[] {
  const names = [queue].flat();
  const [only] = names;
  if (only === undefined || new Set(names).size < names.length)
    throw new RangeError(`a worker needs queues, each of them once: got ${JSON.stringify(names)}`);
  const inPartitions = [partitions].flat().some((number) => number !== 1);
  if (priorities.length > 0 && (names.length > 1 || inPartitions))
    throw new RangeError(
      `only one queue in one list has priorities: got ${JSON.stringify(names)} in ${[partitions].flat().join(' and ')} partitions`,
    );
  if (priorities.length > 0) return rankedKeys(queueKeys(only, result), priorities);
  if (names.length === 1) return partitionedKeys(only, result, partitions);
  if (inPartitions)
    throw new RangeError(
      `partitions and several queues exclude each other: a worker serves either ${JSON.stringify(names)} or one queue in partitions`,
    );
  return names.map((name) => queueKeys(name, result));
}

function connectionName({ queue, id }: WorkerOptions, mark: string): string {
  return clientName([queue].flat().join(','), id, mark);
}

function openSlots(
  queues: readonly ConnectedQueue[],
  { concurrency, id, metrics }: WorkerOptions,
  ownSlots: OwnSlots | undefined,
): WorkerSlots {
  const redisOf = new Map(queues.map(({ keys, connections }) => [keys.queue, connections.redis]));
  const total = leastTasks(concurrency);
  const findFilledOf = async (asked: readonly Lane[]): Promise<ReadonlySet<Lane>> => {
    const byServer = Map.groupBy(asked, ({ keys }) => redisOf.get(keys.queue));
    const filled = Array.from(byServer, async ([redis, lanes]) => {
      const which = lanes.map(({ keys }) => keys);
      const found = redis ? await findFilled(redis, which, id) : new Set();
      return lanes.filter((_, i) => found.has(i));
    });
    return new Set((await Promise.all(filled)).flat());
  };
  const slots = createWorkerSlots(total, findFilledOf, ownSlots?.meter);
  metrics.watchSlots(slots);
  return slots;
}

interface RunQueuesOptions {
  readonly shared: Pick<QueueLoopOptions, 'worker' | 'mark' | 'slots' | 'ownSlots' | 'keepers'>;
  /** The queues are partitions of one: none goes before the others. */
  readonly inPartitions: boolean;
  readonly stopping: AbortSignal;
  readonly hurry: AbortSignal;
}

/** Runs all queues; when one of them ends, it ends the others by `ended`. */
async function runQueues(
  queues: readonly ConnectedQueue[],
  refusals: Refusals,
  ended: AbortController,
  { shared, inPartitions, stopping, hurry }: RunQueuesOptions,
): Promise<void> {
  const registered = new Set<number>();
  // its first turn loads the scripts into the server, which the others would all do at the same time
  const first = Promise.withResolvers<void>();
  const left = queues.map(async ({ keys, connections }, i) => {
    const rank = inPartitions ? 0 : i;
    const onReady = (): void => {
      if (registered.add(i).size === queues.length) shared.worker.onReady?.();
    };
    try {
      const registering = refusals.attempts();
      if (i > 0) await within(FIRST_TURN_TIMEOUT_MS, first.promise, 'the first turn').catch(() => undefined);
      const own = { keys, connections, rank, registering, onReady };
      await runQueue({ ...shared, ...own, onDelay: first.resolve, onTurn: first.resolve }, stopping, hurry);
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
  }
}
