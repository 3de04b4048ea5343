/**
 * `controller/report/` takes what a reconcile saw and did and returns status, conditions and events for people. It reads no
 * queue and scales nothing.
 *
 * Tells the world what a reconcile saw and did: the pool's status (written when it differs; mere counters at most every
 * NUMBERS_MS), events for what was scaled and for conditions that turned, metrics and a line in the log.
 */
import { isDeepStrictEqual } from 'node:util';
import type { KubeApi } from '../../kube/api.ts';
import type { Observed } from '../../kube/conditions.ts';
import type { EventRecorder, Occurrence } from '../../kube/events.ts';
import { keyOf } from '../../kube/watch.ts';
import { GROUP, KIND, VERSION, type WorkerPool, type WorkerPoolStatus } from '../../kube/workerpool.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { within } from '../../queue/connection/connection.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Decision } from '../decide/decision.ts';
import type { GraceChange } from '../act/deployment-target.ts';
import type { QueueLink } from '../sample/sampler.ts';
import type { ControllerMetrics } from '../observe/metrics.ts';
import { lookForPoison, type PoisonSeen } from './poison.ts';
import { onlyNumbersChanged } from './status.ts';
import type { Held } from '../act/scale-in.ts';
import type { Step } from '../act/step.ts';
import { createTurns } from './rate-limit.ts';

