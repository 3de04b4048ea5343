/** One queue of a worker: epoch after epoch, until the worker is stopped. */
import { closeRedis, within } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { reap } from '../../queue/workers/reap.ts';
import { note } from '../../queue/workers/register.ts';
import { readExitReason } from '../../queue/workers/exit-reason.ts';
import type { Logger } from '../../runtime/log.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import type { LeaseKeepers } from '../lease/lease.ts';
import type { EpochOptions } from './context.ts';
import { runEpoch } from './epoch.ts';
import { BLOCKER_OPTIONS } from './idle-wait.ts';
import type { OwnSlots } from './own-slots.ts';
import type { WorkerOptions } from './options.ts';
import type { ConnectionAttempts } from './registration/connection-errors.ts';
import type { WorkerConnections } from './registration/connections.ts';
import { createRegistration } from './registration/registration.ts';
import { createServerNote } from './registration/server-note.ts';
import { holdPlace } from './slots/placeholder.ts';
import type { WorkerSlots } from './slots/slots.ts';

/** How long a worker that stops after it was fenced may take to clean up in Redis, ms. */
const LAST_REAP_TIMEOUT_MS = 1_000;
/** How long after a death the controller may take to record its reason, ms. */
const EXIT_REASON_TIMEOUT_MS = 3_000;
/** A queue of which Redis says nothing delays those below it no longer than this, ms; one that is refused, not at all. */
export const FIRST_TURN_TIMEOUT_MS = 5_000;

export interface QueueLoopOptions {
  readonly worker: WorkerOptions;
  readonly keys: QueueKeys;
  /** Of this queue among the worker's; 0 goes first. */
  readonly rank: number;
  readonly connections: WorkerConnections;
  readonly slots: WorkerSlots;
  /** Where the worker finds their number itself. */
  readonly ownSlots: OwnSlots | undefined;
  /** Given where a handler may block turns. */
  readonly keepers: LeaseKeepers | undefined;
  readonly registering: ConnectionAttempts;
  /** Of this process: see registration/registration.ts. */
  readonly mark: string;
  /** Called when it cannot be registered at once: those below it need not wait for it. */
  readonly onDelay: () => void;
  /** Called each time that it is registered. */
  readonly onReady: () => void;
  /** Called after each turn. */
  readonly onTurn: () => void;
}

/** Resolves after a clean goodbye, or when it is stopped without a lease. Throws `NameTaken`. */
export async function runQueue(
  options: QueueLoopOptions,
  stopping: AbortSignal,
  hurry: AbortSignal,
): Promise<void> {
  const { keys, rank, connections, slots, keepers, mark, worker, onTurn } = options;
  const { redis, connect, ...spare } = connections;
  const { queue } = keys;
  const { id, leaseMs, restAfterMs = leaseMs, durability, health } = worker;
  const log = worker.log.child({ queue });
  const metrics = worker.metrics.of(queue);
  const blocker = defineScripts(connect(BLOCKER_OPTIONS));
  const about = { redis, keys, worker, mark, attempts: options.registering };
  const slotFields = (): OwnSlots['fields'] => options.ownSlots?.fields ?? {};
  let leavePlace = holdPlace(slots, keys, rank, FIRST_TURN_TIMEOUT_MS);
  const onDelay = (): void => {
    leavePlace();
    options.onDelay();
  };
  const registration = createRegistration({ ...about, slotFields, onDelay, log, stopping });
  using keeper = keepers?.of({ redis, rank, keys, clientName: () => registration.clientName });
  const run = runDeps(options, log);
  const own = { redis, ...spare, blocker, keys, worker: id, slots, rank, leaseMs, restAfterMs, keeper };
  // what it held is in its queue again, and goes first there
  const onFenced = (): void => void (leavePlace = holdPlace(slots, keys, rank, FIRST_TURN_TIMEOUT_MS));
  const epochOptions = { ...own, run, durability, log, metrics, health, stopping, hurry, onFenced };
  let last: number | undefined;
  try {
    while (!stopping.aborted) {
      const epoch = await registration.begin(last);
      if (epoch === undefined) break;
      last = epoch;
      log.info({ event: LogEvent.Registered, epoch, worker: id }, 'taking tasks');
      health?.turned(queue, 0);
      options.ownSlots?.registered({ redis, keys, epoch });
      options.onReady();
      const noteServer = createServerNote(redis, () => note(redis, keys, id, epoch));
      const turned = (): void => {
        noteServer();
        onTurn();
      };
      const epochEnd = runEpoch(epoch, { ...epochOptions, onTurn: turned });
      leavePlace();
      if ((await epochEnd) === 'left') return;
      metrics.fenced();
    }
    // fenced, and stopped before it could register again: a server that went back may still hold that epoch
    if (last !== undefined)
      await within(LAST_REAP_TIMEOUT_MS, reap(redis, keys, id, last, 'displaced'), 'reap').catch(
        () => undefined,
      );
  } finally {
    health?.left(queue);
    leavePlace();
    await closeRedis(blocker);
  }
}

/** What running a task of this queue needs. */
function runDeps({ keys, worker, connections }: QueueLoopOptions, log: Logger): EpochOptions['run'] {
  const { handler, begin, retry, tasks, bytesOnly = false, results, pool } = worker;
  const [only, ...others] = [worker.queue].flat();
  // outside of a pool no controller records reasons
  const reasonWithinMs = pool === '' ? 0 : EXIT_REASON_TIMEOUT_MS;
  return {
    handler,
    begin,
    queue: keys.queue,
    retry,
    maxTaskBytes: tasks?.maxBytes ?? Infinity,
    bytesOnly,
    maxResultBytes: results.maxBytes,
    inPartitions: others.length === 0 && only !== keys.queue,
    random: Math.random,
    exitReasonOf: (lost) => readExitReason(connections.redis, keys, lost, reasonWithinMs),
    onThrown: (id, attempt, err) =>
      log.debug({ task: id.toString().slice(0, 100), attempt, err }, 'a handler threw'),
  };
}
