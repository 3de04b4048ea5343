/** What a pool's `status` says, from what one reconcile saw and did. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { mergeConditions, sentence, type Observed } from '../../kube/conditions.ts';
import { queuesOf, type WorkerPool, type WorkerPoolStatus } from '../../kube/workerpool.ts';
import type { Cause, Decision } from '../decide/decision.ts';
import type { Applier } from '../act/other-writers.ts';
import { annotatedPauseOf } from '../decide/pause.ts';
import type { Trouble } from './terminal-error.ts';
import type { Sampled } from '../sample/sampled.ts';
import type { Step } from '../act/step.ts';
import { learnedStatus, targetCondition } from './target-status.ts';

export interface Seen {
  readonly pool: WorkerPool;
  readonly sampled: Sampled;
  readonly step: Step | undefined;
  readonly trouble: Trouble | undefined;
  readonly selector: string | undefined;
  /** Of the pool's own Deployment: fingerprints of what was applied, and of what came of it. */
  readonly applied?: { readonly wanted: string; readonly made: string } | undefined;
  readonly wake: string;
  /** The newest task that was given up because its workers were lost. */
  readonly poison: string | undefined;
  /** Pods that look like the pool's and are not, by name. */
  readonly strays?: readonly string[] | undefined;
  /** Other pools on one of its queues, in words. */
  readonly sharing?: string | undefined;
  /** Who applies replicas to the adopted Deployment as well. */
  readonly applier?: Applier | undefined;
  /** Why Redis may lose tasks by itself, in words. */
  readonly evictionRisk?: string | undefined;
  readonly now: Date;
}

/** The whole status; the caller writes it when it differs from what is there. */
export function statusOf(seen: Seen): WorkerPoolStatus {
  const { pool, sampled, step, selector, wake, now } = seen;
  const before = pool.status ?? {};
  const generation = pool.metadata.generation ?? 0;
  const status: WorkerPoolStatus = {
    ...before,
    observedGeneration: generation,
    queue: queuesOf(pool.spec).join(','),
    wake,
    conditions: mergeConditions(before.conditions ?? [], conditionsOf(seen), generation, now),
  };
  if (sampled.kind === 'known') {
    const { waiting, inFlight, delayed, dead } = sampled.sample;
    Object.assign(status, { waiting, inFlight, delayed, dead });
  }
  if (selector !== undefined) status.selector = selector;
  if (seen.applied) status.applied = `${seen.applied.wanted}.${seen.applied.made}`;
  if (!step) return status;
  const { replicas, decision, scaled } = step;
  Object.assign(status, {
    replicas: replicas.existing,
    readyReplicas: replicas.ready,
    desiredReplicas: decision.desired,
    ...learnedStatus(pool, decision),
  });
  if (replicas.terminating !== undefined || before.terminatingReplicas !== undefined)
    Object.assign(status, { terminatingReplicas: replicas.terminating ?? null });
  // in the merge patch of a status, only null takes a field away
  if (pool.spec.scaling.targetWait === undefined && before.arrivalRate)
    Object.assign(status, { serviceTime: null, startTime: null, arrivalRate: null });
  const { on } = decision.bounds;
  if (on.length > 0 || before.schedules) Object.assign(status, { schedules: on.length > 0 ? on : null });
  if (scaled) status.lastScaleTime = now.toISOString().replace(/\.\d+Z$/, 'Z');
  // numbers change all the time; the words change with the decision
  if (scaled || !before.lastDecision || causeChanged(before, decision))
    Object.assign(status, { lastDecision: decision.reason, lastCause: decision.cause });
  return status;
}

function causeChanged(before: WorkerPoolStatus, decision: Decision): boolean {
  return (
    before.desiredReplicas !== decision.desired ||
    !isDeepStrictEqual(before.schedules ?? [], decision.bounds.on) ||
    // the queue can be read again, or the pause is over
    (decision.cause !== 'Fallback' && !wentByQueue(before)) ||
    decision.cause === 'Unknown' ||
    decision.cause === 'Paused' ||
    // how far a scale-in has come is part of its words
    decision.cause === 'ScaleDown'
  );
}

/** Whether the last decision went by the queue. Conditions say it, too, where no cause is kept: an older version wrote the status. */
function wentByQueue({ lastCause, conditions = [] }: WorkerPoolStatus): boolean {
  const without: readonly Cause[] = ['Unknown', 'Fallback', 'Paused'];
  const of = (type: string): Observed | undefined => conditions.find((condition) => condition.type === type);
  return !(
    without.some((cause) => cause === lastCause) ||
    of('Ready')?.reason === 'Paused' ||
    of('RedisReachable')?.status === 'False'
  );
}

function conditionsOf({
  pool,
  sampled,
  step,
  trouble,
  poison,
  evictionRisk,
  strays = [],
  sharing,
  applier,
}: Seen): Observed[] {
  const redis = redisCondition(sampled);
  return [
    readyCondition(pool, redis, step, trouble),
    redis,
    activeCondition(step),
    limitedCondition(step),
    poisonCondition(poison),
    ...targetCondition(pool, step?.decision),
    ...evictionCondition(evictionRisk),
    ...straysCondition(strays),
    ...sharingCondition(sharing),
    ...applierCondition(pool, applier),
  ];
}

/** There only while it is so: most people never need to know of it. */
function evictionCondition(risk: string | undefined): Observed[] {
  if (risk === undefined) return [];
  const message = sentence(risk);
  return [{ type: 'EvictionPossible', status: 'True', reason: 'MaxmemoryPolicy', message }];
}

