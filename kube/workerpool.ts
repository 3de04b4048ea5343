/**
 * WorkerPool (`millrace.dev/v1alpha1`): what a user writes, and what the controller answers in `status`.
 *
 * These types describe an object as the API server returns it, so every field that has a default is there. The
 * defaults stand in the CRD's schema (charts/millrace/files/workerpools.yaml); `defaults.ts` repeats them for
 * pools that never meet an API server (`millrace dev`), and a test compares the two.
 */
import type { Condition } from './conditions.ts';
import { sourceQueues, type SourceSpec } from './source-spec.ts';
import type { ObjectMeta, PodFailurePolicy, PodTemplateSpec } from './wire.ts';

export const GROUP = 'millrace.dev';
export const VERSION = 'v1alpha1';
export const PLURAL = 'workerpools';
export const KIND = 'WorkerPool';

/** Annotations of a pool that pause it: `"true"`, and a number of replicas to be kept meanwhile. */
export const PAUSED = 'millrace.dev/paused';
export const PAUSED_REPLICAS = 'millrace.dev/paused-replicas';

/** A number of replicas, or a percentage of those that there are, `50%`; in any 15 s. */
export type StepLimit = number | string;

/** A Go-style duration, `1m30s`, `250ms`: see runtime/duration.ts. */
export type Duration = string;

export interface WorkerPool {
  readonly apiVersion: `${typeof GROUP}/${typeof VERSION}`;
  readonly kind: typeof KIND;
  readonly metadata: ObjectMeta & { readonly name: string; readonly namespace: string };
  readonly spec: WorkerPoolSpec;
  readonly status?: WorkerPoolStatus;
}

export interface WorkerPoolSpec {
  readonly redis: RedisSpec;
  /** Another queue library whose tasks the pods run, instead of `queue`, `queues` and `result`, which are not used then. */
  readonly source?: SourceSpec;
  /** The Redis LIST that clients `LPUSH` to. Not used when there are `queues`. */
  readonly queue: string;
  /** Several lists instead of one, in strict priority, the first one first. */
  readonly queues?: string[];
  /** Priorities of `queue` that have lists of their own (queue/priorities.ts). */
  readonly priorities?: ('high' | 'low')[];
  /** Of `queue`, so many lists and result hashes with a number each (queue/partitions.ts); 1 or absent: the plain names. */
  readonly partitions?: number;
  /** The Redis HASH that workers write results to. */
  readonly result: string;
  /** What the template becomes: a Deployment of workers, or a Job for each task. It cannot be changed. */
  readonly runAs: RunAs;
  /** Of a pool that runs Jobs; absent where it sets nothing. */
  readonly job?: JobSpec;
  /** Pods that the controller owns. Exactly one of `template` and `scaleTargetRef` is set. */
  readonly template?: PodTemplateSpec;
  /** The container of the template that runs the worker; without it, the first one. */
  readonly workerContainer?: string;
  /** Whether pods get the defaults of Kubernetes' restricted level, where the template sets nothing. */
  readonly podDefaults: PodDefaults;
  /** An existing Deployment to scale; the controller touches nothing of it but its replicas. */
  readonly scaleTargetRef?: ScaleTargetRef;
  /** Slots per replica: how many tasks a worker runs at a time; `auto` or `auto:4-64`: as many as it finds to be best. */
  readonly concurrency: number | string;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** The last replicas, which are kept at a small size instead of being removed. */
  readonly parked?: ParkedSpec;
  readonly scaling: ScalingSpec;
  /** Periods with other bounds. */
  readonly schedules?: ScheduleSpec[];
  /** Tasks that are pushed at set times. */
  readonly crons?: CronSpec[];
  /** How many tasks of each queue begin in a time and run at once. */
  readonly limits?: LimitsSpec;
  readonly retry: RetrySpec;
  /** Workers wait for this many replicas of Redis after each turn; by default, for none. */
  readonly durability?: { readonly replicas: number; readonly timeout: Duration };
  /** Absent where the definition in the cluster is of an older version. */
  readonly tasks?: TasksSpec;
  readonly results: ResultsSpec;
  readonly deadLetters: DeadLettersSpec;
  /** Replicas to keep if the queue could not be read for `after`; by default the pool keeps its replicas. */
  readonly fallback?: { readonly after: Duration; readonly replicas: number };
  readonly mode: Mode;
}

export const Mode = { Active: 'Active', DryRun: 'DryRun', Paused: 'Paused' } as const;
export type Mode = (typeof Mode)[keyof typeof Mode];

export const RunAs = { Deployment: 'Deployment', Job: 'Job' } as const;
export type RunAs = (typeof RunAs)[keyof typeof RunAs];

/** Fields of a Job's spec, with the meaning that they have there. */
export interface JobSpec {
  /** An attempt fails this long after its Job began, s, whether or not its pod runs by then. */
  readonly activeDeadlineSeconds?: number;
  /** How long a Job is kept after its outcome was recorded, s. */
  readonly ttlSecondsAfterFinished: number;
  /** Rules that come before the one that replaces the pod of a drained node. */
  readonly podFailurePolicy?: PodFailurePolicy;
}

