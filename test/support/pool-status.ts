/** Statuses of one pool, from what a step saw and decided: the default one scales, and a change says what is different. */
import { decide } from '../../controller/decide/decide.ts';
import { noMemory } from '../../controller/decide/decision.ts';
import { statusOf, type StatusInput } from '../../controller/report/status.ts';
import { policyOf } from '../../controller/decide/policy.ts';
import { nothingKept } from '../../controller/act/step.ts';
import { withDefaults, type WorkerPoolSpecInput } from '../../kube/defaults.ts';
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import { combineSamples } from '../../queue/pool/pool-sample.ts';
import { noCounters, type QueueSample } from '../../queue/pool/sample.ts';

const sample: QueueSample = {
  now: 0,
  waiting: 12,
  suspects: 0,
  solitary: 0,
  apart: { workers: 0, tasks: 0 },
  inFlight: 0,
  busy: 0,
  delayed: 1,
  due: 0,
  dueSoon: 0,
  nextDue: undefined,
  dead: 2,
  workers: 0,
  expired: 0,
  nextExpiry: undefined,
  paused: false,
  silent: false,
  overdue: false,
  leaving: 0,
  slow: [],
  counters: noCounters,
};
export const known = { kind: 'known', sample: combineSamples([sample]) } as const;
export const away = {
  kind: 'unknown',
  reason: 'Unreachable',
  why: 'Redis at r:6379 refuses connections',
} as const;

export function pool(spec: Partial<WorkerPoolSpecInput> = {}, status?: WorkerPoolStatus): WorkerPool {
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { namespace: 'shop', name: 'tiles', generation: 3 },
    spec: withDefaults({ redis: { url: 'redis://r' }, template: { spec: { containers: [] } }, ...spec }),
    ...(status ? { status } : {}),
  };
}

/** No schedule is on. */
export const quiet = { on: [], minBy: undefined, maxBy: undefined, until: undefined };

export interface Change extends Partial<StatusInput> {
  trouble_?: string;
}

export function see({ trouble_, ...change }: Change = {}): WorkerPoolStatus {
  const of = change.pool ?? pool();
  const sampled = change.sampled ?? known;
  const replicas = { wanted: 0, existing: 0, ready: 0, trouble: trouble_, rollingOut: false };
  const input =
    sampled.kind === 'known'
      ? { kind: 'known' as const, ...sampled.sample }
      : { kind: 'unknown' as const, why: sampled.why };
  const decision = decide(policyOf(of.spec), input, 0, noMemory, 0);
  const scaled = decision.desired === 0 ? undefined : { from: 0, to: decision.desired };
  const step = {
    replicas,
    decision,
    scaled,
    held: undefined,
    kept: nothingKept,
    requeueInMs: undefined,
  };
  const now = new Date('2026-01-01T00:00:00.123Z');
  return statusOf({
    pool: of,
    sampled,
    step,
    trouble: undefined,
    selector: 'a=b',
    wake: 'Tracking',
    poison: undefined,
    now,
    ...change,
  });
}

export const conditions = (status: WorkerPoolStatus): Record<string, string> =>
  Object.fromEntries(
    (status.conditions ?? []).map(({ type, status: is, reason }) => [type, `${is} ${reason}`]),
  );
