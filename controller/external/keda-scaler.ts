/**
 * What KEDA's external scaler is told of a pool: whether there is work, by what to scale, and how much there is of that. It knows
 * nothing of gRPC but its status codes.
 *
 * A trigger names a pool of the ScaledObject's own namespace, and by default scales by the replicas that the pool's rule requires:
 * one rule, whoever applies it.
 */
import { Metric, isMetric, metrics, type Measures } from './measures.ts';
import type { GetMetricsRequest, MetricSpec, MetricValue, ScaledObjectRef } from './keda-service.ts';
import { unknownText } from './metrics-api.ts';

/** Of gRPC's status codes, those that this scaler answers with. */
export const Code = { InvalidArgument: 3, NotFound: 5, Unavailable: 14 } as const;
export type Code = (typeof Code)[keyof typeof Code];

/** Goes to KEDA as the status of a call, and so into its log and the events of the ScaledObject. */
export class ScalerError extends Error {
  override name = 'ScalerError';
  readonly code: Code;
  /** gRPC's name for the message. */
  readonly details: string;
  constructor(code: Code, details: string) {
    super(details);
    this.code = code;
    this.details = details;
  }
}

export interface KedaScaler {
  /** The functions throw `ScalerError` for a trigger that cannot be served, and while a value is not known. */
  isActive(ref: ScaledObjectRef): boolean;
  metricSpecs(ref: ScaledObjectRef): MetricSpec[];
  metricValues(request: GetMetricsRequest): MetricValue[];
  /**
   * Calls `push` when there is work, now and each time that some comes after there was none. That there is none is not pushed:
   * KEDA finds that out by itself, and takes it from a push for the end of all triggers' work in some versions. Returns a function
   * that ends it.
   */
  follow(ref: ScaledObjectRef, push: () => void): () => void;
  /** Something has changed in a pool. */
  changed(key: string): void;
}

interface Trigger {
  readonly key: string;
  readonly pool: string;
  readonly metric: Metric;
  /** A replica's share of the metric. */
  readonly target: number | undefined;
}

interface Follower {
  readonly trigger: Trigger;
  readonly push: () => void;
  active: boolean;
}

/** Of the rule of tasks per replica, where a pool has no rule. */
const DEFAULT_TASKS_PER_REPLICA = 5;

export function createKedaScaler(measures: Measures): KedaScaler {
  const followers = new Map<string, Set<Follower>>();
  return {
    isActive: (ref) => hasWork(measures, triggerOf(measures, ref)),
    metricSpecs: (ref) => {
      const trigger = triggerOf(measures, ref);
      const target = targetOf(measures, trigger);
      return [
        { metricName: trigger.metric, targetSize: Math.max(1, Math.round(target)), targetSizeFloat: target },
      ];
    },
    metricValues: ({ scaledObjectRef }) => {
      const trigger = triggerOf(measures, scaledObjectRef);
      const value = valueOf(measures, trigger);
      return [{ metricName: trigger.metric, metricValue: Math.ceil(value), metricValueFloat: value }];
    },
    follow: (ref, push) => {
      const trigger = triggerOf(measures, ref);
      const { key } = trigger;
      const follower: Follower = { trigger, push, active: false };
      const all = followers.get(key) ?? new Set();
      followers.set(key, all.add(follower));
      check(measures, follower);
      return () => {
        all.delete(follower);
        if (all.size === 0 && followers.get(key) === all) followers.delete(key);
      };
    },
    changed: (key) => {
      for (const follower of followers.get(key) ?? []) check(measures, follower);
    },
  };
}

function triggerOf(measures: Measures, ref: ScaledObjectRef | null): Trigger {
  if (ref === null)
    throw new ScalerError(
      Code.InvalidArgument,
      'the request has no scaledObjectRef: what it is about is not said',
    );
  const { namespace, scalerMetadata } = ref;
  const { pool = '', metric = Metric.DesiredReplicas, target } = scalerMetadata;
  if (pool === '')
    throw new ScalerError(Code.InvalidArgument, 'the trigger names no pool: set "pool" in its metadata');
  if (!isMetric(metric))
    throw new ScalerError(
      Code.InvalidArgument,
      `there is no metric "${metric.slice(0, 100)}": set "metric" to ${metrics.join(', ')}, or remove it`,
    );
  const key = `${namespace}/${pool}`;
  if (!measures.pools.has(key))
    throw new ScalerError(
      Code.NotFound,
      `there is no WorkerPool "${pool.slice(0, 100)}" in namespace "${namespace.slice(0, 100)}"`,
    );
  return { key, pool, metric, target: target === undefined ? undefined : positive(target) };
}

function valueOf(measures: Measures, { key, pool, metric }: Trigger): number {
  const measured = measures.of(key, metric);
  if (measured.kind === 'unknown')
    throw new ScalerError(Code.Unavailable, unknownText(metric, pool, measured.why));
  return measured.value;
}

/** While tasks wait there is work, also for a trigger that scales by how long they do. */
function hasWork(measures: Measures, trigger: Trigger): boolean {
  const { metric } = trigger;
  return valueOf(measures, { ...trigger, metric: metric === Metric.OldestWait ? Metric.Tasks : metric }) > 0;
}

function targetOf(measures: Measures, { key, metric, target }: Trigger): number {
  if (target !== undefined) return target;
  if (metric === Metric.DesiredReplicas) return 1;
  const { tasksPerReplica, targetWait } = measures.pools.get(key)?.spec.scaling ?? {};
  const share = tasksPerReplica ?? (targetWait === undefined ? DEFAULT_TASKS_PER_REPLICA : undefined);
  if (metric === Metric.Tasks && share !== undefined) return share;
  throw new ScalerError(
    Code.InvalidArgument,
    `${metric} needs a "target" in the trigger's metadata: how much of it one replica is for`,
  );
}

/** Pushes if work has come. What is not known changes nothing. */
function check(measures: Measures, follower: Follower): void {
  let active: boolean;
  try {
    active = hasWork(measures, follower.trigger);
  } catch {
    return;
  }
  const came = active && !follower.active;
  follower.active = active;
  if (came) follower.push();
}

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value;
  throw new ScalerError(Code.InvalidArgument, `the target "${text.slice(0, 100)}" is no number above 0`);
}
