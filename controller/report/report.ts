/**
 * `controller/report/` takes what a reconcile saw and did and returns status, conditions and events for people. It reads no
 * queue and scales nothing.
 *
 * Reports a reconcile: the pool's status (written if it differs; mere counters at most every NUMBERS_MS), events for changes of
 * replicas and of conditions, metrics and a log line.
 */
import { isDeepStrictEqual } from 'node:util';
import type { KubeApi } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import type { EventRecorder, Occurrence } from '../../kube/events.ts';
import { keyOf } from '../../kube/watch.ts';
import { GROUP, KIND, VERSION, type WorkerPool, type WorkerPoolStatus } from '../../kube/workerpool.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { within } from '../../queue/connection/connection.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Decision } from '../decide/decision.ts';
import type { GraceChange } from '../act/owned-deployment.ts';
import type { QueueLink } from '../sample/sampler.ts';
import type { ControllerMetrics } from '../observe/metrics.ts';
import { conditionEvents, scheduleEvents } from './change-events.ts';
import { findPoison, type PoisonSeen } from './poison.ts';
import { onlyNumbersChanged } from './status.ts';
import type { ScaleInHold } from '../act/scale-in.ts';
import type { Step } from '../act/step.ts';
import { createRateLimit } from './rate-limit.ts';

