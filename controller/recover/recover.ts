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
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { listWorkers } from '../../queue/workers/list-workers.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createGate } from '../../runtime/gate.ts';
import type { Logger } from '../../runtime/log.ts';
import { mayRunIn } from '../act/workers-of.ts';
import type { Death } from './deaths.ts';
import {
  ANSWER_TIMEOUT_MS,
  checkSuspects,
  GIVE_UP_MS,
  LONGEST_PAUSE_MS,
  type Checks,
  type Pending,
} from './lost-workers.ts';

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

/** The client list of one server may take megabytes, so this many are read concurrently. */
const LISTS_AT_A_TIME = 6;

export function createRecovery(options: RecoveryOptions): Recovery {
  const checks: Checks = { ...options, gate: createGate(LISTS_AT_A_TIME) };
  const pendingOf = new WeakMap<Redis, Pending>();
  const { queuesOf, clock, signal } = options;

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
    const suspecting = queues.map(async (keys) => {
      const redis = redisOf(keys);
      const names = called ? await namesOf(redis, keys, death.worker) : [death.worker];
      for (const worker of names) suspect(pool, redis, keys, { ...death, worker });
    });
    await Promise.all(suspecting);
  }

  function suspect(pool: string, redis: Redis, keys: QueueKeys, death: Death): void {
    const pending = pendingOf.get(redis) ?? { suspects: [], running: false, pause: new AbortController() };
    pendingOf.set(redis, pending);
    const now = clock.elapsed();
    pending.suspects.push({ pool, keys, death, since: now, nextAt: now });
    pending.pause.abort();
    if (pending.running) return;
    pending.running = true;
    void checkSuspects(checks, redis, pending);
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
