/**
 * Checks workers that Kubernetes reports dead until Redis confirms it (recover.ts): those of one Redis together, at growing
 * intervals, until each is recovered, has nothing to recover, or is left to its lease.
 */
import type { Redis } from 'ioredis';
import { within } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { writeExitReason } from '../../queue/workers/exit-reason.ts';
import { reap } from '../../queue/workers/reap.ts';
import { readWorkerRecords, type WorkerRecord } from '../../queue/workers/worker-connections.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Limiter } from '../../runtime/gate.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Death } from './deaths.ts';

export interface Suspect {
  readonly pool: string;
  readonly keys: QueueKeys;
  readonly death: Death;
  /** When the first check was due, and when the next one is, by the monotonic clock, ms. */
  readonly since: number;
  nextAt: number;
}

/** The suspects of one Redis, which are checked in one loop. */
export interface Pending {
  suspects: Suspect[];
  running: boolean;
  pause: AbortController;
}

type Outcome = 'recovered' | 'nothing to do' | 'still connected';

/** What the checks of all Redis servers share. */
export interface Checks {
  /** Bounds how many client lists are read concurrently. */
  readonly gate: Limiter;
  readonly onRecovered: (pool: string, death: Death, tasks: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** After this long a worker that is still connected is left to its lease. */
export const GIVE_UP_MS = 5_000;
const SHORTEST_PAUSE_MS = 50;
export const LONGEST_PAUSE_MS = 250;
export const ANSWER_TIMEOUT_MS = 3_000;
/** Tolerated difference between the clocks of Redis and of a node. */
const CLOCKS_MS = 2_000;

/** Ends when no suspect is left. Never rejects. */
export async function checkSuspects(checks: Checks, redis: Redis, pending: Pending): Promise<void> {
  const { clock, signal } = checks;
  while (pending.suspects.length > 0 && !signal.aborted) {
    const now = clock.elapsed();
    const due = pending.suspects.filter(({ nextAt }) => nextAt <= now);
    if (due.length > 0) {
      pending.suspects = pending.suspects.filter(({ nextAt }) => nextAt > now);
      pending.suspects.push(...(await checkDue(checks, redis, due)));
      continue;
    }
    const next = Math.min(...pending.suspects.map(({ nextAt }) => nextAt));
    pending.pause = new AbortController();
    await clock.sleep(next - now, AbortSignal.any([signal, pending.pause.signal]));
  }
  pending.running = false;
}

/** Returns the suspects to check again. Never rejects. */
async function checkDue(checks: Checks, redis: Redis, due: readonly Suspect[]): Promise<Suspect[]> {
  const { gate, clock, log } = checks;
  const unsettled: Suspect[] = [];
  const suspected = due.map(({ keys, death: { worker } }) => ({ keys, worker }));
  const reading = gate(() =>
    within(ANSWER_TIMEOUT_MS, readWorkerRecords(redis, suspected), 'the check of lost workers'),
  );
  const records = await reading.catch(() => undefined);
  for (const [i, one] of due.entries()) {
    const record = records?.[i];
    const outcome = record && (await settle(checks, redis, one, record).catch(() => undefined));
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
  checks: Checks,
  redis: Redis,
  suspect: Suspect,
  { epoch, started, connected }: WorkerRecord,
): Promise<Outcome> {
  const { keys, death } = suspect;
  const { worker, why, message, endedAt = -Infinity } = death;
  if (connected && !death.restarted) return 'still connected';
  const believed = connected === undefined && started + CLOCKS_MS < endedAt;
  const dead = epoch !== undefined && (connected === false || believed);
  // before reaping, so that a worker that then gives a task up can report why; also if another process reaped it first
  if (dead || (death.only && why === 'lost'))
    await within(ANSWER_TIMEOUT_MS, writeExitReason(redis, keys, worker, message), 'SET').catch(
      () => undefined,
    );
  if (!dead) return 'nothing to do';
  // without a connection, no blocking move of it can be pending in Redis: no grave needed
  return reapSuspect(checks, redis, suspect, epoch, connected === false ? 0 : undefined);
}

async function reapSuspect(
  { log, onRecovered }: Checks,
  redis: Redis,
  { pool, keys, death }: Suspect,
  epoch: number,
  graveMs: number | undefined,
): Promise<Outcome> {
  const { worker, why, message } = death;
  const reaping = reap(redis, keys, worker, epoch, why, graveMs).then((tasks): Outcome => {
    if (tasks === undefined) return 'nothing to do';
    log.warn({ pool, worker, tasks, reason: message }, 'a worker ended; its tasks are back in the queue');
    onRecovered(pool, death, tasks);
    return 'recovered';
  });
  // reported also when the reply is late: by then the next check finds nothing to do
  return await within(ANSWER_TIMEOUT_MS, reaping, 'reap');
}
