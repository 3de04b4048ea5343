/**
 * WorkerPool (`millrace.dev/v1alpha1`): what a user writes, and what the controller answers in `status`.
 *
 * These types describe an object as the API server returns it, so every field that has a default is there. The
 * defaults stand in the CRD's schema (charts/millrace/files/workerpools.yaml); `defaults.ts` repeats them for
 * pools that never meet an API server (`millrace dev`), and a test compares the two.
 */
import type { Condition } from './conditions.ts';
import { sourceQueues, type SourceSpec } from './source-spec.ts';
import type { ObjectMeta, PodTemplateSpec } from './wire.ts';

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
  apiVersion: `${typeof GROUP}/${typeof VERSION}`;
  kind: typeof KIND;
  metadata: ObjectMeta & { name: string; namespace: string };
  spec: WorkerPoolSpec;
  status?: WorkerPoolStatus;
}

export interface WorkerPoolSpec {
  redis: RedisSpec;
  /** Another queue library whose tasks the pods run, instead of `queue`, `queues` and `result`, which are not used then. */
  source?: SourceSpec;
  /** The Redis LIST that clients `LPUSH` to. Not used when there are `queues`. */
  queue: string;
  /** Several lists instead of one, in strict priority, the first one first. */
  queues?: string[];
  /** The Redis HASH that workers write results to. */
  result: string;
  /** Pods of a Deployment that the controller owns. Exactly one of `template` and `scaleTargetRef` is set. */
  template?: PodTemplateSpec;
  /** The container of the template that runs the worker; without it, the first one. */
  workerContainer?: string;
  /** Whether pods get the defaults of Kubernetes' restricted level, where the template sets nothing. */
  podDefaults: PodDefaults;
  /** An existing Deployment to scale; the controller touches nothing of it but its replicas. */
  scaleTargetRef?: ScaleTargetRef;
  /** Slots per replica: how many tasks a worker runs at a time. */
  concurrency: number;
  minReplicas: number;
  maxReplicas: number;
  scaling: ScalingSpec;
  /** Periods with other bounds. */
  schedules?: ScheduleSpec[];
  retry: RetrySpec;
  /** Workers wait for this many replicas of Redis after each turn; by default, for none. */
  durability?: { replicas: number; timeout: Duration };
  /** Absent where the definition in the cluster is of an older version. */
  tasks?: TasksSpec;
  results: ResultsSpec;
  deadLetters: DeadLettersSpec;
  /** Replicas to keep if the queue could not be read for `after`; by default the pool keeps its replicas. */
  fallback?: { after: Duration; replicas: number };
  mode: Mode;
}

export const Mode = { Active: 'Active', DryRun: 'DryRun', Paused: 'Paused' } as const;
export type Mode = (typeof Mode)[keyof typeof Mode];

export const PodDefaults = { Restricted: 'Restricted', None: 'None' } as const;
export type PodDefaults = (typeof PodDefaults)[keyof typeof PodDefaults];

export interface ScaleTargetRef {
  apiVersion: 'apps/v1';
  kind: 'Deployment';
  name: string;
}

export interface ScalingSpec {
  /** The target rule: as many replicas as it takes to begin every task within this time of its arrival. */
  targetWait?: Duration;
  /**
   * The plain rule: `ceil((waiting + in flight) / tasksPerReplica)` replicas; 5 when there is no `targetWait` either. With
   * both, the larger number of replicas wins.
   */
  tasksPerReplica?: number;
  /** Whether what past days and weeks needed at this hour may raise the number of replicas; only with `targetWait`. */
  forecast?: boolean;
  scaleUp?: { maxStep?: StepLimit };
  scaleDown: {
    /**
     * Replicas go down only under what this last stretch of time never needed. Without it, 60 s; with `targetWait` alone,
     * as long as idling costs less than a start.
     */
    window?: Duration;
    maxStep?: StepLimit;
    /** When pods that cannot drain, because their workers are not Millrace's, may be removed. */
    unmanaged: Unmanaged;
  };
}

/** Replaces the pool's bounds for `duration` from each start. At least one of the bounds is set. */
export interface ScheduleSpec {
  /** For people; without it, `start` stands for it. */
  name?: string;
  /** Five fields of cron, `0 8 * * 1-5`. */
  start: string;
  duration: Duration;
  /** A name of the IANA database, `Europe/Berlin`. */
  timeZone: string;
  minReplicas?: number;
  /** A `minReplicas` above it, or above the pool's, raises it. */
  maxReplicas?: number;
}

