/** A pool's conditions: the aspects of its state, each with a reason for programs and a sentence for people. Pure. */
import { sentence, type ObservedCondition } from '../../kube/conditions.ts';
import { queuesOf, type WorkerPool } from '../../kube/workerpool.ts';
import type { Applier } from '../act/other-writers.ts';
import type { ParkingFailure } from '../act/parked/resize.ts';
import type { Step } from '../act/step.ts';
import { annotatedPauseOf } from '../decide/pause.ts';
import type { Sampled } from '../sample/sampled.ts';
import { partitionConditions, type PartitionsSeen } from './partition-conditions.ts';
import { targetCondition } from './target-status.ts';
import type { Trouble } from './terminal-error.ts';

export interface ConditionsInput {
  readonly pool: WorkerPool;
  readonly sampled: Sampled;
  readonly step: Step | undefined;
  readonly trouble: Trouble | undefined;
  /** The newest task that was given up because its workers were lost. */
  readonly poison: string | undefined;
  /** Pods that look like the pool's and are not, by name. */
  readonly strays?: readonly string[] | undefined;
  /** Other pools on one of its queues, human-readable. */
  readonly sharing?: string | undefined;
  /** Of a queue that has, or is leaving, partitions. */
  readonly partitions?: PartitionsSeen | undefined;
  /** Who else applies replicas to the adopted Deployment. */
  readonly applier?: Applier | undefined;
  /** Why replicas cannot be parked, or do not get their full size. */
  readonly parkingFailure?: ParkingFailure | undefined;
  /** Why Redis may lose tasks by itself, human-readable. */
  readonly evictionRisk?: string | undefined;
}

/** All conditions of a pool as they are now; the caller merges them with those before. */
export function poolConditions({
  pool,
  sampled,
  step,
  trouble,
  poison,
  evictionRisk,
  strays = [],
  sharing,
  applier,
  partitions,
  parkingFailure,
}: ConditionsInput): ObservedCondition[] {
  const redis = redisCondition(sampled);
  const source = sourceCondition(pool, sampled);
  const reading = { redis, source: source[0] };
  return [
    readyCondition(pool, reading, step, trouble),
    redis,
    ...source,
    activeCondition(step),
    limitedCondition(step),
    poisonCondition(poison),
    ...targetCondition(pool, step?.decision),
    ...evictionCondition(evictionRisk),
    ...queuePausedCondition(pool, sampled),
    ...straysCondition(strays),
    ...sharingCondition(sharing),
    ...(partitions ? partitionConditions(pool, partitions, sampled) : []),
    ...applierCondition(pool, applier),
    ...parkingCondition(parkingFailure ?? unparkable(step)),
  ];
}

/** Present only while it holds: it does not concern most users. */
function evictionCondition(risk: string | undefined): ObservedCondition[] {
  if (risk === undefined) return [];
  const message = sentence(risk);
  return [{ type: 'EvictionPossible', status: 'True', reason: 'MaxmemoryPolicy', message }];
}

/** Present only while it holds, as well. */
function straysCondition([first, ...more]: readonly string[]): ObservedCondition[] {
  if (first === undefined) return [];
  const message =
    more.length === 0
      ? `Pod ${first} has the labels of the pool's pods and is not its Deployment's own: it is not counted.`
      : `Pod ${first} and ${more.length} more have the labels of the pool's pods and are not its Deployment's own: they are not counted.`;
  return [{ type: 'ForeignPods', status: 'True', reason: 'NotOwned', message }];
}

function sharingCondition(others: string | undefined): ObservedCondition[] {
  if (others === undefined) return [];
  const message = `A queue of this pool is also a queue of other pools (${others}): each of them has replicas for all tasks in it.`;
  return [{ type: 'QueueShared', status: 'True', reason: 'OtherPools', message }];
}

function applierCondition({ spec }: WorkerPool, applier: Applier | undefined): ObservedCondition[] {
  const name = spec.scaleTargetRef?.name;
  if (name === undefined || applier === undefined) return [];
  const { manager, refused } = applier;
  const harm = refused
    ? 'an apply is refused with a conflict or, if forced, sets its number until the pool sets its own again'
    : 'each apply sets its number until the pool sets its own again';
  const message = `The manifest that "${manager}" applies to Deployment "${name}" sets spec.replicas, which this pool scales: ${harm}. Remove replicas from that manifest.`;
  return [{ type: 'ReplicasApplied', status: 'True', reason: 'OtherManager', message }];
}

/** Present only while it holds. */
function parkingCondition(failure: ParkingFailure | undefined): ObservedCondition[] {
  if (!failure) return [];
  const { reason, message } = failure;
  return [{ type: 'ParkingFailed', status: 'True', reason, message: sentence(message) }];
}

function unparkable(step: Step | undefined): ParkingFailure | undefined {
  const [first, ...more] = step?.park?.unmanaged ?? [];
  if (first === undefined) return undefined;
  const who = `pod ${first}${more.length > 0 ? ` and ${more.length} more` : ''}`;
  const message = `${who} cannot be parked: ready, but no worker of Millrace is registered there that could say that it holds no task`;
  return { reason: 'WorkersUnmanaged', message };
}

