/** Events for the difference between two statuses of a pool: a status is the current state, an event the moment of a change. Pure. */
import type { ObservedCondition } from '../../kube/conditions.ts';
import type { Occurrence } from '../../kube/events.ts';

/** An event for each schedule that has begun or ended; the arguments are the names of those that were and are on. */
export function scheduleEvents(before: readonly string[], after: readonly string[]): Occurrence[] {
  const eventsFor = (names: readonly string[], reason: string, what: string): Occurrence[] =>
    names.map((name) => ({ type: 'Normal', reason, action: 'Scale', note: `Schedule "${name}" ${what}.` }));
  return [
    ...eventsFor(
      after.filter((name) => !before.includes(name)),
      'ScheduleBegan',
      'has begun',
    ),
    ...eventsFor(
      before.filter((name) => !after.includes(name)),
      'ScheduleEnded',
      'has ended',
    ),
  ];
}

/** Conditions that are there only while they hold. */
const WHILE_IT_HOLDS: ReadonlySet<string> = new Set([
  'ForeignPods',
  'QueueShared',
  'ReplicasApplied',
  'ParkingFailed',
  'PartitionsLeft',
  'PartitionsUnserved',
  'PrioritiesUnserved',
]);

/** An event for each condition that has changed. Identical notes are reported once. */
export function conditionEvents(
  before: readonly ObservedCondition[],
  after: readonly ObservedCondition[],
): Occurrence[] {
  const events = after.flatMap(({ type, status, reason, message }): Occurrence[] => {
    if (type === 'EvictionPossible' && !before.some((condition) => condition.type === type))
      return [{ type: 'Warning', reason: type, action: 'Sample', note: message }];
    if (WHILE_IT_HOLDS.has(type) && !before.some((condition) => condition.type === type))
      return [{ type: 'Warning', reason: type, action: 'Scale', note: message }];
    const old = before.find((condition) => condition.type === type);
    if (type === 'TargetMissed' && status === 'True' && (old?.status !== 'True' || old.reason !== reason))
      return [{ type: 'Warning', reason: type, action: 'Scale', note: message }];
    if (type === 'Ready' && status === 'True' && old && (old.reason === 'Paused') !== (reason === 'Paused'))
      return [
        {
          type: 'Normal',
          reason: reason === 'Paused' ? 'Paused' : 'Resumed',
          action: 'Scale',
          note: message,
        },
      ];
    if (type !== 'RedisReachable' && type !== 'SourceReadable' && type !== 'Ready') return [];
    if (status === 'False' && (old?.status !== 'False' || old.reason !== reason))
      return [{ type: 'Warning', reason, action: 'Reconcile', note: message }];
    if (type === 'RedisReachable' && status === 'True' && old?.status === 'False')
      return [
        { type: 'Normal', reason: 'RedisRecovered', action: 'Sample', note: 'The queue is read again.' },
      ];
    return [];
  });
  return events.filter(({ note }, i) => events.findIndex((other) => other.note === note) === i);
}
