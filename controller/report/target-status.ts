/** What the status of a pool with a target wait says of it: what was learned, and whether the target can be held. Pure. */
import { sentence, type ObservedCondition } from '../../kube/conditions.ts';
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import { formatDuration } from '../../runtime/duration.ts';
import type { Decision } from '../decide/decision.ts';
import { insightOf } from '../decide/target-wait/insight.ts';

type LearnedStatus = Pick<WorkerPoolStatus, 'serviceTime' | 'startTime' | 'arrivalRate'>;

/** What was learned, in two digits: more would change with every look, and say no more. */
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

/** There only where a target is set. */
export function targetCondition(pool: WorkerPool, decision: Decision | undefined): ObservedCondition[] {
  const { targetWait } = pool.spec.scaling;
  if (targetWait === undefined) return [];
  const type = 'TargetMissed';
  const advice = decision?.advice;
  if (advice) return [{ type, status: 'True', reason: advice.reason, message: sentence(advice.message) }];
  if (!decision || !decision.memory.learned?.service || isBlind(decision)) {
    const message =
      'Whether the target wait is held is not known: the queue was not read, or no task has finished yet.';
    return [{ type, status: 'Unknown', reason: 'NotKnown', message }];
  }
  const message = `Nothing is known that would keep tasks from beginning within ${targetWait}.`;
  return [{ type, status: 'False', reason: 'WithinTarget', message }];
}

/** Nothing was looked at, so nothing is known of the target now. */
function isBlind({ cause }: Decision): boolean {
  return cause === 'Unknown' || cause === 'Fallback' || cause === 'Paused';
}

function durationText(ms: number): string {
  return formatDuration(round(ms));
}

function round(value: number): number {
  return Number(value.toPrecision(2));
}
