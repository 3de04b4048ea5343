/** From what a user wrote to what `decide` takes: durations become ms, nothing else changes. */
import { Mode, type WorkerPoolSpec } from '../kube/workerpool.ts';
import { parseDuration } from '../runtime/duration.ts';
import type { Policy } from './decide.ts';

export function policyOf(spec: WorkerPoolSpec): Policy {
  const { concurrency, minReplicas, maxReplicas, scaling, fallback, mode } = spec;
  return {
    minReplicas,
    maxReplicas,
    tasksPerReplica: scaling.tasksPerReplica,
    slots: concurrency,
    windowMs: parseDuration(scaling.scaleDown.window),
    fallback: fallback && { afterMs: parseDuration(fallback.after), replicas: fallback.replicas },
    paused: mode === Mode.Paused,
  };
}
