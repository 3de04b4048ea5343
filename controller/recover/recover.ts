/**
 * `controller/recover/` takes what Kubernetes reports of containers and puts the tasks of dead workers back. It knows
 * nothing of decisions; Redis has the last word.
 *
 * Puts back what a worker held as soon as Kubernetes says that it ended, long before its lease is over.
 *
 * Kubernetes is asked first, Redis has the last word: a worker is dead when its container ended and no connection of
 * its name (queue/workers/worker-connections.ts) lives. All workers that are suspected at one moment are looked at in one round trip:
 * first their epochs, then `CLIENT LIST`. So the epoch that is reaped is the one that had no connection, and a new life
 * of the same name is never hit. A connection may outlive its process by a moment: it is looked for again, more and more
 * slowly. One that still lives after LOOK_FOR_MS is left to its lease: a pod that was deleted by force from a node
 * that nobody can reach may well be alive.
 *
 * Where `CLIENT LIST` is refused, or a worker's connections could not be named, Kubernetes alone is believed: only for a
 * container that it saw end, and only when the epoch began clearly before that.
 */
import type { Redis } from 'ioredis';
import { within } from '../../queue/connection/connection.ts';
import { writeExitReason } from '../../queue/workers/exit-reason.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { readCrew } from '../../queue/workers/crew.ts';
import { readLives, type Life } from '../../queue/workers/worker-connections.ts';
import { reap } from '../../queue/scripts/scripts.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createGate } from '../../runtime/gate.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Death } from './deaths.ts';
import { mayRunIn } from '../act/workers-of.ts';

export interface RecoveryOptions {
  /** Where the queues of a pool are; `undefined` as long as that is not known. */
  readonly queuesOf: (
    pool: string,
  ) => { readonly redis: Redis; readonly queues: readonly QueueKeys[] } | undefined;
  /** A worker's epoch is over, and so many tasks are back. */
  readonly onRecovered: (pool: string, death: Death, tasks: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface Recovery {
  /**
   * Looks after what the worker of `death` held. Returns at once and never throws. In an adopted Deployment nobody told
   * workers what to call themselves: with `any name` it is the pod's, or that and the process id (`defaultWorkerId`), and
   * for the second one of a name something random behind it.
   */
  died(pool: string, death: Death, called?: 'any name'): void;
}

interface Case {
  readonly pool: string;
  readonly keys: QueueKeys;
  readonly death: Death;
  /** When the first look was due, and when the next one is, by the monotonic clock, ms. */
  readonly since: number;
  nextAt: number;
}

/** The cases of one Redis. One look at a time is on its way. */
interface Ward {
  cases: Case[];
  working: boolean;
  pause: AbortController;
}

type Verdict = 'recovered' | 'nothing to do' | 'look again';

const LOOK_FOR_MS = 5_000;
const SHORTEST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 250;
const ANSWER_MS = 3_000;
/** The list of a server's clients may have megabytes: those of so many servers at a time. */
const LISTS_AT_A_TIME = 6;
/** By so much may the clocks of Redis and of a node differ. */
const CLOCKS_MS = 2_000;

export function createRecovery(options: RecoveryOptions): Recovery {
  const { queuesOf, onRecovered, clock, log, signal } = options;
  const wards = new WeakMap<Redis, Ward>();
  const gate = createGate(LISTS_AT_A_TIME);

  async function work(redis: Redis, ward: Ward): Promise<void> {
    while (ward.cases.length > 0 && !signal.aborted) {
      const now = clock.elapsed();
      const due = ward.cases.filter(({ nextAt }) => nextAt <= now);
      if (due.length > 0) {
        ward.cases = ward.cases.filter(({ nextAt }) => nextAt > now);
        ward.cases.push(...(await look(redis, due)));
        continue;
      }
      const next = Math.min(...ward.cases.map(({ nextAt }) => nextAt));
      ward.pause = new AbortController();
      await clock.sleep(next - now, AbortSignal.any([signal, ward.pause.signal]));
    }
    ward.working = false;
  }

  /** Returns the cases that are not settled yet. Never rejects. */
  async function look(redis: Redis, due: readonly Case[]): Promise<Case[]> {
    const unsettled: Case[] = [];
    const suspected = due.map(({ keys, death: { worker } }) => ({ keys, worker }));
    const looked = gate(() => within(ANSWER_MS, readLives(redis, suspected), 'the look at lost workers'));
    const lives = await looked.catch(() => undefined);
    for (const [i, one] of due.entries()) {
      const life = lives?.[i];
      const verdict = life && (await judge(redis, one, life).catch(() => undefined));
      if (verdict !== undefined && verdict !== 'look again') continue;
      const waited = clock.elapsed() - one.since;
      if (waited < LOOK_FOR_MS) {
        one.nextAt = clock.elapsed() + Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, waited));
        unsettled.push(one);
      } else
        log.info(
          { pool: one.pool, worker: one.death.worker, reason: one.death.words },
          verdict
            ? 'a worker is still connected after its end: its lease decides'
            : 'Redis does not say what a lost worker held: its lease decides',
        );
    }
    return unsettled;
  }

