/** A pool's `status`, from the results of one reconcile. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { mergeConditions, type ObservedCondition } from '../../kube/conditions.ts';
import { queuesOf, type CronStatus, type WorkerPool, type WorkerPoolStatus } from '../../kube/workerpool.ts';
import type { Replicas } from '../act/target.ts';
import { isPartitioned, textOf } from '../connect/partitions.ts';
import type { Cause, Decision } from '../decide/decision.ts';
import { poolConditions, type ConditionsInput } from './conditions.ts';
import { learnedStatus } from './target-status.ts';

export interface StatusInput extends ConditionsInput {
  readonly selector: string | undefined;
  /** Of the pool's own Deployment: fingerprints of what was applied, and of what the API server made of it. */
  readonly applied?: { readonly wanted: string; readonly made: string } | undefined;
  /** `undefined` where they could not be looked at: what was known stays. */
  readonly crons?: readonly CronStatus[] | undefined;
  /** The limits that its queues have of it, human-readable; `undefined` where that is not known. */
  readonly limits?: { readonly text: string | undefined } | undefined;
  /** That are served. */
  readonly priorities?: readonly string[] | undefined;
  readonly wake: string;
  readonly now: Date;
}

/** The complete status; the caller writes it if it differs from the current one. */
export function statusOf(input: StatusInput): WorkerPoolStatus {
  const { pool, sampled, step, selector, wake, now } = input;
  const before = pool.status ?? {};
  const generation = pool.metadata.generation ?? 0;
  const observed = poolConditions(input);
  const status: WorkerPoolStatus = {
    ...before,
    observedGeneration: generation,
    queue: queuesOf(pool.spec).join(','),
    wake,
    conditions: mergeConditions(before.conditions ?? [], observed, generation, now),
    ...partitionStatus(input),
    ...priorityStatus(input),
    ...cronStatus(input),
    ...limitsStatus(input),
    ...slotsStatus(input),
    ...(selector !== undefined && { selector }),
    ...(input.applied && { applied: `${input.applied.wanted}.${input.applied.made}` }),
  };
  if (sampled.kind === 'known') {
    const { waiting, inFlight, delayed, dead } = sampled.sample;
    Object.assign(status, { waiting, inFlight, delayed, dead });
  }
  if (!step) return status;
  const { replicas, decision, scaled } = step;
  Object.assign(status, applierStatus(input));
  Object.assign(status, {
    replicas: replicas.existing,
    readyReplicas: replicas.ready,
    desiredReplicas: decision.desired,
    ...learnedStatus(pool, decision),
  });
  if (replicas.parked || before.parkedReplicas !== undefined)
    Object.assign(status, { parkedReplicas: parkedStatus(pool, replicas) });
  if (replicas.terminating !== undefined || before.terminatingReplicas !== undefined)
    Object.assign(status, { terminatingReplicas: replicas.terminating ?? null });
  // in the merge patch of a status, only null removes a field
  if (pool.spec.scaling.targetWait === undefined && before.arrivalRate)
    Object.assign(status, { serviceTime: null, startTime: null, arrivalRate: null });
  const { on } = decision.bounds;
  if (on.length > 0 || before.schedules) Object.assign(status, { schedules: on.length > 0 ? on : null });
  const resized = (step.park?.woken ?? 0) + (step.park?.parked ?? 0) > 0;
  if (scaled || resized) Object.assign(status, { lastScaleTime: now.toISOString().replace(/\.\d+Z$/, 'Z') });
  // its numbers change all the time: the reason is updated only with the decision
  const turned = isQueuePaused(observed) !== isQueuePaused(before.conditions ?? []);
  if (scaled || resized || turned || !before.lastDecision || causeChanged(before, decision))
    Object.assign(status, { lastDecision: decision.reason, lastCause: decision.cause });
  return status;
}

/** Another controller goes on from it. */
function slotsStatus({ pool: { status }, step }: StatusInput): object {
  if (!step) return {};
  const { slots } = step.decision.numbers;
  if (slots) return { slots: slots.each, slotsReason: slots.why };
  return status?.slots === undefined ? {} : { slots: null, slotsReason: null };
}

