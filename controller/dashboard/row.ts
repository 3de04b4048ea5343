/** A pool as one row of the list, and its conditions as the page shows them. Pure. */
import { queuesOf, RunAs, type WorkerPool } from '../../kube/workerpool.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { parseDuration } from '../../runtime/duration.ts';
import type { Observation } from '../observe/observation.ts';
import type { Sampled } from '../sample/sampled.ts';
import { sentence } from '../../kube/conditions.ts';
import type { ConditionView, PoolRow, PoolState } from './api.ts';

export interface RowInput {
  readonly key: string;
  readonly pool: WorkerPool;
  readonly sampled: Sampled | undefined;
  readonly latest: Observation | undefined;
  readonly recent: {
    readonly p50: number | null;
    readonly p95: number | null;
    readonly arriving: number;
    readonly finishing: number;
  };
  readonly decision: { readonly at: number; readonly text: string } | undefined;
  readonly showTasks: boolean;
}

/** Conditions and the status in which they need attention; no other condition does. */
const BAD_WHEN: Readonly<Record<string, 'True' | 'False'>> = {
  Ready: 'False',
  RedisReachable: 'False',
  SourceReadable: 'False',
  TargetMissed: 'True',
  PoisonTasks: 'True',
  EvictionPossible: 'True',
  ForeignPods: 'True',
  QueueShared: 'True',
  ReplicasApplied: 'True',
  ParkingFailed: 'True',
  PartitionsLeft: 'True',
  PartitionsUnserved: 'True',
  PrioritiesUnserved: 'True',
};
/** A row shows the first of these that needs attention. */
const WORST_FIRST = [
  'RedisReachable',
  'SourceReadable',
  'Ready',
  'PoisonTasks',
  'TargetMissed',
  'EvictionPossible',
  'ForeignPods',
  'QueueShared',
  'ReplicasApplied',
  'ParkingFailed',
  'PartitionsUnserved',
  'PrioritiesUnserved',
  'PartitionsLeft',
];

const READING: ReadonlySet<string> = new Set(['RedisReachable', 'SourceReadable']);

export function rowOf(input: RowInput): PoolRow {
  const { key, pool, sampled, latest, recent, decision } = input;
  const { spec, status = {} } = pool;
  const { replicas = 0, readyReplicas = 0, desiredReplicas = 0 } = status;
  const counts = sampled?.kind === 'known' ? sampled.sample : (latest ?? status);
  const { waiting = 0, inFlight = 0, delayed = 0, dead = 0 } = counts;
  const trouble = rowTroubleOf(input);
  const row = {
    replicas: latest?.replicas ?? replicas,
    ready: latest?.ready ?? readyReplicas,
    parked: latest?.parked ?? status.parkedReplicas ?? 0,
    desired: latest?.desired ?? desiredReplicas,
  };
  return {
    key,
    queue: queuesOf(spec).join(', '),
    state: stateOf(input, trouble, { waiting, inFlight, ...row }),
    trouble: trouble ?? null,
    known: sampled?.kind === 'known',
    asOf: latest?.at ?? 0,
    waiting,
    inFlight,
    delayed,
    dead,
    ...row,
    maxReplicas: spec.maxReplicas,
    mode: spec.mode,
    targetMs: durationOf(spec.scaling.targetWait),
    waitP50: recent.p50,
    waitP95: recent.p95,
    arriving: rounded(recent.arriving),
    finishing: rounded(recent.finishing),
    decision: decision?.text ?? status.lastDecision ?? null,
    decidedAt: decision?.at ?? timeOf(status.lastScaleTime),
  };
}

/** A rate as it is shown: more digits of a mean that changes every second would be most of what browsers are sent. */
const rounded = (rate: number): number => Number(rate.toPrecision(rate < 10 ? 2 : 3));

function stateOf(
  { pool, sampled, latest }: RowInput,
  trouble: string | undefined,
  now: {
    waiting: number;
    inFlight: number;
    replicas: number;
    ready: number;
    parked: number;
    desired: number;
  },
): PoolState {
  if (trouble !== undefined) return 'trouble';
  if (!latest && sampled?.kind !== 'known') return 'unknown';
  const paused = sampled?.kind === 'known' && isPaused(pool, sampled.sample);
  if (pool.spec.mode === 'Paused' || paused) return 'paused';
  if (
    pool.spec.mode !== 'DryRun' &&
    (now.replicas - now.parked !== now.desired || now.ready - now.parked !== now.desired)
  )
    return 'scaling';
  return now.waiting + now.inFlight > 0 ? 'working' : 'idle';
}

function isPaused({ spec }: WorkerPool, { pausedQueues, lists }: PoolSample): boolean {
  return pausedQueues === (lists?.length ?? queuesOf(spec).length);
}

function rowTroubleOf({ pool, sampled, showTasks }: RowInput): string | undefined {
  // shown immediately, not when the status has been written
  if (sampled?.kind === 'unknown' && sampled.reason !== 'NotSampledYet') return sentence(sampled.why);
  const views = conditionsOf(pool, showTasks);
  for (const type of WORST_FIRST) {
    const found = views.find((view) => view.type === type && view.bad);
    // the sampler has newer information
    if (found && !(READING.has(type) && sampled?.kind === 'known')) return found.message;
  }
  return undefined;
}

/** The conditions of a pool, bad ones first. */
export function conditionsOf({ spec, status }: WorkerPool, showTasks: boolean): ConditionView[] {
  const views = (status?.conditions ?? []).map(
    ({ type, status: is, reason, message, lastTransitionTime }): ConditionView => ({
      type,
      status: is,
      reason,
      message: showTasks ? message : withoutTask({ type, is, reason, message }, spec.runAs === RunAs.Job),
      since: timeOf(lastTransitionTime),
      bad: BAD_WHEN[type] === is,
    }),
  );
  return views.toSorted((a, b) => Number(b.bad) - Number(a.bad));
}

const HIDING: ReadonlySet<string> = new Set(['WorkersFailing', 'JobsFailing']);

/** Messages that quote a task, or what the container of one task says. */
function withoutTask(
  { type, is, reason, message }: Record<'type' | 'is' | 'reason' | 'message', string>,
  runsJobs: boolean,
): string {
  if (type === 'PoisonTasks' && is === 'True')
    return 'A task was given up because no worker survived it: see the dead letters.';
  if (runsJobs && type === 'Ready' && is === 'False' && HIDING.has(reason))
    return 'Jobs do not come, do not start, or cannot be recorded: the condition Ready of the pool says why.';
  return message;
}

function timeOf(text: string | undefined): number | null {
  const time = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(time) ? null : time;
}

function durationOf(text: string | undefined): number | null {
  try {
    return text === undefined ? null : parseDuration(text);
  } catch {
    return null;
  }
}
