/** The events and log lines of what a reconcile saw and did. */
import type { EventRecorder, Occurrence } from '../../kube/events.ts';
import { keyOf } from '../../kube/watch.ts';
import { GROUP, KIND, VERSION, type WorkerPool, type WorkerPoolStatus } from '../../kube/workerpool.ts';
import type { Logger } from '../../runtime/log.ts';
import type { GraceChange } from '../act/owned-deployment.ts';
import type { ScaleInHold } from '../act/scale-in.ts';
import type { Step } from '../act/step.ts';
import type { Decision } from '../decide/decision.ts';
import type { ControllerMetrics } from '../observe/metrics.ts';
import { conditionEvents, scheduleEvents } from './change-events.ts';

/** Where they go. */
export interface AnnounceDeps {
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  readonly log: Logger;
}

/** Records an event about a pool. Adds API version and kind, which objects of a watch do not have. */
export function recordEvent(events: EventRecorder, pool: WorkerPool, occurrence: Occurrence): void {
  events.record({ ...pool, apiVersion: `${GROUP}/${VERSION}`, kind: KIND }, occurrence);
}

export function announceScaling(
  { events, metrics, log }: AnnounceDeps,
  pool: WorkerPool,
  { scaled: change, decision }: Step,
): void {
  if (!change) return;
  const up = change.to > change.from;
  metrics.scaled(up ? 'up' : 'down', decision.cause);
  log.info({ pool: keyOf(pool), decision: decision.reason }, 'scaled');
  const reason = up ? 'ScaledUp' : 'ScaledDown';
  recordEvent(events, pool, { type: 'Normal', reason, action: 'Scale', note: decision.reason });
}

/** Replicas were given their full size, or parked. */
export function announceParked(
  { events, log }: AnnounceDeps,
  pool: WorkerPool,
  { park, decision }: Step,
): void {
  const { woken = 0, parked = 0 } = park ?? {};
  const count = (number: number): string => (number === 1 ? '1 replica' : `${number} replicas`);
  const tell = (reason: string, what: string): void => {
    log.info({ pool: keyOf(pool), decision: decision.reason }, what);
    const note = `${what}. ${decision.reason}`;
    recordEvent(events, pool, { type: 'Normal', reason, action: 'Resize', note });
  };
  if (woken > 0) tell('ReplicasWoken', `${count(woken)} that ${woken === 1 ? 'was' : 'were'} parked woken`);
  if (parked > 0) tell('ReplicasParked', `${count(parked)} parked`);
}

/** A memory that made no sense was discarded. */
export function announceForgotten(
  { metrics, log }: AnnounceDeps,
  pool: WorkerPool,
  { forgot: err, reason }: Decision,
): void {
  if (err === undefined) return;
  metrics.forgotten();
  log.error(
    { pool: keyOf(pool), decision: reason, err },
    'what a pool had learned made no sense and was discarded',
  );
}

export function announceHold(
  { events, log }: AnnounceDeps,
  pool: WorkerPool,
  { message }: ScaleInHold,
): void {
  log.info({ pool: keyOf(pool), why: message }, 'scale-in is held');
  const note = `Scale-in waits: ${message}.`;
  recordEvent(events, pool, { type: 'Normal', reason: 'ScaleInHeld', action: 'Scale', note });
}

/** `reported`: the missing grace period of the last event, s. */
export function announceGrace(
  { events }: AnnounceDeps,
  pool: WorkerPool,
  { from, to, missing }: GraceChange,
  reported: number | undefined,
): void {
  if (to !== from) {
    const note = `Pods get ${to} s to terminate instead of ${from} s, by recent service times.`;
    recordEvent(events, pool, { type: 'Normal', reason: 'GracePeriodChanged', action: 'Apply', note });
  }
  if (missing === undefined || missing === reported) return;
  const note =
    `Tasks take longer than the ${from} s that pods have to terminate. They get ${missing} s once nothing is in flight, or ` +
    'with the next change of the template; to apply it now, set terminationGracePeriodSeconds there.';
  recordEvent(events, pool, { type: 'Normal', reason: 'GracePeriodShort', action: 'Apply', note });
}

/** Conditions and schedules that have changed. */
export function announceChanges(
  { events }: AnnounceDeps,
  pool: WorkerPool,
  before: WorkerPoolStatus | undefined,
  status: WorkerPoolStatus,
): void {
  for (const occurrence of conditionEvents(before?.conditions ?? [], status.conditions ?? []))
    recordEvent(events, pool, occurrence);
  for (const occurrence of scheduleEvents(before?.schedules ?? [], status.schedules ?? []))
    recordEvent(events, pool, occurrence);
}

/** The API server refuses the status. */
export function announceRefusal({ events, log }: AnnounceDeps, pool: WorkerPool, why: string): void {
  log.warn({ pool: keyOf(pool), why }, 'the API server rejected the status');
  const note = `The status stays as it was, though the pool is scaled: ${why}`;
  recordEvent(events, pool, { type: 'Warning', reason: 'StatusRefused', action: 'Reconcile', note });
}