export interface ReportDeps {
  readonly api: KubeApi;
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The status that was written last, and when, by the monotonic clock: a watch may still show an older one. */
export interface WrittenStatus {
  readonly status: WorkerPoolStatus;
  readonly at: number;
  /** When numbers that have changed since then may be written. */
  readonly turn?: number;
  /** Why the API server refused it, if it did. */
  readonly refusal?: string;
}

/** The minimum intervals between writes of mere counters: for one pool, and across all pools. */
const NUMBERS_MS = 2_000;
const NUMBERS_GAP_MS = 50;
/** A status that was refused is written again after this long, or when the pool itself has changed. */
const REFUSED_RETRY_MS = 60_000;
const DEAD_LETTERS_TIMEOUT_MS = 1_000;

/** The state of this stage for a pool, from one reconcile to the next. */
export interface ReportState {
  written: WrittenStatus | undefined;
  poison: PoisonSeen | undefined;
  /** Why excess replicas stay, as last reported. */
  held: ScaleInHold['reason'] | undefined;
  /** The longer grace period that pods do not have yet, as last reported, s. */
  graceMissing: number | undefined;
}

export function initialReportState(): ReportState {
  return { written: undefined, poison: undefined, held: undefined, graceMissing: undefined };
}

export interface Reporter {
  /**
   * Reports a step in events, the log and metrics: replicas that were changed or are held, a grace period that has changed or is
   * pending, and a memory that was discarded.
   */
  stepped(pool: WorkerPool, step: Step, grace: GraceChange | undefined, state: ReportState): void;
  /**
   * Writes `status`. Returns after how many ms the deferred part is due, if any. Rejects if the API server fails, but not if it
   * refuses this status: an event reports that, and the pool is scaled nevertheless.
   */
  status(pool: WorkerPool, status: WorkerPoolStatus, state: ReportState): Promise<number | undefined>;
  /**
   * Reports tasks that were given up since the last call. If they cannot be read now, the next sample triggers another attempt.
   */
  poison(pool: WorkerPool, link: QueueLink, sample: PoolSample, state: ReportState): Promise<void>;
  event(pool: WorkerPool, occurrence: Occurrence): void;
}

/** Records an event about a pool. Adds API version and kind, which objects of a watch do not have. */
export function recordOf(events: EventRecorder, pool: WorkerPool, occurrence: Occurrence): void {
  events.record({ ...pool, apiVersion: `${GROUP}/${VERSION}`, kind: KIND }, occurrence);
}

export function createReporter(deps: ReportDeps): Reporter {
  const { api, metrics, clock, log, signal } = deps;
  const limit = createRateLimit(NUMBERS_MS, NUMBERS_GAP_MS);

  const event = (pool: WorkerPool, occurrence: Occurrence): void => recordOf(deps.events, pool, occurrence);

  function scaled(pool: WorkerPool, { scaled: change, decision }: Step): void {
    if (!change) return;
    const up = change.to > change.from;
    metrics.scaled(up ? 'up' : 'down', decision.cause);
    log.info({ pool: keyOf(pool), decision: decision.reason }, 'scaled');
    const reason = up ? 'ScaledUp' : 'ScaledDown';
    event(pool, { type: 'Normal', reason, action: 'Scale', note: decision.reason });
  }

  function forgot(pool: WorkerPool, { forgot: why, reason }: Decision): void {
    if (why === undefined) return;
    metrics.forgotten();
    log.error(
      { pool: keyOf(pool), decision: reason, why },
      'what a pool had learned made no sense and was discarded',
    );
  }

  function held(pool: WorkerPool, { message }: ScaleInHold): void {
    log.info({ pool: keyOf(pool), why: message }, 'scale-in is held');
    const note = `Scale-in waits: ${message}.`;
    event(pool, { type: 'Normal', reason: 'ScaleInHeld', action: 'Scale', note });
  }

  /** `reported`: the missing grace period of the last event. */
  function graced(pool: WorkerPool, { from, to, missing }: GraceChange, reported: number | undefined): void {
    if (to !== from) {
      const note = `Pods get ${to} s to terminate instead of ${from} s, by recent service times.`;
      event(pool, { type: 'Normal', reason: 'GracePeriodChanged', action: 'Apply', note });
    }
    if (missing === undefined || missing === reported) return;
    const note =
      `Tasks take longer than the ${from} s that pods have to terminate. They get ${missing} s once nothing is in flight, or ` +
      'with the next change of the template; to apply it now, set terminationGracePeriodSeconds there.';
    event(pool, { type: 'Normal', reason: 'GracePeriodShort', action: 'Apply', note });
  }

  function eventsOf(pool: WorkerPool, before: WorkerPoolStatus | undefined, status: WorkerPoolStatus): void {
    for (const occurrence of conditionEvents(before?.conditions ?? [], status.conditions ?? []))
      event(pool, occurrence);
    for (const occurrence of scheduleEvents(before?.schedules ?? [], status.schedules ?? []))
      event(pool, occurrence);
  }

  /**
   * Returns why the API server refuses the status, if it does. Before Kubernetes 1.33, a status is refused for whatever in `spec`
   * breaks a rule that the definition did not have when the pool was stored.
   */
  async function write(pool: WorkerPool, status: WorkerPoolStatus): Promise<string | undefined> {
    const { namespace, name } = pool.metadata;
    try {
      await api.pools.patchStatus({ namespace, name }, status, { signal });
      return undefined;
    } catch (error) {
      if (error instanceof KubeError && error.status === 422) return error.message;
      throw error;
    }
  }

  function refused(pool: WorkerPool, why: string): void {
    log.warn({ pool: keyOf(pool), why }, 'the status is refused');
    const note = `The status stays as it was, though the pool is scaled: ${why}`;
    event(pool, { type: 'Warning', reason: 'StatusRefused', action: 'Reconcile', note });
  }

  return {
    event,
    stepped: (pool, step, grace, state) => {
      if (step.held && step.held.reason !== state.held) held(pool, step.held);
      state.held = step.held?.reason;
      if (grace) graced(pool, grace, state.graceMissing);
      state.graceMissing = grace?.missing;
      forgot(pool, step.decision);
      scaled(pool, step);
    },
    poison: async (pool, { sampler, queues }, sample, state) => {
      const reading = findPoison(sampler.redisOf, queues, sample, state.poison);
      const found = await within(DEAD_LETTERS_TIMEOUT_MS, reading, 'reading dead letters').catch(
        () => undefined,
      );
      if (!found) return;
      for (const note of found.news)
        event(pool, { type: 'Warning', reason: 'TaskGivenUp', action: 'Recover', note });
      state.poison = found.seen;
    },
    status: async (pool, status, state) => {
      const last = state.written;
      const before = last?.status ?? pool.status;
      metrics.pools.status(pool, status);
      eventsOf(pool, before, status);
      const restMs = restOfRefusal(last, status, clock.elapsed());
      if (last && restMs > 0) {
        state.written = { ...last, status };
        return restMs;
      }
      const accepted = last?.refusal === undefined;
      if (accepted && before && isDeepStrictEqual(before, status)) return undefined;
      if (accepted && last && onlyNumbersChanged(last.status, status)) {
        const now = clock.elapsed();
        const turn = last.turn ?? limit.next(last.at, now);
        if (turn > now) {
          state.written = { ...last, turn };
          return turn - now;
        }
      }
      const refusal = await write(pool, status);
      if (refusal !== undefined && refusal !== last?.refusal) refused(pool, refusal);
      state.written = { status, at: clock.elapsed(), ...(refusal === undefined ? {} : { refusal }) };
      return refusal === undefined ? undefined : REFUSED_RETRY_MS;
    },
  };
}

/** How much longer to wait before the status of this pool is written again, ms; 0 or less to write it now. */
function restOfRefusal(last: WrittenStatus | undefined, status: WorkerPoolStatus, now: number): number {
  const same = last?.status.observedGeneration === status.observedGeneration;
  return last?.refusal !== undefined && same ? last.at + REFUSED_RETRY_MS - now : 0;
}
