/**
 * `controller/recover/` takes what Kubernetes reports of containers and puts the tasks of dead workers back. It knows
 * nothing of decisions; Redis has the last word.
 *
 * Puts back the tasks of a worker as soon as Kubernetes reports its end, long before its lease expires.
 *
 * Kubernetes raises the suspicion, Redis confirms it: a worker is dead when its container ended and no connection with
 * its name (queue/workers/worker-connections.ts) is open. All workers that are suspected at the same time are checked in one
 * round trip: first their epochs, then `CLIENT LIST`. So the epoch that is reaped is the one that had no connection, and a
 * restarted worker of the same name is never hit. A connection may outlive its process briefly: the check is repeated, at
 * growing intervals. If it is still open after GIVE_UP_MS, the lease decides: a pod that was force-deleted from an
 * unreachable node may well be alive.
 *
 * Where `CLIENT LIST` is refused, or a worker's connections could not be named, Kubernetes' report alone is enough, but only
 * for a container that it saw end, and only if the epoch began clearly before that.
 */
import type { Redis } from 'ioredis';
import { within } from '../../queue/connection/connection.ts';
import { writeExitReason } from '../../queue/workers/exit-reason.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { listWorkers } from '../../queue/workers/list-workers.ts';
import { readWorkerRecords, type WorkerRecord } from '../../queue/workers/worker-connections.ts';
import { reap } from '../../queue/workers/reap.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createGate } from '../../runtime/gate.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Death } from './deaths.ts';
import { mayRunIn } from '../act/workers-of.ts';

export interface RecoveryOptions {
  /** The queues of a pool; `undefined` while its address is not resolved. */
  readonly queuesOf: (
    pool: string,
  ) => { readonly redisOf: RedisOf; readonly queues: readonly QueueKeys[] } | undefined;
  /** Called when a worker's epoch was ended and `tasks` tasks were put back. */
  readonly onRecovered: (pool: string, death: Death, tasks: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface Recovery {
  /**
   * Recovers the tasks of the dead worker in the background. Never throws. In an adopted Deployment workers choose their own
   * ids: with `any name` they are the pod's name, optionally with the process id (`defaultWorkerId`), and with a random suffix
   * where that is already in use.
   */
  died(pool: string, death: Death, called?: 'any name'): void;
}

interface Suspect {
  readonly pool: string;
  readonly keys: QueueKeys;
  readonly death: Death;
  /** When the first check was due, and when the next one is, by the monotonic clock, ms. */
  readonly since: number;
  nextAt: number;
}

/** The suspects of one Redis, which are checked in one loop. */
interface Pending {
  suspects: Suspect[];
  running: boolean;
  pause: AbortController;
}

type Outcome = 'recovered' | 'nothing to do' | 'still connected';

const GIVE_UP_MS = 5_000;
const SHORTEST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 250;
const ANSWER_TIMEOUT_MS = 3_000;
/** The client list of one server may take megabytes, so this many are read concurrently. */
const LISTS_AT_A_TIME = 6;
/** Tolerated difference between the clocks of Redis and of a node. */
const CLOCKS_MS = 2_000;

export function createRecovery(options: RecoveryOptions): Recovery {
  const { queuesOf, onRecovered, clock, log, signal } = options;
  const pendingOf = new WeakMap<Redis, Pending>();
  const gate = createGate(LISTS_AT_A_TIME);

  async function check(redis: Redis, pending: Pending): Promise<void> {
    while (pending.suspects.length > 0 && !signal.aborted) {
      const now = clock.elapsed();
      const due = pending.suspects.filter(({ nextAt }) => nextAt <= now);
      if (due.length > 0) {
        pending.suspects = pending.suspects.filter(({ nextAt }) => nextAt > now);
        pending.suspects.push(...(await checkDue(redis, due)));
        continue;
      }
      const next = Math.min(...pending.suspects.map(({ nextAt }) => nextAt));
      pending.pause = new AbortController();
      await clock.sleep(next - now, AbortSignal.any([signal, pending.pause.signal]));
    }
    pending.running = false;
  }

  /** Returns the suspects to check again. Never rejects. */
  async function checkDue(redis: Redis, due: readonly Suspect[]): Promise<Suspect[]> {
    const unsettled: Suspect[] = [];
    const suspected = due.map(({ keys, death: { worker } }) => ({ keys, worker }));
    const reading = gate(() =>
      within(ANSWER_TIMEOUT_MS, readWorkerRecords(redis, suspected), 'the check of lost workers'),
    );
    const records = await reading.catch(() => undefined);
    for (const [i, one] of due.entries()) {
      const record = records?.[i];
      const outcome = record && (await settle(redis, one, record).catch(() => undefined));
      if (outcome !== undefined && outcome !== 'still connected') continue;
      const waited = clock.elapsed() - one.since;
      if (waited < GIVE_UP_MS) {
        one.nextAt = clock.elapsed() + Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, waited));
        unsettled.push(one);
      } else
        log.info(
          { pool: one.pool, worker: one.death.worker, reason: one.death.message },
          outcome
            ? 'a worker is still connected after its end: its lease decides'
            : 'Redis did not report what a lost worker held: its lease decides',
        );
    }
    return unsettled;
  }

