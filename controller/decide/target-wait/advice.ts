/**
 * When the target wait cannot be held: why, which number to change to what, and what that costs. Pure.
 */
import { quantileOf, totalOf, type BucketCounts } from './histogram.ts';

export interface Advice {
  readonly reason: 'StartTimeAboveTarget' | 'MaxReplicasTooLow' | 'WorkersNotFetching' | 'RedisSaturated';
  /** Human-readable, with the number to change. */
  readonly message: string;
  /** The bounds that would hold the target, where one would. */
  readonly minReplicas: number | undefined;
  readonly maxReplicas: number | undefined;
}

/** The latency of a queue's Redis, as measured by the controller. */
export interface RedisLatency {
  /** Human-readable, without user and password. */
  readonly server: string;
  /** Median of the last reads, ms. */
  readonly roundTripMs: number;
}

export interface Situation {
  readonly waitMs: number;
  readonly startMs: number;
  readonly startKnown: boolean;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** By task: the fewest replicas, always there, with which it would have been in time. */
  readonly floors: BucketCounts;
  /** Share of recent tasks that waited for longer than the target. */
  readonly over: number;
  /** Mean of the replicas that there were. */
  readonly mean: number;
  /** Tasks wait although slots that are up have been free for long. */
  readonly unfetched: boolean;
  /** How long a task runs, ms. */
  readonly serviceMs: number;
  /** `undefined` where it was not measured. */
  readonly redis: RedisLatency | undefined;
}

/** Share of recent tasks that may miss the target before advice is given. */
const ALLOWED = 0.005;
/** Share of tasks that may do so with the floor that is advised; the replicas beyond it catch the rest. */
const FLOOR_MISSES = 0.01;
/** No advice below this number of tasks. */
const ENOUGH = 100;
/** Answers that take longer, ms, are slow: a healthy server takes a few, one that is far away some tens. */
const SLOW_MS = 250;

export function adviceFor(situation: Situation): Advice | undefined {
  const { waitMs, startMs, minReplicas, maxReplicas, floors, over, mean } = situation;
  if (totalOf(floors) < ENOUGH) return undefined;
  const target = seconds(waitMs);
  const saturated = redisAdvice(situation);
  if (saturated) return saturated;
  if (situation.unfetched && over > ALLOWED)
    return {
      reason: 'WorkersNotFetching',
      message: `tasks wait although workers have free slots: more replicas will not hold the target of ${target}; look at ${situation.redis ? '' : 'Redis and at '}what the workers log`,
      minReplicas: undefined,
      maxReplicas: undefined,
    };
  const floor = Math.ceil(quantileOf(floors, 1 - FLOOR_MISSES, 'top'));
  if (situation.startKnown && startMs >= waitMs && floor > minReplicas) {
    const hours = Math.round(24 * Math.max(0, floor - mean));
    const bounds =
      floor > maxReplicas ? `minReplicas ${floor} and maxReplicas ${floor}` : `minReplicas ${floor}`;
    return {
      reason: 'StartTimeAboveTarget',
      message: `replicas take ${seconds(startMs)} to start, the target is ${target}: ${bounds} would hold it, for at most ${hours} pod-hours a day more`,
      minReplicas: floor,
      maxReplicas: floor > maxReplicas ? floor : undefined,
    };
  }
  // permanent replicas have the whole target for a burst; those that must start first have less
  const peak =
    startMs < waitMs ? Math.ceil((quantileOf(floors, 1 - ALLOWED) * waitMs) / (waitMs - startMs)) : 0;
  if (peak > maxReplicas && over > ALLOWED)
    return {
      reason: 'MaxReplicasTooLow',
      message: `${percent(over)} of recent tasks waited for longer than ${target}: maxReplicas ${peak} would have held it, for about as many pod-hours (more replicas, for a shorter time)`,
      minReplicas: undefined,
      maxReplicas: peak,
    };
  return undefined;
}

/** Lateness right now, independent of what was learned. */
export interface Lateness {
  readonly waitMs: number;
  /** Age of the oldest waiting task, ms. */
  readonly oldestMs: number;
  /** Replicas with which what waits now would begin. */
  readonly asked: number;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly startMs: number;
  readonly startKnown: boolean;
  /** Slots that are up are free all the same: it is not replicas that are missing. */
  readonly unfetched: boolean;
  /** No task has finished yet. */
  readonly unfinished: boolean;
}

/**
 * For a pool that has seen too little for advice on its past: tasks are late, and the bounds or the start keep it from
 * helping.
 */
export function latenessAdvice(late: Lateness): Advice | undefined {
  const { waitMs, oldestMs, asked, minReplicas, maxReplicas, startMs } = late;
  if (oldestMs <= waitMs || late.unfetched) return undefined;
  const how = `tasks have waited for ${seconds(oldestMs)}, the target is ${seconds(waitMs)}${late.unfinished ? ', and none has finished yet' : ''}`;
  if (asked > maxReplicas)
    return {
      reason: 'MaxReplicasTooLow',
      message: `${how}: maxReplicas ${asked} would begin all that wait`,
      minReplicas: undefined,
      maxReplicas: asked,
    };
  if (late.startKnown && startMs >= waitMs && asked > minReplicas)
    return {
      reason: 'StartTimeAboveTarget',
      message: `${how}: replicas take ${seconds(startMs)} to start, and minReplicas ${asked} would have been there`,
      minReplicas: asked,
      maxReplicas: undefined,
    };
  return undefined;
}

/**
 * Advice for tasks that are late because Redis is slow: slots stay free while tasks wait, or Redis takes longer for each task
 * than the task runs. With long tasks in every slot, tasks wait for slots, however slow Redis is.
 */
export function redisAdvice(
  situation: Pick<Situation, 'waitMs' | 'over' | 'unfetched' | 'serviceMs' | 'redis'>,
): Advice | undefined {
  const { waitMs, over, unfetched, serviceMs, redis } = situation;
  if (!redis || redis.roundTripMs <= SLOW_MS || over <= ALLOWED) return undefined;
  if (!unfetched && redis.roundTripMs < serviceMs) return undefined;
  return {
    reason: 'RedisSaturated',
    message: `Redis at ${redis.server} takes ${seconds(redis.roundTripMs)} to answer: more replicas will not hold the target of ${seconds(waitMs)}; look at its SLOWLOG and used CPU, or give the queue a Redis of its own`,
    minReplicas: undefined,
    maxReplicas: undefined,
  };
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}

function percent(share: number): string {
  return `${Math.round(share * 1_000) / 10} %`;
}