export const PodDefaults = { Restricted: 'Restricted', None: 'None' } as const;
export type PodDefaults = (typeof PodDefaults)[keyof typeof PodDefaults];

export interface ScaleTargetRef {
  readonly apiVersion: 'apps/v1';
  readonly kind: 'Deployment';
  readonly name: string;
}

/** Pods that are up and reserve little; they get what the template requests when they are needed, without a restart. */
export interface ParkedSpec {
  /** Pods that the pool keeps in all, while it needs no more. */
  readonly replicas: number;
  /** What the worker's container requests while it is parked; its limits stay. A quantity such as `10m`. */
  readonly cpu: string;
  /** By default what the template requests; a quantity such as `80Mi`. */
  readonly memory?: string;
}

export interface ScalingSpec {
  /** The target rule: as many replicas as it takes to begin every task within this time of its arrival. */
  readonly targetWait?: Duration;
  /**
   * The plain rule: `ceil((waiting + in flight) / tasksPerReplica)` replicas; 5 when there is no `targetWait` either. With
   * both, the larger number of replicas wins.
   */
  readonly tasksPerReplica?: number;
  /** Whether what past days and weeks needed at this hour may raise the number of replicas; only with `targetWait`. */
  readonly forecast?: boolean;
  readonly scaleUp?: { readonly maxStep?: StepLimit };
  readonly scaleDown: {
    /**
     * Replicas go down only under what this last stretch of time never needed. Without it, 60 s; with `targetWait` alone,
     * as long as idling costs less than a start.
     */
    readonly window?: Duration;
    readonly maxStep?: StepLimit;
    /** When pods that cannot drain, because their workers are not Millrace's, may be removed. */
    readonly unmanaged: Unmanaged;
  };
}

/** Replaces the pool's bounds for `duration` from each start. At least one of the bounds is set. */
export interface ScheduleSpec {
  /** For people; without it, `start` stands for it. */
  readonly name?: string;
  /** Five fields of cron, `0 8 * * 1-5`. */
  readonly start: string;
  readonly duration: Duration;
  /** A name of the IANA database, `Europe/Berlin`. */
  readonly timeZone: string;
  readonly minReplicas?: number;
  /** A `minReplicas` above it, or above the pool's, raises it. */
  readonly maxReplicas?: number;
}

/** A task that is pushed at each occurrence of a schedule. */
export interface CronSpec {
  readonly name: string;
  /** Five fields of cron, `0 3 * * *`. */
  readonly schedule: string;
  /** A name of the IANA database, `Europe/Berlin`. */
  readonly timeZone: string;
  /** A JSON object. Without an `id`, it gets the name and the time. */
  readonly task: Readonly<Record<string, unknown>>;
  /** What becomes of occurrences that fell due while no controller was there. */
  readonly missed: Missed;
  /** Whether a task is pushed while the last one waits or runs. */
  readonly concurrencyPolicy: ConcurrencyPolicy;
  /** Nothing is pushed, and nothing is missed. */
  readonly suspend: boolean;
}

/** See queue/limits/definition.ts. At least one of the limits is set. */
export interface LimitsSpec {
  /** `100/s`, `5/m`, `20/h`. */
  readonly rate?: string;
  readonly burst?: number;
  readonly concurrency?: number;
  readonly perKey?: {
    readonly field: string;
    readonly rate?: string;
    readonly burst?: number;
    readonly concurrency?: number;
  };
}

export const Missed = { Skip: 'Skip', Last: 'Last', All: 'All' } as const;
export type Missed = (typeof Missed)[keyof typeof Missed];

export const ConcurrencyPolicy = { Allow: 'Allow', Forbid: 'Forbid' } as const;
export type ConcurrencyPolicy = (typeof ConcurrencyPolicy)[keyof typeof ConcurrencyPolicy];

export const Unmanaged = { WhenIdle: 'WhenIdle', Always: 'Always', Never: 'Never' } as const;
export type Unmanaged = (typeof Unmanaged)[keyof typeof Unmanaged];

export interface RetrySpec {
  /** Maximum number of attempts of a task, including the first. */
  readonly attempts: number;
  /** Deliveries that all ended with the death of the worker, before a task is given up. */
  readonly maxDeliveries: number;
  readonly backoff: { readonly initial: Duration; readonly max: Duration; readonly jitter: boolean };
}

export interface TasksSpec {
  /** A larger task becomes a dead letter instead of being run; a quantity such as `1Mi`, at most `512Mi`. */
  readonly maxSize: string;
}

export interface ResultsSpec {
  /** How long a result is kept; `0s` for ever. */
  readonly ttl: Duration;
  /** A larger result fails its task for good; a quantity such as `16Mi`, at most `512Mi`. */
  readonly maxSize: string;
}

/** How many of the tasks that failed for good the queue keeps: the newest. */
export interface DeadLettersSpec {
  readonly max: number;
  /** `0s` for ever. */
  readonly maxAge: Duration;
}

