/**
 * `worker/epoch/registration/` takes the name of a worker and returns an epoch, or why there is none; hands back at the end
 * what is still held. It knows nothing of turns.
 *
 * How a worker acquires an epoch: it checks which process has its name, cleans up after an earlier one, and registers.
 *
 * A name belongs to whoever is registered under it as long as it lives. Each process has a mark of its own, in the worker's
 * hash and in the names of its connections (queue/workers/worker-connections.ts), which distinguishes three similar cases:
 *
 * - the hash is this process's own: it was fenced, or the server went back. What is held there is displaced.
 * - it is another process's, of which no connection lives: an earlier life, which died. What it held is lost, and back
 *   immediately, so that a restarted container goes on with its own tasks.
 * - it is another process's that is connected, or that cannot be determined, as it may not have arrived at a server that took over: its
 *   lease decides. Once it is seen to renew that, it lives, and the name is taken (`NameTaken`): two workers of one name would end each
 *   other's epochs for ever.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../../queue/keys.ts';
import {
  isRenewed,
  readHolder,
  readWorkerRecords,
  type Holder,
  type WorkerRecord,
} from '../../../queue/workers/worker-connections.ts';
import { findOverdue, reap } from '../../../queue/workers/reap.ts';
import { register } from '../../../queue/workers/register.ts';
import { systemClock } from '../../../runtime/clock.ts';
import type { Logger } from '../../../runtime/log.ts';
import { LogEvent } from '../../../runtime/log-event.ts';
import { MAX_DELIVERIES } from '../../task/poison.ts';
import type { ConnectionAttempts } from './connection-errors.ts';
import type { WorkerOptions } from '../options.ts';

/** Another living worker has the name. */
export class NameTaken extends Error {
  override name = 'NameTaken';
  constructor(worker: string, address: string | undefined) {
    super(`${namesake(worker, address)}: give it another id (--id, MILLRACE_WORKER_ID)`);
  }
}

const namesake = (worker: string, address: string | undefined): string =>
  `another worker is called "${worker}"${address === undefined ? '' : `, connected from ${address}`}`;

export interface RegistrationOptions {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly worker: WorkerOptions;
  /** Of this process: no other one has it. */
  readonly mark: string;
  /** What it registers of its slots, where their number changes. */
  readonly slotFields: () => Readonly<Record<string, string | number>>;
  /** Notified of each attempt. */
  readonly attempts: ConnectionAttempts;
  /** Called after each attempt that does not succeed: it may be long until one does. */
  readonly onDelay: () => void;
  readonly log: Logger;
  readonly stopping: AbortSignal;
}

export interface Registration {
  /**
   * Begins an epoch. Resolves to `undefined` if stopped before that worked. Throws `NameTaken`. `lost`: the epoch that this
   * worker was just fenced from.
   */
  begin(lost: number | undefined): Promise<number | undefined>;
  /** Of the worker's connections; empty if Redis refuses names, which makes them unidentifiable. */
  readonly clientName: string;
}

const REGISTER_PAUSE_MS = 500;
/** How often a name that is taken is checked again, ms. */
const NAMESAKE_PAUSE_MS = 250;

export function createRegistration(options: RegistrationOptions): Registration {
  const { redis, keys, worker, mark, attempts, onDelay, log, stopping } = options;
  const { id, leaseMs } = worker;
  const name: Name = { redis, keys, worker: id, mark };
  const stopped = stoppedBy(stopping);
  let clientName = '';

  /** One attempt: resolves to the epoch, or to `undefined` while the name is not free. */
  async function attempt(holder: Holder, first: boolean): Promise<number | undefined> {
    const { free, tasks } = await clear(name, holder, first);
    if (tasks > 0)
      log.info(
        { event: LogEvent.EarlierLife, tasks },
        'an earlier process of this worker held tasks; they are back in the queue',
      );
    if (!free) return undefined;
    const about = { ...descriptionOf(worker), ...options.slotFields(), client: clientName, mark };
    // sent together; the first one removes the empty hash of an earlier epoch, if any
    const [, epoch] = await Promise.all([
      reap(redis, keys, id, 0, 'leave'),
      register(redis, keys, id, leaseMs, about),
    ]);
    return epoch;
  }

  async function logLoss(epoch: number | undefined, holder: Holder): Promise<void> {
    const why = await reasonOf(name, holder);
    log.warn({ event: LogEvent.Fenced, epoch }, `the lease was lost: ${why}; what was running was dropped`);
  }

  async function begin(lost: number | undefined): Promise<number | undefined> {
    let before: Holder | undefined;
    let logged = lost === undefined;
    while (!stopping.aborted) {
      let pauseMs = REGISTER_PAUSE_MS;
      try {
        const read = await Promise.race([readName(name), stopped]);
        if (read === undefined) return undefined;
        const { holder } = read;
        ({ clientName } = read);
        if (!logged) await logLoss(lost, holder);
        logged = true;
        const trying = attempt(holder, lost === undefined);
        const epoch = await Promise.race([trying, stopped]);
        if (!stopping.aborted || epoch !== undefined) attempts.succeeded();
        if (epoch !== undefined) return epoch;
        trying.catch(() => undefined);
        if (holder.epoch !== undefined) {
          pauseMs = NAMESAKE_PAUSE_MS;
          if (before && isRenewed(before, holder)) throw new NameTaken(id, (await readRecord(name)).address);
        }
        before = holder;
      } catch (error) {
        if (error instanceof NameTaken) throw error;
        worker.metrics.redisFailed('register');
        attempts.failed(error);
      }
      onDelay();
      await systemClock.sleep(pauseMs, stopping);
    }
    return undefined;
  }

  return {
    get clientName() {
      return clientName;
    },
    begin,
  };
}

