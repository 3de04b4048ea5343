/**
 * The metrics of each pool, as one table, which `pool-series.ts` counts and writes and docs/metrics.md lists. Pure.
 *
 * Bucket bounds of waits are common targets (1, 2, 5, 10, 15, 20, 30, 45 s, 1, 1.5, 2, 3, 5, 10 min); for any other target,
 * `millrace_pool_tasks_late_total` is exact.
 */
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import { parseQuantity } from '../../kube/quantity.ts';
import { parkedPodsOf } from '../act/parked/size.ts';
import { parseDuration } from '../../runtime/duration.ts';
import type { Observation } from './observation.ts';

export interface PoolGauge {
  readonly name: string;
  readonly help: string;
  /** `undefined` if the pool does not have it now. */
  readonly read: (pool: WorkerPool, status: WorkerPoolStatus) => number | undefined;
}

const condition = (status: WorkerPoolStatus, type: string): number | undefined => {
  const found = status.conditions?.find((one) => one.type === type)?.status;
  return found === 'True' ? 1 : found === 'False' ? 0 : undefined;
};

/** The pool's target, ms. */
export function targetMs({ spec }: WorkerPool): number | undefined {
  const { targetWait } = spec.scaling;
  return targetWait === undefined ? undefined : parseDuration(targetWait);
}

/** What a parked replica requests of a working one's CPU, 0 to 1; 1 where that is not known. */
function parkedShare(pool: WorkerPool): number {
  const { full, parked } = parkedPodsOf(pool)?.sizes ?? {};
  const share = (parseQuantity(parked?.['cpu']) ?? Number.NaN) / (parseQuantity(full?.['cpu']) ?? Number.NaN);
  return share >= 0 && share <= 1 ? share : 1;
}

/** Of every pool, idle ones included. */
export const poolGauges: readonly PoolGauge[] = [
  gauge('millrace_queue_length', 'Tasks waiting in the queue.', (_, { waiting = 0 }) => waiting),
  gauge('millrace_tasks_in_flight', 'Tasks that workers hold.', (_, { inFlight = 0 }) => inFlight),
  gauge(
    'millrace_tasks_delayed',
    'Retries and scheduled tasks that are not due yet.',
    (_, { delayed = 0 }) => delayed,
  ),
  gauge('millrace_dead_letters', 'Tasks that failed for good.', (_, { dead = 0 }) => dead),
  gauge('millrace_pool_replicas', 'Replicas that exist.', (_, { replicas = 0 }) => replicas),
  gauge(
    'millrace_pool_ready_replicas',
    'Replicas that are ready.',
    (_, { readyReplicas = 0 }) => readyReplicas,
  ),
  gauge(
    'millrace_pool_desired_replicas',
    'Replicas that the last decision required.',
    (_, { desiredReplicas = 0 }) => desiredReplicas,
  ),
  gauge(
    'millrace_pool_parked_replicas',
    'Replicas that are parked, of pools that park any.',
    ({ spec }, { parkedReplicas }) => parkedReplicas ?? (spec.parked && 0),
  ),
  gauge(
    'millrace_pool_reserved_replicas',
    'Replicas by the CPU that they request, of pools that park any: one that is parked counts as its part of a working one.',
    (pool, { replicas = 0, parkedReplicas = 0 }) =>
      pool.spec.parked && replicas - parkedReplicas * (1 - parkedShare(pool)),
  ),
  gauge('millrace_pool_max_replicas', 'maxReplicas of the pool.', ({ spec }) => spec.maxReplicas),
  gauge('millrace_pool_redis_reachable', '1 while the queue can be read, else 0.', (_, status) =>
    // Redis may answer, and not have the keys of a source
    condition(status, 'SourceReadable') === 0 ? 0 : condition(status, 'RedisReachable'),
  ),
  gauge(
    'millrace_pool_target_wait_seconds',
    'The target wait in seconds, of pools that have one.',
    (pool) => {
      const ms = targetMs(pool);
      return ms === undefined ? undefined : ms / 1e3;
    },
  ),
  gauge(
    'millrace_pool_target_missed',
    '1 while the target wait cannot be met, else 0, of pools that have one.',
    (_, status) => condition(status, 'TargetMissed'),
  ),
];

export const sampledGauge = {
  name: 'millrace_pool_sampled_timestamp_seconds',
  help: 'When the queue was last read, in seconds since the epoch.',
} as const;

export const notReadyGauge = {
  name: 'millrace_pool_not_ready',
  help: '1 while the condition Ready of the pool is False, by its reason.',
} as const;

function gauge(name: string, help: string, read: PoolGauge['read']): PoolGauge {
  return { name, help, read };
}

export interface PoolCounter {
  readonly name: string;
  readonly help: string;
  readonly grown: (observation: Observation, targetMs: number) => number;
}

const sum = (waits: Observation['waits']): number => waits.reduce((all, { tasks }) => all + tasks, 0);

/** Only of pools that have had a task, as are the histograms. */
export const poolCounters: readonly PoolCounter[] = [
  counter('millrace_pool_tasks_arrived_total', 'Tasks that arrived in the queue.', ({ arrived }) => arrived),
  counter('millrace_pool_tasks_taken_total', 'Tasks that were taken from the queue.', ({ taken }) => taken),
  counter(
    'millrace_pool_tasks_late_total',
    'Taken tasks that had waited longer than the target wait.',
    ({ waits }, target) => sum(waits.filter(({ waitMs }) => waitMs > target)),
  ),
  counter('millrace_pool_tasks_completed_total', 'Tasks with a result.', ({ completed }) => completed),
  counter('millrace_pool_tasks_failed_total', 'Tasks that failed for good.', ({ failed }) => failed),
  counter(
    'millrace_pool_tasks_retried_total',
    'Attempts that failed and are retried.',
    ({ retried }) => retried,
  ),
  counter(
    'millrace_pool_service_seconds_total',
    'Seconds that handlers ran for completed, failed and retried tasks.',
    ({ serviceMs }) => serviceMs / 1e3,
  ),
];

function counter(name: string, help: string, grown: PoolCounter['grown']): PoolCounter {
  return { name, help, grown };
}

export interface PoolHistogram {
  readonly name: string;
  readonly help: string;
  /** Upper bounds of the buckets, s. */
  readonly bounds: readonly number[];
}

export const poolHistograms = {
  wait: {
    name: 'millrace_task_wait_seconds',
    help: 'How long taken tasks had waited in the queue, in seconds.',
    bounds: [0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 7200],
  },
  start: {
    name: 'millrace_replica_start_seconds',
    help: 'From requesting a replica until it was ready, in seconds.',
    bounds: [0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300],
  },
  wake: {
    name: 'millrace_wake_seconds',
    help: 'From the notification of the first task in a quiet queue until the decision was carried out, in seconds.',
    bounds: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  },
  reconcile: {
    name: 'millrace_pool_reconcile_seconds',
    help: 'How long reconciles of the pool took, in seconds.',
    bounds: [0.005, 0.025, 0.1, 0.5, 2.5, 10],
  },
} as const satisfies Record<string, PoolHistogram>;