  async function settle(
    redis: Redis,
    { pool, keys, death }: Suspect,
    { epoch, started, connected }: WorkerRecord,
  ): Promise<Outcome> {
    const { worker, why, message, endedAt = -Infinity } = death;
    if (connected && !death.restarted) return 'still connected';
    const believed = connected === undefined && started + CLOCKS_MS < endedAt;
    const dead = epoch !== undefined && (connected === false || believed);
    // before reaping, so that a worker that then gives a task up can report why; also if another process reaped it first
    if (dead || (death.only && why === 'lost'))
      await within(ANSWER_TIMEOUT_MS, writeExitReason(redis, keys, worker, message), 'SET').catch(
        () => undefined,
      );
    let outcome: Outcome = 'nothing to do';
    if (dead) {
      // without a connection, no blocking move of it can be pending in Redis: no grave needed
      const graveMs = connected === false ? 0 : undefined;
      const tasks = await within(ANSWER_TIMEOUT_MS, reap(redis, keys, worker, epoch, why, graveMs), 'reap');
      if (tasks !== undefined) {
        outcome = 'recovered';
        log.warn({ pool, worker, tasks, reason: message }, 'a worker ended; its tasks are back in the queue');
        onRecovered(pool, death, tasks);
      }
    }
    return outcome;
  }

  /** Never rejects. */
  async function begin(pool: string, death: Death, called: 'any name' | undefined): Promise<void> {
    // just after a start, pod events arrive before the addresses of the queues are resolved
    let found = queuesOf(pool);
    for (let waited = 0; !found && waited < GIVE_UP_MS && !signal.aborted; waited += LONGEST_PAUSE_MS) {
      await clock.sleep(LONGEST_PAUSE_MS, signal);
      found = queuesOf(pool);
    }
    if (!found || signal.aborted) return;
    const { redisOf, queues } = found;
    for (const keys of queues) {
      const redis = redisOf(keys);
      const names = called ? await namesOf(redis, keys, death.worker) : [death.worker];
      for (const worker of names) open(pool, redis, keys, { ...death, worker });
    }
  }

  function open(pool: string, redis: Redis, keys: QueueKeys, death: Death): void {
    const pending = pendingOf.get(redis) ?? { suspects: [], running: false, pause: new AbortController() };
    pendingOf.set(redis, pending);
    const now = clock.elapsed();
    pending.suspects.push({ pool, keys, death, since: now, nextAt: now });
    pending.pause.abort();
    if (pending.running) return;
    pending.running = true;
    void check(redis, pending);
  }

  return {
    died: (pool, death, called) => void begin(pool, death, called),
  };
}

/** The registered workers of a pod. Never rejects: a worker that is not found is left to its lease. */
async function namesOf(redis: Redis, keys: QueueKeys, pod: string): Promise<string[]> {
  const all = await within(ANSWER_TIMEOUT_MS, listWorkers(redis, keys), 'the list of workers').catch(
    () => [],
  );
  return all.map(({ id }) => id).filter((id) => mayRunIn(id, pod));
}
