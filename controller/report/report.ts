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
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { within } from '../../queue/connection/connection.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { GraceChange } from '../act/owned-deployment.ts';
import type { QueueLink } from '../sample/sampler.ts';
import type { ControllerMetrics } from '../observe/metrics.ts';
import {
  announceChanges,
  announceForgotten,
  announceGrace,
  announceHold,
  announceRefusal,
  announceParked,
  announceScaling,
  recordEvent,
} from './announce.ts';
import { findPoison, type PoisonSeen } from './poison.ts';
import { onlyNumbersChanged } from './status.ts';
import type { ScaleInHold } from '../act/scale-in.ts';
import type { Step } from '../act/step.ts';
import { createRateLimit, type RateLimit } from './rate-limit.ts';

export interface ReportDeps {
  readonly api: KubeApi;
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** The number of pools that wait to be reconciled, and a way to be reconciled after them. */
  readonly backlog: () => number;
  readonly reconcileLast: (key: string) => void;
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
/** While more pools than this are to be reconciled, first statuses wait, but no longer than that. */
const FEW = 100;
const LONGEST_WAIT_MS = 120_000;
/** A status that was refused is written again after this long, or when the pool itself has changed. */
const REFUSED_RETRY_MS = 60_000;
const DEAD_LETTERS_TIMEOUT_MS = 1_000;

/** The state of this stage for a pool, from one reconcile to the next. */
export interface ReportState {
  written: WrittenStatus | undefined;
  /** A write has failed, and may have arrived all the same: what is there is not known. */
  isUnsure: boolean;
  /** Since when the first status waits until there are fewer pools to be reconciled, ms of the elapsed clock. */
  firstSince: number | undefined;
  poison: PoisonSeen | undefined;
  /** Why excess replicas stay, as last reported. */
  held: ScaleInHold['reason'] | undefined;
  /** The longer grace period that pods do not have yet, as last reported, s. */
  graceMissing: number | undefined;
  /** Since when tasks wait in partitions that no worker takes from, ms of the elapsed clock. */
  unservedSince: number | undefined;
}

export function initialReportState(): ReportState {
  return {
    written: undefined,
    isUnsure: false,
    firstSince: undefined,
    poison: undefined,
    held: undefined,
    graceMissing: undefined,
    unservedSince: undefined,
  };
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

export function createReporter(deps: ReportDeps): Reporter {
  const limit = createRateLimit(NUMBERS_MS, NUMBERS_GAP_MS);
  return {
    event: (pool, occurrence) => recordEvent(deps.events, pool, occurrence),
    stepped: (pool, step, grace, state) => {
      if (step.held && step.held.reason !== state.held) announceHold(deps, pool, step.held);
      state.held = step.held?.reason;
      if (grace) announceGrace(deps, pool, grace, state.graceMissing);
      state.graceMissing = grace?.missing;
      announceForgotten(deps, pool, step.decision);
      announceScaling(deps, pool, step);
      announceParked(deps, pool, step);
    },
    poison: (pool, link, sample, state) => reportPoison(deps, pool, link, sample, state),
    status: (pool, status, state) => reportStatus(deps, limit, pool, status, state),
  };
}

async function reportPoison(
  { events }: ReportDeps,
  pool: WorkerPool,
  { sampler, queues }: QueueLink,
  sample: PoolSample,
  state: ReportState,
): Promise<void> {
  const reading = findPoison(sampler.redisOf, queues, sample, state.poison);
  const found = await within(DEAD_LETTERS_TIMEOUT_MS, reading, 'reading dead letters').catch(() => undefined);
  if (!found) return;
  for (const note of found.news)
    recordEvent(events, pool, { type: 'Warning', reason: 'TaskGivenUp', action: 'Recover', note });
  state.poison = found.seen;
}

async function reportStatus(
  deps: ReportDeps,
  limit: RateLimit,
  pool: WorkerPool,
  status: WorkerPoolStatus,
  state: ReportState,
): Promise<number | undefined> {
  const { metrics, clock } = deps;
  const { written } = state;
  // one copy is enough for an idle pool
  if (written && pool.status && written.status !== pool.status)
    if (isDeepStrictEqual(written.status, pool.status)) state.written = { ...written, status: pool.status };
  const last = state.written;
  const before = last?.status ?? pool.status;
  metrics.pools.status(pool, status);
  if (!before && isForLater(deps, status, state)) {
    deps.reconcileLast(keyOf(pool));
    return undefined;
  }
  announceChanges(deps, pool, before, status);
  const restMs = restOfRefusal(last, status, clock.elapsed());
  if (last && restMs > 0) {
    state.written = { ...last, status };
    return restMs;
  }
  const isKnown = last?.refusal === undefined && !state.isUnsure;
  if (isKnown && before && isDeepStrictEqual(before, status)) return undefined;
  if (isKnown && last && onlyNumbersChanged(last.status, status)) {
    const now = clock.elapsed();
    const turn = last.turn ?? limit.next(last.at, now);
    if (turn > now) {
      state.written = { ...last, turn };
      return turn - now;
    }
  }
  state.isUnsure = true;
  const refusal = await writeStatus(deps, pool, status);
  state.isUnsure = false;
  if (refusal !== undefined && refusal !== last?.refusal) announceRefusal(deps, pool, refusal);
  state.written = { status, at: clock.elapsed(), ...(refusal === undefined ? {} : { refusal }) };
  return refusal === undefined ? undefined : REFUSED_RETRY_MS;
}

/**
 * Whether the first status is to wait. Where thousands of pools are new, each of them is made before the statuses are written: that of
 * one takes the API server twice as long as its Deployment, and no pool works any sooner for it. One that reports a trouble does not wait.
 */
function isForLater({ clock, backlog }: ReportDeps, status: WorkerPoolStatus, state: ReportState): boolean {
  const isReady = status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True');
  if (!isReady || backlog() <= FEW) return false;
  const now = clock.elapsed();
  state.firstSince ??= now;
  return now - state.firstSince < LONGEST_WAIT_MS;
}

/**
 * Returns why the API server refuses the status, if it does. Before Kubernetes 1.33, a status is refused for whatever in `spec`
 * breaks a rule that the definition did not have when the pool was stored.
 */
async function writeStatus(
  { api, signal }: ReportDeps,
  pool: WorkerPool,
  status: WorkerPoolStatus,
): Promise<string | undefined> {
  const { namespace, name } = pool.metadata;
  try {
    await api.pools.patchStatus({ namespace, name }, status, { signal });
    return undefined;
  } catch (error) {
    if (error instanceof KubeError && error.status === 422) return error.message;
    throw error;
  }
}

/** How much longer to wait before the status of this pool is written again, ms; 0 or less to write it now. */
function restOfRefusal(last: WrittenStatus | undefined, status: WorkerPoolStatus, now: number): number {
  const same = last?.status.observedGeneration === status.observedGeneration;
  return last?.refusal !== undefined && same ? last.at + REFUSED_RETRY_MS - now : 0;
}
