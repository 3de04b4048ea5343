/**
 * The defaults of WorkerPool for pools that never met an API server (`millrace dev`, tests, the simulator). The API
 * server fills in the same values from the CRD's schema (charts/millrace/files/workerpools.yaml), where they are
 * documented; tests hold this file to the schema and to what a real API server answers.
 */
import type { CustomSourceSpec, SourceSpec } from './source-spec.ts';
import {
  ConcurrencyPolicy,
  Missed,
  Mode,
  PodDefaults,
  RunAs,
  Unmanaged,
  type DeadLettersSpec,
  type ParkedSpec,
  type JobSpec,
  type ResultsSpec,
  type TasksSpec,
  type RetrySpec,
  type ScaleTargetRef,
  type CronSpec,
  type ScheduleSpec,
  type ScalingSpec,
  type WorkerPoolSpec,
} from './workerpool.ts';

/** How long a Job is kept after its outcome was recorded, s. */
export const JOB_TTL_S = 3_600;

/** A spec as a user writes it: everything that has a default may be left out. */
export interface WorkerPoolSpecInput extends Partial<
  Omit<
    WorkerPoolSpec,
    | 'redis'
    | 'source'
    | 'scaleTargetRef'
    | 'parked'
    | 'job'
    | 'scaling'
    | 'schedules'
    | 'crons'
    | 'retry'
    | 'tasks'
    | 'results'
    | 'deadLetters'
    | 'durability'
    | 'fallback'
  >
> {
  readonly redis: WorkerPoolSpec['redis'];
  readonly source?: SourceSpecInput;
  readonly scaleTargetRef?: Partial<ScaleTargetRef> & Pick<ScaleTargetRef, 'name'>;
  readonly parked?: Omit<ParkedSpec, 'cpu'> & { readonly cpu?: string };
  readonly job?: Partial<JobSpec>;
  readonly scaling?: Partial<Omit<ScalingSpec, 'scaleDown'>> & {
    readonly scaleDown?: Partial<ScalingSpec['scaleDown']>;
  };
  readonly schedules?: (Omit<ScheduleSpec, 'timeZone'> & { readonly timeZone?: string })[];
  readonly crons?: (Pick<CronSpec, 'name' | 'schedule' | 'task'> & Partial<CronSpec>)[];
  readonly retry?: {
    readonly attempts?: number;
    readonly maxDeliveries?: number;
    readonly backoff?: Partial<RetrySpec['backoff']>;
  };
  readonly durability?: { readonly replicas: number; readonly timeout?: string };
  readonly tasks?: Partial<TasksSpec>;
  readonly results?: Partial<ResultsSpec>;
  readonly deadLetters?: Partial<DeadLettersSpec>;
  readonly fallback?: { readonly after?: string; readonly replicas: number };
}

/** A source as a user writes it. */
export interface SourceSpecInput extends Omit<SourceSpec, 'bullmq' | 'celery' | 'custom'> {
  readonly bullmq?: { readonly queues: string[]; readonly prefix?: string };
  readonly celery?: {
    readonly queues: string[];
    readonly prioritySteps?: number[];
    readonly exchanges?: string[];
    readonly keyPrefix?: string;
    readonly separator?: string;
  };
  readonly custom?: Omit<CustomSourceSpec, 'delayed'> & {
    readonly delayed?: { readonly key: string; readonly unit?: 's' | 'ms'; readonly scale?: number }[];
  };
}

/**
 * `spec` with every default filled in; what is set stays as it is, and `spec` itself is not changed. It fills in and
 * does not judge: a spec that the API server would refuse comes out as wrong as it went in.
 */
export function withDefaults(spec: WorkerPoolSpecInput): WorkerPoolSpec {
  const {
    source,
    scaleTargetRef,
    parked,
    job,
    scaling,
    schedules,
    crons,
    retry,
    tasks,
    results,
    deadLetters,
    durability,
    fallback,
    ...rest
  } = spec;
  return {
    queue: 'task_queue',
    result: 'result',
    concurrency: 1,
    minReplicas: 0,
    maxReplicas: 10,
    podDefaults: PodDefaults.Restricted,
    runAs: RunAs.Deployment,
    mode: Mode.Active,
    ...rest,
    ...(source && { source: withSourceDefaults(source) }),
    ...(scaleTargetRef && {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', ...scaleTargetRef },
    }),
    ...(parked && { parked: { cpu: '10m', ...parked } }),
    ...(job && { job: { ttlSecondsAfterFinished: JOB_TTL_S, ...job } }),
    scaling: {
      ...scaling,
      scaleDown: { unmanaged: Unmanaged.WhenIdle, ...scaling?.scaleDown },
    },
    ...(schedules && { schedules: schedules.map(withZone) }),
    ...(crons && { crons: crons.map(withCronDefaults) }),
    retry: {
      attempts: 5,
      maxDeliveries: 5,
      ...retry,
      backoff: { initial: '1s', max: '5m', jitter: true, ...retry?.backoff },
    },
    ...(durability && { durability: { timeout: '1s', ...durability } }),
    tasks: { maxSize: '16Mi', ...tasks },
    results: { ttl: '0s', maxSize: '64Mi', ...results },
    deadLetters: { max: 10_000, maxAge: '720h', ...deadLetters },
    ...(fallback && { fallback: { after: '60s', ...fallback } }),
  };
}

function withSourceDefaults({ bullmq, celery, custom, ...rest }: SourceSpecInput): SourceSpec {
  return {
    ...rest,
    ...(bullmq && { bullmq: { prefix: 'bull', ...bullmq } }),
    ...(celery && { celery: { prioritySteps: [0, 3, 6, 9], ...celery } }),
    ...(custom && { custom: withDelayedDefaults(custom) }),
  };
}

function withDelayedDefaults({ delayed, ...rest }: NonNullable<SourceSpecInput['custom']>): CustomSourceSpec {
  return {
    ...rest,
    ...(delayed && { delayed: delayed.map((one) => ({ unit: 'ms' as const, scale: 1, ...one })) }),
  };
}

function withZone(schedule: NonNullable<WorkerPoolSpecInput['schedules']>[number]): ScheduleSpec {
  return { timeZone: 'UTC', ...schedule };
}

function withCronDefaults(cron: NonNullable<WorkerPoolSpecInput['crons']>[number]): CronSpec {
  return {
    timeZone: 'UTC',
    missed: Missed.Last,
    concurrencyPolicy: ConcurrencyPolicy.Allow,
    suspend: false,
    ...cron,
  };
}
