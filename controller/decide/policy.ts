/** Parses a spec into the policy of `decide`: durations become ms, percentages numbers, cron expressions functions. */
import {
  Mode,
  RunAs,
  type ScheduleSpec,
  type StepLimit,
  type WorkerPoolSpec,
} from '../../kube/workerpool.ts';
import { leastTasks, parseConcurrency, type Concurrency } from '../../runtime/concurrency.ts';
import { parseDuration } from '../../runtime/duration.ts';
import { cronTimesOf } from './cron.ts';
import { DEFAULT_WINDOW_MS, type Policy } from './decision.ts';
import type { MaxStep } from './max-step.ts';
import type { Schedule } from './schedule.ts';
import { DEFAULT_TASKS_PER_REPLICA } from './tasks-per-replica.ts';

/** Throws `RangeError` in one line that names the field, for a value that cannot be read. */
export function policyOf(spec: WorkerPoolSpec): Policy {
  const { minReplicas, maxReplicas, scaling, fallback, mode } = spec;
  const concurrency = concurrencyOf(spec);
  const { targetWait, tasksPerReplica, forecast, scaleUp, scaleDown } = scaling;
  // what the plain rule asks for goes up and down with every task: beside a target it needs a window as it does alone
  const bothRules = targetWait !== undefined && tasksPerReplica !== undefined;
  if (spec.runAs === RunAs.Job) return jobsPolicyOf(spec);
  return {
    minReplicas,
    maxReplicas,
    tasksPerReplica,
    targetWaitMs: targetWait === undefined ? undefined : parseDuration(targetWait),
    slots: leastTasks(concurrency),
    windowMs:
      scaleDown.window !== undefined
        ? parseDuration(scaleDown.window)
        : bothRules
          ? DEFAULT_WINDOW_MS
          : undefined,
    ...(scaleUp?.maxStep !== undefined && { maxStepUp: maxStep(scaleUp.maxStep) }),
    ...(scaleDown.maxStep !== undefined && { maxStepDown: maxStep(scaleDown.maxStep) }),
    fallback: fallback && { afterMs: parseDuration(fallback.after), replicas: fallback.replicas },
    ...(spec.schedules && { schedules: spec.schedules.map(scheduleOf) }),
    ...(forecast !== undefined && { forecast }),
    paused: mode === Mode.Paused,
  };
}

/** The same policy once workers have found how many tasks they run best at a time. */
export function withFoundSlots(
  policy: Policy,
  { slots, why }: { readonly slots: number; readonly why: string },
): Policy {
  const { tasksPerReplica, targetWaitMs } = policy;
  // a replica that cannot be filled would never find that it could have more
  const filled = tasksPerReplica === undefined && targetWaitMs === undefined;
  return {
    ...policy,
    slots,
    slotsWhy: why,
    ...(filled && { tasksPerReplica: Math.max(DEFAULT_TASKS_PER_REPLICA, slots) }),
  };
}

/** A Job for each task, and none for anything else. */
function jobsPolicyOf({ maxReplicas, schedules, mode }: WorkerPoolSpec): Policy {
  return {
    minReplicas: 0,
    maxReplicas,
    tasksPerReplica: 1,
    targetWaitMs: undefined,
    slots: 1,
    windowMs: 0,
    fallback: undefined,
    ...(schedules && { schedules: schedules.map(scheduleOf) }),
    paused: mode === Mode.Paused,
  };
}

function scheduleOf(spec: ScheduleSpec, index: number): Schedule {
  const { start, duration, timeZone, minReplicas, maxReplicas } = spec;
  const field = `schedules[${index}]`;
  if (minReplicas === undefined && maxReplicas === undefined)
    throw new RangeError(`${field} changes nothing: set minReplicas or maxReplicas in it`);
  const durationMs = durationOf(duration, `${field}.duration`);
  if (durationMs <= 0)
    throw new RangeError(`${field}.duration is ${duration}: write how long it holds, such as 10h`);
  return {
    name: spec.name ?? start,
    ...cronTimesOf(start, timeZone, field),
    durationMs,
    minReplicas: replicasOf(minReplicas, `${field}.minReplicas`),
    maxReplicas: replicasOf(maxReplicas, `${field}.maxReplicas`),
  };
}

function concurrencyOf({ concurrency }: WorkerPoolSpec): Concurrency {
  try {
    return parseConcurrency(concurrency);
  } catch (error) {
    throw new RangeError(`concurrency: ${(error as Error).message}`, { cause: error });
  }
}

function durationOf(text: string, field: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new RangeError(`${field}: ${(error as Error).message}`, { cause: error });
  }
}

function replicasOf(value: unknown, field: string): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0)) return value as number;
  throw new RangeError(`${field} is ${JSON.stringify(value)}: write a number of replicas such as 3`);
}

function maxStep(limit: StepLimit): MaxStep {
  const percent = /^([1-9]\d*)%$/.exec(String(limit))?.[1];
  if (percent !== undefined) return { percent: Number(percent) };
  if (typeof limit === 'number' && Number.isSafeInteger(limit) && limit >= 1) return { replicas: limit };
  throw new RangeError(
    `maxStep is ${JSON.stringify(limit)}: write a number of replicas such as 4, or a percentage such as 50%`,
  );
}
