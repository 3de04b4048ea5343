/** The part of the status for a pool with a target wait: learned values, and whether the target can be held. Pure. */
import { sentence, type ObservedCondition } from '../../kube/conditions.ts';
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import { formatDuration } from '../../runtime/duration.ts';
import type { Decision } from '../decide/decision.ts';
import { insightOf } from '../decide/target-wait/insight.ts';

type LearnedStatus = Pick<WorkerPoolStatus, 'serviceTime' | 'startTime' | 'arrivalRate'>;

/** Learned values, to two digits: more would change with each sample, without more meaning. */
export function learnedStatus(pool: WorkerPool, decision: Decision): LearnedStatus {
  const { learned } = decision.memory;
  if (pool.spec.scaling.targetWait === undefined || !learned) return {};
  const { service, start, arrivalRate } = insightOf(learned);
  return {
    ...(service && { serviceTime: { p50: durationText(service.p50), p95: durationText(service.p95) } }),
    ...(start && { startTime: { p50: durationText(start.p50), p95: durationText(start.p95) } }),
    arrivalRate: `${round(arrivalRate)}/s`,
  };
}

/** Present only if a target is set. */
export function targetCondition(pool: WorkerPool, decision: Decision | undefined): ObservedCondition[] {
  const { targetWait } = pool.spec.scaling;
  if (targetWait === undefined) return [];
  const type = 'TargetMissed';
  const advice = decision?.advice;
  if (advice) return [{ type, status: 'True', reason: advice.reason, message: sentence(advice.message) }];
  if (!decision || !decision.memory.learned?.service || isBlind(decision)) {
    const message =
      'It is not known whether the target wait is held: the queue was not read, or no task has finished yet.';
    return [{ type, status: 'Unknown', reason: 'NotKnown', message }];
  }
  const message = `Nothing is known that would prevent tasks from starting within ${targetWait}.`;
  return [{ type, status: 'False', reason: 'WithinTarget', message }];
}

/** The decision was not based on the queue, so the state of the target is unknown. */
function isBlind({ cause }: Decision): boolean {
  return cause === 'Unknown' || cause === 'Fallback' || cause === 'Paused';
}

function durationText(ms: number): string {
  return formatDuration(round(ms));
}

function round(value: number): number {
  return Number(value.toPrecision(2));
}
