/** From what a user wrote to what `decide` takes: durations become ms, percentages numbers, nothing else changes. */
import { Mode, type StepLimit, type WorkerPoolSpec } from '../kube/workerpool.ts';
import { parseDuration } from '../runtime/duration.ts';
import { DEFAULT_WINDOW_MS, type Policy } from './decide.ts';
import type { MaxStep } from './pace.ts';

/** Throws `RangeError` in one line for a duration or a percentage that cannot be read. */
export function policyOf(spec: WorkerPoolSpec): Policy {
  const { concurrency, minReplicas, maxReplicas, scaling, fallback, mode } = spec;
  const { targetWait, tasksPerReplica, scaleUp, scaleDown } = scaling;
  // what the plain rule asks for goes up and down with every task: beside a target it needs a window as it does alone
  const bothRules = targetWait !== undefined && tasksPerReplica !== undefined;
  return {
    minReplicas,
    maxReplicas,
    tasksPerReplica,
    targetWaitMs: targetWait === undefined ? undefined : parseDuration(targetWait),
    slots: concurrency,
    windowMs:
      scaleDown.window !== undefined
        ? parseDuration(scaleDown.window)
        : bothRules
          ? DEFAULT_WINDOW_MS
          : undefined,
    ...(scaleUp?.maxStep !== undefined && { maxStepUp: maxStep(scaleUp.maxStep) }),
    ...(scaleDown.maxStep !== undefined && { maxStepDown: maxStep(scaleDown.maxStep) }),
    fallback: fallback && { afterMs: parseDuration(fallback.after), replicas: fallback.replicas },
    paused: mode === Mode.Paused,
  };
}

function maxStep(limit: StepLimit): MaxStep {
  const percent = /^([1-9]\d*)%$/.exec(String(limit))?.[1];
  if (percent !== undefined) return { percent: Number(percent) };
  if (typeof limit === 'number' && Number.isSafeInteger(limit) && limit >= 1) return { replicas: limit };
  throw new RangeError(
    `maxStep is ${JSON.stringify(limit)}: write a number of replicas such as 4, or a percentage such as 50%`,
  );
}