function limitsStatus({ pool: { status }, limits }: StatusInput): object {
  if (!limits) return {};
  const { text } = limits;
  return text === undefined ? (status?.limits === undefined ? {} : { limits: null }) : { limits: text };
}

/** Another controller reads from it that some are left, where the pool no longer parks any. */
function parkedStatus({ spec }: WorkerPool, { parked }: Replicas): number | null {
  const count = parked ? parked.parked : 0;
  return spec.parked || count > 0 ? count : null;
}

function cronStatus({ pool: { spec, status }, crons }: StatusInput): object {
  if (!spec.crons || spec.crons.length === 0) return status?.crons ? { crons: null } : {};
  return crons ? { crons } : {};
}

/** What the next controller continues with; nothing for a queue that never had partitions. */
function partitionStatus({ pool: { status }, partitions }: StatusInput): object {
  if (!partitions) return {};
  const { served, workers } = partitions.numbers;
  if (isPartitioned(partitions.numbers)) return { partitions: served, workerPartitions: textOf(workers) };
  return status?.partitions ? { partitions: null, workerPartitions: null } : {};
}

/** Likewise; nothing for a queue that never had priorities. */
function priorityStatus({ pool: { status }, priorities = [] }: StatusInput): object {
  if (priorities.length > 0) return { priorities };
  return status?.priorities ? { priorities: null } : {};
}

/**
 * The applier of replicas, for the next controller: once the pool has overwritten the number, the Deployment no longer shows who
 * applied it. A client-side apply leaves an annotation, which does.
 */
function applierStatus({ pool, applier }: StatusInput): object {
  const kept = pool.spec.scaleTargetRef && applier?.refused ? applier : undefined;
  if (!kept && !pool.status?.replicasApplier) return {};
  return { replicasApplier: kept ? { manager: kept.manager, ...(kept.at && { time: kept.at }) } : null };
}

/** The number of replicas may stay for a while, but no longer for the reason that is shown. */
function isQueuePaused(conditions: readonly ObservedCondition[]): boolean {
  return conditions.some(({ type }) => type === 'QueuePaused');
}

function causeChanged(before: WorkerPoolStatus, decision: Decision): boolean {
  return (
    before.desiredReplicas !== decision.desired ||
    !isDeepStrictEqual(before.schedules ?? [], decision.bounds.on) ||
    // the queue can be read again, or the pause has ended
    (decision.cause !== 'Fallback' && !wentByQueue(before)) ||
    decision.cause === 'Unknown' ||
    decision.cause === 'Paused' ||
    // the reason of a scale-in contains its progress
    decision.cause === 'ScaleDown'
  );
}

/** Whether the last decision was based on the queue. A status of an older version has no cause, so conditions are used. */
function wentByQueue({ lastCause, conditions = [] }: WorkerPoolStatus): boolean {
  const without: readonly Cause[] = ['Unknown', 'Fallback', 'Paused'];
  const of = (type: string): ObservedCondition | undefined =>
    conditions.find((condition) => condition.type === type);
  return !(
    without.some((cause) => cause === lastCause) ||
    of('Ready')?.reason === 'Paused' ||
    of('RedisReachable')?.status === 'False'
  );
}

/** Whether a write can be deferred: only counters of tasks differ, or numbers learned from them. */
export function onlyNumbersChanged(before: WorkerPoolStatus, after: WorkerPoolStatus): boolean {
  return isDeepStrictEqual(withoutNumbers(before), withoutNumbers(after));
}

const NUMBERS_IN = new Set(['TargetMissed', 'PartitionsLeft', 'PartitionsUnserved', 'PrioritiesUnserved']);

function withoutNumbers(status: WorkerPoolStatus): object {
  const learned = { serviceTime: undefined, startTime: undefined, arrivalRate: undefined };
  const conditions = status.conditions?.map((condition) =>
    // their messages contain numbers
    NUMBERS_IN.has(condition.type) ? { ...condition, message: '' } : condition,
  );
  return { ...status, waiting: 0, inFlight: 0, delayed: 0, dead: 0, ...learned, conditions };
}
