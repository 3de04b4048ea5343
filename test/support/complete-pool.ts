/** A spec and a status with every field set, at every depth: the compiler asks for one that is missing here. */
import type { PodTemplateSpec } from '../../kube/wire.ts';
import {
  Mode,
  PodDefaults,
  RunAs,
  type WorkerPoolSpec,
  type WorkerPoolStatus,
} from '../../kube/workerpool.ts';

/** Every field set, at every depth; the pod template is Kubernetes' own type and not ours to describe. */
type Complete<T> = T extends PodTemplateSpec
  ? T
  : T extends readonly (infer Item)[]
    ? Complete<Item>[]
    : T extends object
      ? { [K in keyof T]-?: Complete<Exclude<T[K], undefined>> }
      : T;

const from = { secretKeyRef: { name: 'redis', key: 'value' } };
export const completeSpec: Complete<Omit<WorkerPoolSpec, 'template'>> & { template: PodTemplateSpec } = {
  redis: {
    url: 'rediss://redis:6379/0',
    urlFrom: from,
    cluster: { nodes: ['redis-0.redis:6379', 'redis-1.redis:6379'] },
    sentinel: { name: 'mymaster', nodes: ['sentinel-0:26379'], username: 'watch', passwordFrom: from },
    username: 'millrace',
    passwordFrom: from,
    tls: { caFrom: from, certFrom: from, keyFrom: from, serverName: 'redis', insecureSkipVerify: false },
  },
  source: {
    arq: { queues: ['arq:queue'] },
    asynq: { queues: ['default'] },
    bullmq: { queues: ['mail'], prefix: 'bull' },
    celery: {
      queues: ['mail'],
      prioritySteps: [0, 3, 6, 9],
      exchanges: ['media'],
      keyPrefix: 'shop:',
      separator: ':',
    },
    custom: {
      waiting: [{ command: 'LLEN', key: 'jobs', args: [] }],
      inHand: [{ command: 'ZCOUNT', key: 'jobs:leases', args: ['now:ms', '+inf'] }],
      delayed: [{ key: 'jobs:later', unit: 's', scale: 1 }],
      finished: { command: 'GET', key: 'jobs:done', args: [] },
      longestTask: '10m',
    },
    dramatiq: { queues: ['default'], namespace: 'shop' },
    list: { keys: ['jobs'], longestTask: '10m' },
    rq: { queues: ['default'], prefix: 'shop' },
    saq: { queues: ['default'] },
    sidekiq: { queues: ['default'] },
    stream: { keys: ['orders'], group: 'workers', longestTask: '10m' },
    taskiq: { queues: ['taskiq'], group: 'taskiq', longestTask: '10m' },
  },
  queue: 'tiles',
  queues: ['urgent', 'tiles'],
  priorities: ['high', 'low'],
  partitions: 16,
  result: 'pictures',
  template: {
    metadata: { labels: { team: 'maps' }, annotations: { note: 'x' } },
    spec: { containers: [{ name: 'worker', image: 'worker:1' }], restartPolicy: 'Always' },
  },
  workerContainer: 'worker',
  podDefaults: PodDefaults.None,
  runAs: RunAs.Job,
  job: {
    activeDeadlineSeconds: 21_600,
    ttlSecondsAfterFinished: 600,
    podFailurePolicy: {
      rules: [
        {
          action: 'FailJob',
          onExitCodes: { containerName: 'worker', operator: 'In', values: [65] },
          onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }],
        },
      ],
    },
  },
  scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'tiles' },
  concurrency: 4,
  minReplicas: 1,
  maxReplicas: 50,
  parked: { replicas: 2, cpu: '20m', memory: '80Mi' },
  schedules: [
    {
      name: 'office hours',
      start: '0 8 * * 1-5',
      duration: '10h',
      timeZone: 'Europe/Berlin',
      minReplicas: 3,
      maxReplicas: 20,
    },
  ],
  limits: {
    rate: '100/s',
    burst: 200,
    concurrency: 20,
    perKey: { field: 'customer', rate: '5/s', burst: 5, concurrency: 1 },
  },
  crons: [
    {
      name: 'nightly',
      schedule: '0 3 * * *',
      timeZone: 'Europe/Berlin',
      task: { kind: 'report' },
      missed: 'All',
      concurrencyPolicy: 'Forbid',
      suspend: true,
    },
  ],
  scaling: {
    forecast: true,
    targetWait: '10s',
    tasksPerReplica: 10,
    scaleUp: { maxStep: 4 },
    scaleDown: { window: '30s', unmanaged: 'Never', maxStep: '10%' },
  },
  retry: { attempts: 3, maxDeliveries: 2, backoff: { initial: '2s', max: '1m', jitter: false } },
  durability: { replicas: 2, timeout: '500ms' },
  tasks: { maxSize: '1Mi' },
  results: { ttl: '24h', maxSize: '16Mi' },
  deadLetters: { max: 500, maxAge: '72h' },
  fallback: { after: '90s', replicas: 3 },
  mode: Mode.DryRun,
};

export const completeStatus: Complete<WorkerPoolStatus> = {
  observedGeneration: 1,
  replicas: 3,
  readyReplicas: 2,
  terminatingReplicas: 1,
  desiredReplicas: 3,
  parkedReplicas: 1,
  slots: 8,
  slotsReason: 'at 12 the tasks took 1.6 times as long',
  selector: 'a=b',
  queue: 'urgent,tiles',
  priorities: ['high'],
  partitions: [1, 16],
  workerPartitions: '1,16',
  waiting: 1,
  inFlight: 2,
  delayed: 3,
  dead: 4,
  serviceTime: { p50: '800ms', p95: '2.1s' },
  startTime: { p50: '2s', p95: '2.6s' },
  arrivalRate: '12.5/s',
  schedules: ['office hours'],
  limits: '100/s, 20 at once',
  crons: [
    {
      name: 'nightly',
      lastTime: '2026-01-01T03:00:00Z',
      lastTask: 'nightly:2026-01-01T03:00:00Z',
      nextTime: '2026-01-02T03:00:00Z',
      suspended: true,
      missed: 1,
      skipped: 2,
    },
  ],
  lastScaleTime: '2026-01-01T00:00:00Z',
  lastDecision: '0→3: 12 waiting',
  lastCause: 'ScaleUp',
  wake: 'Tracking',
  applied: 'mKZpFh5vZxqYr0Tb.x1zq8sW9kPfGJ2aA',
  replicasApplier: { manager: 'helm', time: '2026-01-01T00:00:00Z' },
  conditions: [
    {
      type: 'Ready',
      status: 'True',
      reason: 'Scaled',
      message: 'all is well',
      observedGeneration: 1,
      lastTransitionTime: '2026-01-01T00:00:00Z',
    },
  ],
};