export interface ReportDeps {
  readonly api: KubeApi;
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The status that was written last, and when by the monotonic clock: a watch may still show the one before. */
export interface Written {
  readonly status: WorkerPoolStatus;
  readonly at: number;
  /** When numbers that have changed since may be written. */
  readonly turn?: number;
}

/** Mere counters are written so often at most: for one pool, and for all of them together. */
const NUMBERS_MS = 2_000;
const NUMBERS_GAP_MS = 50;
const POISON_MS = 1_000;

export interface Reporter {
  /** Says that replicas were changed, if they were. */
  scaled(pool: WorkerPool, step: Step): void;
  /** Says that what was learned had to be forgotten, if it had. */
  forgot(pool: WorkerPool, decision: Decision): void;
  /** Says why replicas in excess stay. */
  held(pool: WorkerPool, held: Held): void;
  /** Says that the pods get another grace period, or why they do not yet; `missing`: what was told before. */
  grace(pool: WorkerPool, change: GraceChange | undefined, missing: number | undefined): void;
  /** Writes `status`. Returns what was written last now, and after how many ms to come back for what can wait. */
  status(
    pool: WorkerPool,
    before: Written | undefined,
    status: WorkerPoolStatus,
  ): Promise<{ written: Written | undefined; comeBack: number | undefined }>;
  /** Tells of tasks that were given up since `seen`. What cannot be looked at now is looked at with the next sample. */
  poison(
    pool: WorkerPool,
    link: QueueLink,
    sample: PoolSample,
    seen: PoisonSeen | undefined,
  ): Promise<PoisonSeen | undefined>;
  event(pool: WorkerPool, occurrence: Occurrence): void;
}

/** Records an event about a pool. What a watch stores has neither API version nor kind. */
export function recordOf(events: EventRecorder, pool: WorkerPool, occurrence: Occurrence): void {
  events.record({ ...pool, apiVersion: `${GROUP}/${VERSION}`, kind: KIND }, occurrence);
}

export function createReporter(deps: ReportDeps): Reporter {
  const { api, metrics, clock, log, signal } = deps;
  const turns = createTurns(NUMBERS_MS, NUMBERS_GAP_MS);

  const event = (pool: WorkerPool, occurrence: Occurrence): void => recordOf(deps.events, pool, occurrence);

  return {
    event,
    scaled: (pool, { scaled, decision }) => {
      if (!scaled) return;
      const up = scaled.to > scaled.from;
      metrics.scaled(up ? 'up' : 'down', decision.cause);
      log.info({ pool: keyOf(pool), decision: decision.reason }, 'scaled');
      const reason = up ? 'ScaledUp' : 'ScaledDown';
      event(pool, { type: 'Normal', reason, action: 'Scale', note: decision.reason });
    },
    forgot: (pool, { forgot, reason }) => {
      if (forgot === undefined) return;
      metrics.forgotten();
      log.error({ pool: keyOf(pool), decision: reason, why: forgot }, 'what a pool learned made no sense');
    },
    held: (pool, { message }) => {
      log.info({ pool: keyOf(pool), why: message }, 'scale-in is held');
      const note = `Scale-in waits: ${message}.`;
      event(pool, { type: 'Normal', reason: 'ScaleInHeld', action: 'Scale', note });
    },
    grace: (pool, change, told) => {
      if (!change) return;
      const { from, to, missing } = change;
      if (to !== from) {
        const note = `Pods get ${to} s to end instead of ${from} s, by what tasks took lately.`;
        event(pool, { type: 'Normal', reason: 'GracePeriodChanged', action: 'Apply', note });
      }
      if (missing === undefined || missing === told) return;
      const note =
        `Tasks take longer than the ${from} s that pods have to end. They get ${missing} s once nothing is in flight, or ` +
        'with the next change of the template; set terminationGracePeriodSeconds there to have it now.';
      event(pool, { type: 'Normal', reason: 'GracePeriodShort', action: 'Apply', note });
    },
    poison: async (pool, { sampler, queues }, sample, seen) => {
      const looked = lookForPoison(sampler.redis, queues, sample, seen);
      const found = await within(POISON_MS, looked, 'the look at dead letters').catch(() => undefined);
      if (!found) return seen;
      for (const note of found.news)
        event(pool, { type: 'Warning', reason: 'TaskGivenUp', action: 'Recover', note });
      return found.seen;
    },
    status: async (pool, last, status) => {
      const before = last?.status ?? pool.status;
      const { namespace, name } = pool.metadata;
      metrics.pools.status(pool, status);
      for (const occurrence of turned(before?.conditions ?? [], status.conditions ?? []))
        event(pool, occurrence);
      for (const occurrence of scheduled(before?.schedules ?? [], status.schedules ?? []))
        event(pool, occurrence);
      if (before && isDeepStrictEqual(before, status)) return { written: last, comeBack: undefined };
      if (last && onlyNumbersChanged(last.status, status)) {
        const now = clock.elapsed();
        const turn = last.turn ?? turns.next(last.at, now);
        if (turn > now) return { written: { ...last, turn }, comeBack: turn - now };
      }
      await api.pools.patchStatus({ namespace, name }, status, { signal });
      return { written: { status, at: clock.elapsed() }, comeBack: undefined };
    },
  };
}

function scheduled(before: readonly string[], after: readonly string[]): Occurrence[] {
  const told = (names: readonly string[], reason: string, what: string): Occurrence[] =>
    names.map((name) => ({ type: 'Normal', reason, action: 'Scale', note: `Schedule "${name}" ${what}.` }));
  return [
    ...told(
      after.filter((name) => !before.includes(name)),
      'ScheduleBegan',
      'has begun',
    ),
    ...told(
      before.filter((name) => !after.includes(name)),
      'ScheduleEnded',
      'has ended',
    ),
  ];
}

/** A condition says how it is now; the event says when it became so. What two of them say is told once. */
function turned(before: readonly Observed[], after: readonly Observed[]): Occurrence[] {
  const told = after.flatMap(({ type, status, reason, message }): Occurrence[] => {
    if (type === 'EvictionPossible' && !before.some((condition) => condition.type === type))
      return [{ type: 'Warning', reason: type, action: 'Sample', note: message }];
    if (
      (type === 'ForeignPods' || type === 'QueueShared' || type === 'ReplicasApplied') &&
      !before.some((condition) => condition.type === type)
    )
      return [{ type: 'Warning', reason: type, action: 'Scale', note: message }];
    const old = before.find((condition) => condition.type === type);
    if (type === 'TargetMissed' && status === 'True' && (old?.status !== 'True' || old.reason !== reason))
      return [{ type: 'Warning', reason: type, action: 'Scale', note: message }];
    if (type === 'Ready' && status === 'True' && old && (old.reason === 'Paused') !== (reason === 'Paused'))
      return [
        {
          type: 'Normal',
          reason: reason === 'Paused' ? 'Paused' : 'Resumed',
          action: 'Scale',
          note: message,
        },
      ];
    if (type !== 'RedisReachable' && type !== 'Ready') return [];
    if (status === 'False' && (old?.status !== 'False' || old.reason !== reason))
      return [{ type: 'Warning', reason, action: 'Reconcile', note: message }];
    if (type === 'RedisReachable' && status === 'True' && old?.status === 'False')
      return [
        { type: 'Normal', reason: 'RedisRecovered', action: 'Sample', note: 'The queue is read again.' },
      ];
    return [];
  });
  return told.filter(({ note }, i) => told.findIndex((other) => other.note === note) === i);
}
