/** The parts of a decision's reason, human-readable. Pure. */
import type { KnownSample, Policy } from './decision.ts';
import { DEFAULT_TASKS_PER_REPLICA } from './tasks-per-replica.ts';
import type { BoundsNow } from './schedule.ts';
import type { Sizing } from './target-wait/sizing.ts';

/** Why no replicas go although fewer would do. */
export const TOO_FEW_FINISHED = 'too few tasks have finished to be sure';

/** The work of the queue, and the rule that it is counted by. */
export function describeWork(
  policy: Policy,
  { waiting, inFlight, due, dueSoon = 0 }: KnownSample,
  sizing: Sizing | undefined,
): string {
  const { tasksPerReplica = DEFAULT_TASKS_PER_REPLICA, targetWaitMs = 0 } = policy;
  const dueToo = (due > 0 ? `, ${due} due` : '') + (dueSoon > 0 ? `, ${dueSoon} due soon` : '');
  if (sizing?.serviceMs === undefined) {
    // a slot for each task that may miss the target, where that is more than the plain rule gives
    if (sizing && sizing.sure > Math.ceil((waiting + inFlight + due + dueSoon) / tasksPerReplica))
      return `${waiting} waiting, ${inFlight} in flight${dueToo}, none has finished yet, target ${seconds(targetWaitMs)}`;
    const tasks = tasksPerReplica === 1 ? '1 task a replica' : `${tasksPerReplica} tasks a replica`;
    return `${waiting} waiting, ${inFlight} in flight${dueToo}, ${tasks}`;
  }
  const held = waiting > 0 ? '' : `, ${inFlight} in flight`;
  const floor =
    sizing.floor > 0 && sizing.floor >= (sizing.needed ?? 0) ? `, ${sizing.floor} expected at this hour` : '';
  return `${waiting} waiting${held}${dueToo}, ${seconds(sizing.serviceMs)} a task, ${seconds(sizing.startMs)} to start, target ${seconds(targetWaitMs)}${floor}`;
}

/** Why they go so soon, where that has been cheaper. */
export function describeSaving(sizing: { readonly longerCosts?: number | undefined } | undefined): string {
  const { longerCosts } = sizing ?? {};
  return longerCosts === undefined
    ? ''
    : `: to keep them longer has cost ${Math.round(100 * longerCosts)} % more`;
}

/** The bound that decides, and the schedule that set it, if any. */
export function describeBound(limited: 'min' | 'max', bounds: BoundsNow): string {
  const by = bounds[`${limited}By`];
  return `${limited}Replicas ${bounds[`${limited}Replicas`]}${by === undefined ? '' : ` by schedule "${by}"`}`;
}

export function seconds(ms: number): string {
  return ms < 100 ? `${Math.round(ms)} ms` : `${Math.round(ms / 100) / 10} s`;
}