/** There only while it is so, as well. */
function straysCondition([first, ...more]: readonly string[]): Observed[] {
  if (first === undefined) return [];
  const message =
    more.length === 0
      ? `Pod ${first} has the labels of the pool's pods and is not its Deployment's own: it counts for nothing here.`
      : `Pod ${first} and ${more.length} more have the labels of the pool's pods and are not its Deployment's own: they count for nothing here.`;
  return [{ type: 'ForeignPods', status: 'True', reason: 'NotOwned', message }];
}

function sharingCondition(others: string | undefined): Observed[] {
  if (others === undefined) return [];
  const message = `A queue of this pool is a queue of other pools as well (${others}): each of them has replicas for all that is in it.`;
  return [{ type: 'QueueShared', status: 'True', reason: 'OtherPools', message }];
}

function applierCondition({ spec }: WorkerPool, applier: Applier | undefined): Observed[] {
  const name = spec.scaleTargetRef?.name;
  if (name === undefined || applier === undefined) return [];
  const { manager, refused } = applier;
  const harm = refused
    ? 'an apply is refused with a conflict, or, forced, sets its number until the pool sets its own again'
    : 'each apply sets its number until the pool sets its own again';
  const message = `What "${manager}" applies to Deployment "${name}" sets spec.replicas, which this pool scales: ${harm}. Leave replicas out of that manifest.`;
  return [{ type: 'ReplicasApplied', status: 'True', reason: 'OtherManager', message }];
}

function redisCondition(sampled: Sampled): Observed {
  const type = 'RedisReachable';
  if (sampled.kind === 'known')
    return { type, status: 'True', reason: 'Sampled', message: 'The queue is read regularly.' };
  const unread = sampled.reason === 'NotSampledYet' || sampled.reason === 'Quarantined';
  const status = unread ? 'Unknown' : 'False';
  return { type, status, reason: sampled.reason, message: sentence(sampled.why) };
}

function readyCondition(
  pool: WorkerPool,
  redis: Observed,
  step: Step | undefined,
  trouble: Trouble | undefined,
): Observed {
  const type = 'Ready';
  if (trouble) return { type, status: 'False', reason: trouble.reason, message: sentence(trouble.message) };
  if (redis.status === 'False')
    return { type, status: 'False', reason: `Redis${redis.reason}`, message: redis.message };
  if (redis.status === 'Unknown' || !step)
    return { type, status: 'Unknown', reason: 'NotSampledYet', message: 'The queue was not read yet.' };
  const { replicas, decision } = step;
  if (replicas.trouble && replicas.ready < decision.desired)
    return { type, status: 'False', reason: 'WorkersFailing', message: sentence(replicas.trouble) };
  if (decision.cause === 'Paused')
    return { type, status: 'True', reason: 'Paused', message: pausedWords(pool) };
  if (pool.spec.mode === 'DryRun')
    return {
      type,
      status: 'True',
      reason: 'DryRun',
      message: `Nothing is scaled: mode is DryRun. Decision: ${decision.reason}.`,
    };
  return { type, status: 'True', reason: 'Scaling', message: 'The pool is scaled by its queue.' };
}

function pausedWords(pool: WorkerPool): string {
  const pause = annotatedPauseOf(pool);
  const what = pause?.replicas === undefined ? 'left as they are' : `kept at ${pause.replicas}`;
  return `Replicas are ${what}: ${pause ? `so says ${pause.by}` : 'mode is Paused'}.`;
}

function activeCondition(step: Step | undefined): Observed {
  const type = 'Active';
  if (!step)
    return { type, status: 'Unknown', reason: 'NotDecidedYet', message: 'There was no decision yet.' };
  return step.decision.desired > 0
    ? { type, status: 'True', reason: 'Working', message: 'The pool wants replicas.' }
    : { type, status: 'False', reason: 'Idle', message: 'Nothing to do: the pool is at zero.' };
}

function limitedCondition(step: Step | undefined): Observed {
  const type = 'ScalingLimited';
  const { limited, bounds } = step?.decision ?? {};
  if (limited === 'max') {
    const message = `The queue asks for more than maxReplicas ${bounds?.maxReplicas}${by(bounds?.maxBy)}: raise it to work faster.`;
    return { type, status: 'True', reason: 'MaxReplicas', message };
  }
  if (limited === 'min')
    return {
      type,
      status: 'True',
      reason: 'MinReplicas',
      message: `The queue asks for less than minReplicas ${bounds?.minReplicas}${by(bounds?.minBy)}.`,
    };
  return {
    type,
    status: 'False',
    reason: 'WithinBounds',
    message: 'Neither minReplicas nor maxReplicas decides.',
  };
}

function by(schedule: string | undefined): string {
  return schedule === undefined ? '' : ` of schedule "${schedule}"`;
}

function poisonCondition(poison: string | undefined): Observed {
  const type = 'PoisonTasks';
  if (poison !== undefined) return { type, status: 'True', reason: 'WorkersLost', message: poison };
  const message = 'No task was given up because its workers were lost.';
  return { type, status: 'False', reason: 'None', message };
}

/** Whether a write can wait: only counters of tasks differ, or what was learned of them. */
export function onlyNumbersChanged(before: WorkerPoolStatus, after: WorkerPoolStatus): boolean {
  return isDeepStrictEqual(withoutNumbers(before), withoutNumbers(after));
}

function withoutNumbers(status: WorkerPoolStatus): object {
  const learned = { serviceTime: undefined, startTime: undefined, arrivalRate: undefined };
  const conditions = status.conditions?.map((condition) =>
    // its advice is made of numbers
    condition.type === 'TargetMissed' ? { ...condition, message: '' } : condition,
  );
  return { ...status, waiting: 0, inFlight: 0, delayed: 0, dead: 0, ...learned, conditions };
}