  async function judge(
    redis: Redis,
    { pool, keys, death }: Case,
    { epoch, started, connected }: Life,
  ): Promise<Verdict> {
    const { worker, why, words, endedAt = -Infinity } = death;
    if (connected && !death.restarted) return 'look again';
    const believed = connected === undefined && started + CLOCKS_MS < endedAt;
    const dead = epoch !== undefined && (connected === false || believed);
    // first, so that whoever gets a task back and gives it up can say why; and where somebody else was faster, too
    if (dead || (death.only && why === 'lost'))
      await within(ANSWER_MS, writeExitReason(redis, keys, worker, words), 'SET').catch(() => undefined);
    let verdict: Verdict = 'nothing to do';
    if (dead) {
      // without a connection nothing of it can be blocked in Redis either: no grave
      const graveMs = connected === false ? 0 : undefined;
      const tasks = await within(ANSWER_MS, reap(redis, keys, worker, epoch, why, graveMs), 'reap');
      if (tasks !== undefined) {
        verdict = 'recovered';
        log.warn({ pool, worker, tasks, reason: words }, 'a worker ended; its tasks are back in the queue');
        onRecovered(pool, death, tasks);
      }
    }
    return verdict;
  }

  /** Never rejects. */
  async function begin(pool: string, death: Death, called: 'any name' | undefined): Promise<void> {
    // a controller that has just begun hears of pods before it knows where their queues are
    let found = queuesOf(pool);
    for (let waited = 0; !found && waited < LOOK_FOR_MS && !signal.aborted; waited += LONGEST_PAUSE_MS) {
      await clock.sleep(LONGEST_PAUSE_MS, signal);
      found = queuesOf(pool);
    }
    if (!found || signal.aborted) return;
    const { redis, queues } = found;
    for (const keys of queues) {
      const names = called ? await namesOf(redis, keys, death.worker) : [death.worker];
      for (const worker of names) open(pool, redis, keys, { ...death, worker });
    }
  }

  function open(pool: string, redis: Redis, keys: QueueKeys, death: Death): void {
    const ward = wards.get(redis) ?? { cases: [], working: false, pause: new AbortController() };
    wards.set(redis, ward);
    const now = clock.elapsed();
    ward.cases.push({ pool, keys, death, since: now, nextAt: now });
    ward.pause.abort();
    if (ward.working) return;
    ward.working = true;
    void work(redis, ward);
  }

  return {
    died: (pool, death, called) => void begin(pool, death, called),
  };
}

/** The registered workers of a pod. Never rejects: what is not found is left to its lease. */
async function namesOf(redis: Redis, keys: QueueKeys, pod: string): Promise<string[]> {
  const all = await within(ANSWER_MS, readCrew(redis, keys), 'the look at workers').catch(() => []);
  return all.map(({ id }) => id).filter((id) => mayRunIn(id, pod));
}
