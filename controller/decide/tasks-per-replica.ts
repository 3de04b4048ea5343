/** The plain rule: one replica per `tasksPerReplica` tasks. Pure. */
import type { KnownSample, Policy } from './decision.ts';
import { keptApart } from './suspects.ts';

export const DEFAULT_TASKS_PER_REPLICA = 5;

/**
 * Replicas, before the bounds; 0 where the user did not set `tasksPerReplica` and the other rule can decide. Where the user did
 * not set it, the rule counts at most `most` tasks.
 */
export function plainRule(
  { tasksPerReplica }: Policy,
  sample: KnownSample,
  otherDecides: boolean,
  most = Infinity,
): number {
  if (tasksPerReplica === undefined && otherDecides) return 0;
  const size = tasksPerReplica ?? DEFAULT_TASKS_PER_REPLICA;
  const { waiting, inFlight, due, dueSoon = 0 } = sample;
  const apart = keptApart(sample, size);
  const tasks = waiting + inFlight + due + dueSoon + apart.waiting + apart.inFlight;
  return Math.ceil(Math.min(tasks, tasksPerReplica === undefined ? most : Infinity) / size);
}