/** Resolves once the signal has aborted. */
function stoppedBy(signal: AbortSignal): Promise<undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const stop = (): void => resolve(undefined);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  return promise;
}

/** A worker's name in Redis, and the mark of the process that wants it. */
interface Name {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly worker: string;
  readonly mark: string;
}

async function readName({
  redis,
  keys,
  worker,
}: Name): Promise<{ readonly holder: Holder; readonly clientName: string }> {
  const [clientName, holder] = await Promise.all([
    redis.client('GETNAME').catch(() => null),
    readHolder(redis, keys, worker),
    // at a node of a Redis Cluster this fails unless it has both keys, without which no turn can succeed
    redis.exists(keys.queue, keys.result),
  ]);
  return { holder, clientName: clientName ?? '' };
}

async function readRecord({ redis, keys, worker }: Name): Promise<WorkerRecord> {
  const [record] = await readWorkerRecords(redis, [{ keys, worker }]);
  if (!record) throw new Error('Redis returned no list of connections');
  return record;
}

/** Why an epoch of this worker has ended, according to Redis. */
async function reasonOf(name: Name, { epoch, mark: theirs, ended }: Holder): Promise<string> {
  if (epoch !== undefined && theirs === name.mark) return 'Redis went back to an older state of this worker';
  if (epoch !== undefined) return namesake(name.worker, (await readRecord(name)).address);
  if (ended === 'silent') return 'no turn of this worker reached Redis for the length of the lease';
  if (ended !== undefined) return 'this process, or its pod, was reported as ended';
  return 'Redis has no record of this worker: its lease expired long ago, or Redis lost its data';
}

/** Ends an epoch under this name if it is ours or dead. Returns whether the name is free, and the number of tasks put back. */
async function clear(name: Name, holder: Holder, first: boolean): Promise<{ free: boolean; tasks: number }> {
  const { redis, keys, worker: id, mark } = name;
  const { epoch } = holder;
  if (epoch === undefined) return { free: true, tasks: 0 };
  let tasks: number | undefined;
  if (holder.mark === mark) tasks = await reap(redis, keys, id, epoch, 'displaced');
  else {
    const record = await readRecord(name);
    if (record.epoch !== epoch) return { free: false, tasks: 0 };
    if (record.connected === false) {
      // a process that was fenced has not witnessed a death
      tasks = await reap(redis, keys, id, epoch, first ? 'lost' : 'displaced');
    } else {
      await findOverdue(redis, keys);
      tasks = await reap(redis, keys, id, 'expired', 'silent');
    }
  }
  return { free: tasks !== undefined, tasks: tasks ?? 0 };
}

/** The fields of the worker's hash that do not change in an epoch; turn.lua reads its policies there. */
function descriptionOf({
  results,
  deadLetters,
  retry,
  concurrency,
  version,
  pool,
}: WorkerOptions): Record<string, string | number> {
  return {
    ...(typeof concurrency === 'number' && { concurrency }),
    version,
    pool,
    ...(results.ttlMs === undefined ? {} : { resultTtl: results.ttlMs }),
    deadMax: deadLetters.max,
    maxDeliveries: retry.maxDeliveries ?? MAX_DELIVERIES,
    ...(deadLetters.maxAgeMs === undefined ? {} : { deadMaxAge: deadLetters.maxAgeMs }),
  };
}