export interface SecretKeyRef {
  readonly name: string;
  readonly key: string;
}

/** Takes a value from a Secret of the pool's namespace. */
export interface SecretSource {
  readonly secretKeyRef: SecretKeyRef;
}

export interface RedisSpec {
  /** `redis://[user[:password]@]host[:port][/db]`, or `rediss://` for TLS. One of `url`, `urlFrom`, `sentinel`, `cluster`. */
  readonly url?: string;
  readonly urlFrom?: SecretSource;
  readonly sentinel?: SentinelSpec;
  readonly cluster?: ClusterSpec;
  readonly username?: string;
  readonly passwordFrom?: SecretSource;
  readonly tls?: TlsSpec;
}

export interface SentinelSpec {
  /** Under which the sentinels watch the primary. */
  readonly name: string;
  /** `host:port` of each. */
  readonly nodes: string[];
  /** The sentinels' own; without a password here, that of Redis is tried where they want one. */
  readonly username?: string;
  readonly passwordFrom?: SecretSource;
}

/** Some nodes of a Redis Cluster. */
export interface ClusterSpec {
  /** `host:port` of each. */
  readonly nodes: string[];
}

export interface TlsSpec {
  /** PEM of the authority that signed the server's certificate. */
  readonly caFrom?: SecretSource;
  /** PEM of the client's certificate and key, where the server asks for them. */
  readonly certFrom?: SecretSource;
  readonly keyFrom?: SecretSource;
  /** Name to check the server's certificate against, when it is not the host of the URL. */
  readonly serverName?: string;
  readonly insecureSkipVerify?: boolean;
}

export interface WorkerPoolStatus {
  readonly observedGeneration?: number;
  /** Replicas that exist; what `/scale` reports. */
  readonly replicas?: number;
  readonly readyReplicas?: number;
  /** Being shut down, and counted neither in `replicas` nor in `readyReplicas`: workers that finish what they run. */
  readonly terminatingReplicas?: number;
  /** Working replicas that the last decision requires; parked ones are kept beside them. */
  readonly desiredReplicas?: number;
  /** Of `replicas`, those that are parked; absent where the pool parks none. */
  readonly parkedReplicas?: number;
  /** With `concurrency: auto`: the slots of a replica that the pool is sized by, and why it has so many. */
  readonly slots?: number;
  readonly slotsReason?: string;
  /** Label selector of the pods, as a string; what `/scale` reports. */
  readonly selector?: string;
  /** The queue, or the queues by priority, with commas. */
  readonly queue?: string;
  /** The numbers of partitions whose lists are read, smallest first; absent if that is only the list without partitions. */
  readonly partitions?: number[];
  /** The priorities that are served, also those that the spec no longer names and that hold tasks; absent if there are none. */
  readonly priorities?: string[];
  /** The value of `MILLRACE_PARTITIONS` for workers, `1,16`; absent likewise. */
  readonly workerPartitions?: string;
  readonly waiting?: number;
  readonly inFlight?: number;
  readonly delayed?: number;
  readonly dead?: number;
  /** With a target wait: how long tasks take and pods start, and tasks a second over the last minute, `12.5/s`. */
  readonly serviceTime?: Quantiles;
  readonly startTime?: Quantiles;
  readonly arrivalRate?: string;
  /** The schedules that are on, by name. */
  readonly schedules?: string[];
  /** The last task of each cron task, and when the next one is due. */
  readonly crons?: CronStatus[];
  /** The limits that were written to the queues: `100/s, 20 at once`. */
  readonly limits?: string;
  readonly lastScaleTime?: string;
  /** The last decision, human-readable: `0→3: 12 waiting, 0 in flight, 5 tasks a replica`. */
  readonly lastDecision?: string;
  /** The machine-readable cause of that decision. Absent if an older controller wrote the status. */
  readonly lastCause?: string;
  /** How the controller detects the first task in an empty queue: Tracking, BlockingPeek or Polling. */
  readonly wake?: string;
  /** Fingerprints of the Deployment as applied and as stored: the next controller need not apply it again. */
  readonly applied?: string;
  /** The field manager that applied replicas to the adopted Deployment, and when (RFC 3339): another controller resumes with it. */
  readonly replicasApplier?: { readonly manager: string; readonly time?: string };
  readonly conditions?: Condition[];
}

export interface CronStatus {
  readonly name: string;
  /** When the last task was due (RFC 3339), and its id. */
  readonly lastTime?: string;
  readonly lastTask?: string;
  readonly nextTime?: string;
  readonly suspended?: boolean;
  /** Number of occurrences that were left out because no controller could push them, or because the last task still ran. */
  readonly missed?: number;
  readonly skipped?: number;
}

export interface Quantiles {
  readonly p50: Duration;
  readonly p95: Duration;
}

/** The queues of a pool, the highest priority first; of a source, what people call them (`sourceQueues`). */
export function queuesOf({
  source,
  queue,
  queues,
}: Pick<WorkerPoolSpec, 'source' | 'queue' | 'queues'>): readonly string[] {
  return source ? sourceQueues(source) : (queues ?? [queue]);
}