export const Unmanaged = { WhenIdle: 'WhenIdle', Always: 'Always', Never: 'Never' } as const;
export type Unmanaged = (typeof Unmanaged)[keyof typeof Unmanaged];

export interface RetrySpec {
  /** Maximum number of attempts of a task, including the first. */
  attempts: number;
  /** Deliveries that all ended with the death of the worker, before a task is given up. */
  maxDeliveries: number;
  backoff: { initial: Duration; max: Duration; jitter: boolean };
}

export interface TasksSpec {
  /** A larger task becomes a dead letter instead of being run; a quantity such as `1Mi`, at most `512Mi`. */
  maxSize: string;
}

export interface ResultsSpec {
  /** How long a result is kept; `0s` for ever. */
  ttl: Duration;
  /** A larger result fails its task for good; a quantity such as `16Mi`, at most `512Mi`. */
  maxSize: string;
}

/** How many of the tasks that failed for good the queue keeps: the newest. */
export interface DeadLettersSpec {
  max: number;
  /** `0s` for ever. */
  maxAge: Duration;
}

export interface SecretKeyRef {
  name: string;
  key: string;
}

/** Takes a value from a Secret of the pool's namespace. */
export interface SecretSource {
  secretKeyRef: SecretKeyRef;
}

export interface RedisSpec {
  /** `redis://[user[:password]@]host[:port][/db]`, or `rediss://` for TLS. One of `url`, `urlFrom`, `sentinel`, `cluster`. */
  url?: string;
  urlFrom?: SecretSource;
  sentinel?: SentinelSpec;
  cluster?: ClusterSpec;
  username?: string;
  passwordFrom?: SecretSource;
  tls?: TlsSpec;
}

export interface SentinelSpec {
  /** Under which the sentinels watch the primary. */
  name: string;
  /** `host:port` of each. */
  nodes: string[];
  /** The sentinels' own; without a password here, that of Redis is tried where they want one. */
  username?: string;
  passwordFrom?: SecretSource;
}

/** Some nodes of a Redis Cluster. */
export interface ClusterSpec {
  /** `host:port` of each. */
  nodes: string[];
}

export interface TlsSpec {
  /** PEM of the authority that signed the server's certificate. */
  caFrom?: SecretSource;
  /** PEM of the client's certificate and key, where the server asks for them. */
  certFrom?: SecretSource;
  keyFrom?: SecretSource;
  /** Name to check the server's certificate against, when it is not the host of the URL. */
  serverName?: string;
  insecureSkipVerify?: boolean;
}

export interface WorkerPoolStatus {
  observedGeneration?: number;
  /** Replicas that exist; what `/scale` reports. */
  replicas?: number;
  readyReplicas?: number;
  /** Being shut down, and counted neither in `replicas` nor in `readyReplicas`: workers that finish what they run. */
  terminatingReplicas?: number;
  desiredReplicas?: number;
  /** Label selector of the pods, as a string; what `/scale` reports. */
  selector?: string;
  /** The queue, or the queues by priority, with commas. */
  queue?: string;
  waiting?: number;
  inFlight?: number;
  delayed?: number;
  dead?: number;
  /** With a target wait: how long tasks take and pods start, and tasks a second over the last minute, `12.5/s`. */
  serviceTime?: Quantiles;
  startTime?: Quantiles;
  arrivalRate?: string;
  /** The schedules that are on, by name. */
  schedules?: string[];
  lastScaleTime?: string;
  /** The last decision, human-readable: `0→3: 12 waiting, 0 in flight, 5 tasks a replica`. */
  lastDecision?: string;
  /** The machine-readable cause of that decision. Absent if an older controller wrote the status. */
  lastCause?: string;
  /** How the controller detects the first task in an empty queue: Tracking, BlockingPeek or Polling. */
  wake?: string;
  /** Fingerprints of the Deployment as applied and as stored: the next controller need not apply it again. */
  applied?: string;
  /** The field manager that applied replicas to the adopted Deployment, and when (RFC 3339): another controller resumes with it. */
  replicasApplier?: { manager: string; time?: string };
  conditions?: Condition[];
}

export interface Quantiles {
  p50: Duration;
  p95: Duration;
}

/** The queues of a pool, the highest priority first; of a source, what people call them (`sourceQueues`). */
export function queuesOf({
  source,
  queue,
  queues,
}: Pick<WorkerPoolSpec, 'source' | 'queue' | 'queues'>): readonly string[] {
  return source ? sourceQueues(source) : (queues ?? [queue]);
}