function redisCondition(sampled: Sampled): ObservedCondition {
  const type = 'RedisReachable';
  if (sampled.kind === 'known')
    return { type, status: 'True', reason: 'Sampled', message: 'The queue is read regularly.' };
  if (sourceTroubleIn(sampled))
    return {
      type,
      status: 'True',
      reason: 'Answered',
      message: 'Redis answers. What the source lacks is in SourceReadable.',
    };
  const unread = sampled.reason === 'NotSampledYet' || sampled.reason === 'Quarantined';
  const status = unread ? 'Unknown' : 'False';
  return { type, status, reason: sampled.reason, message: sentence(sampled.why) };
}

/** What a source lacks, where it is not Redis that cannot be read. */
function sourceTroubleIn(sampled: Sampled): 'NotFound' | 'UnknownLayout' | undefined {
  if (sampled.kind === 'known') return undefined;
  if (sampled.reason === 'SourceNotFound') return 'NotFound';
  return sampled.reason === 'SourceUnknownLayout' ? 'UnknownLayout' : undefined;
}

/** Only of pools that run the tasks of another library. */
function sourceCondition({ spec }: WorkerPool, sampled: Sampled): ObservedCondition[] {
  if (!spec.source) return [];
  const type = 'SourceReadable';
  if (sampled.kind === 'known')
    return [{ type, status: 'True', reason: 'Sampled', message: "The library's keys are read regularly." }];
  const reason = sourceTroubleIn(sampled);
  if (reason) return [{ type, status: 'False', reason, message: sentence(sampled.why) }];
  const message = "The library's keys are not read: see RedisReachable.";
  return [{ type, status: 'Unknown', reason: 'RedisUnread', message }];
}

/** Present only while it holds, too. */
function queuePausedCondition({ spec }: WorkerPool, sampled: Sampled): ObservedCondition[] {
  if (sampled.kind !== 'known' || sampled.sample.pausedQueues === 0) return [];
  const { pausedQueues: paused, lists } = sampled.sample;
  const partitioned = !spec.queues && !spec.source && !spec.priorities && lists !== undefined;
  const all = partitioned || spec.priorities ? (lists?.length ?? 1) : queuesOf(spec).length;
  const which =
    paused < all
      ? `${paused} of ${all} ${partitioned ? 'partitions' : spec.priorities ? 'lists of the queue' : 'queues'} ${paused === 1 ? 'is' : 'are'}`
      : partitioned || spec.priorities || all === 1
        ? 'The queue is'
        : 'All queues are';
  const some = partitioned ? 'SomePartitions' : 'SomeQueues';
  const message = `${which} paused: what waits there requires no replicas until it is resumed.`;
  return [{ type: 'QueuePaused', status: 'True', reason: paused < all ? some : 'AllQueues', message }];
}

function readyCondition(
  pool: WorkerPool,
  { redis, source }: { readonly redis: ObservedCondition; readonly source: ObservedCondition | undefined },
  step: Step | undefined,
  trouble: Trouble | undefined,
): ObservedCondition {
  const type = 'Ready';
  if (trouble) return { type, status: 'False', reason: trouble.reason, message: sentence(trouble.message) };
  if (redis.status === 'False')
    return { type, status: 'False', reason: `Redis${redis.reason}`, message: redis.message };
  if (source?.status === 'False')
    return { type, status: 'False', reason: `Source${source.reason}`, message: source.message };
  if (redis.status === 'Unknown' || !step)
    return { type, status: 'Unknown', reason: 'NotSampledYet', message: 'The queue has not been read yet.' };
  const { replicas, decision } = step;
  if (replicas.trouble && replicas.ready < decision.desired)
    return { type, status: 'False', reason: 'WorkersFailing', message: sentence(replicas.trouble) };
  if (decision.cause === 'Paused')
    return { type, status: 'True', reason: 'Paused', message: describePause(pool) };
  if (pool.spec.mode === 'DryRun')
    return {
      type,
      status: 'True',
      reason: 'DryRun',
      message: `Nothing is scaled: mode is DryRun. Decision: ${decision.reason}.`,
    };
  return { type, status: 'True', reason: 'Scaling', message: 'The pool is scaled by its queue.' };
}

function describePause(pool: WorkerPool): string {
  const pause = annotatedPauseOf(pool);
  const what = pause?.replicas === undefined ? 'left as they are' : `kept at ${pause.replicas}`;
  return `Replicas are ${what}: ${pause ? `set by ${pause.by}` : 'mode is Paused'}.`;
}

function activeCondition(step: Step | undefined): ObservedCondition {
  const type = 'Active';
  if (!step)
    return { type, status: 'Unknown', reason: 'NotDecidedYet', message: 'There has been no decision yet.' };
  if (step.decision.desired === 0 && step.decision.cause === 'Unknown')
    return {
      type,
      status: 'Unknown',
      reason: 'QueueUnread',
      message: 'The pool is at zero, and whether there is work is not known.',
    };
  return step.decision.desired > 0
    ? { type, status: 'True', reason: 'Working', message: 'The pool needs replicas.' }
    : { type, status: 'False', reason: 'Idle', message: describeIdle(step) };
}

function describeIdle({ replicas }: Step): string {
  return replicas.parked
    ? 'Nothing to do: the pool is at zero, with parked replicas.'
    : 'Nothing to do: the pool is at zero.';
}

function limitedCondition(step: Step | undefined): ObservedCondition {
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

function poisonCondition(poison: string | undefined): ObservedCondition {
  const type = 'PoisonTasks';
  if (poison !== undefined) return { type, status: 'True', reason: 'WorkersLost', message: poison };
  const message = 'No task was given up because its workers were lost.';
  return { type, status: 'False', reason: 'None', message };
}
