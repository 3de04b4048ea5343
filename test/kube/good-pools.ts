/** Specs of pools that the API server accepts, for the tests of the definition. */
import { adopting, base, secret, type Json } from './pools.ts';

/** What is special about it, and the spec. */
export const good: [what: string, spec: Json][] = [
  ['the least', base],
  ['an adopted Deployment', adopting],
  ['a URL with everything', { ...base, redis: { url: 'rediss://user:p%40ss@redis.example.com:6380/15' } }],
  ['an IPv6 address', { ...base, redis: { url: 'redis://[fd00::1]:6379' } }],
  ['a user in the URL', { ...base, redis: { url: 'redis://user@redis', passwordFrom: secret } }],
  ['a URL from a Secret', { ...base, redis: { urlFrom: secret } }],
  [
    'sentinels with TLS',
    { ...base, redis: { sentinel: { name: 'm', nodes: ['a:26379', '[::1]:26379'] }, tls: {} } },
  ],
  [
    'a cluster with TLS',
    { ...base, redis: { cluster: { nodes: ['redis-0:6379', '[::1]:6379'] }, tls: {}, passwordFrom: secret } },
  ],
  [
    'sentinels with a password of their own',
    { ...base, redis: { sentinel: { name: 'm', nodes: ['a:26379'], username: 'u', passwordFrom: secret } } },
  ],
  ['a queue with any characters', { ...base, queue: '{orders}:tasks to do/ä' }],
  ['parked replicas', { ...base, parked: { replicas: 2 } }],
  [
    'parked replicas of a size',
    { ...base, maxReplicas: 2, parked: { replicas: 2, cpu: '0.01', memory: '80Mi' } },
  ],
  ['a floor over the parked replicas', { ...base, minReplicas: 5, parked: { replicas: 2, cpu: '25m' } }],
  ['a number of slots that workers find', { ...base, concurrency: 'auto' }],
  ['the same within bounds', { ...base, concurrency: 'auto:4-64' }],
  ['the same of an adopted Deployment', { ...adopting, concurrency: 'auto:1-10000' }],
  ['priorities', { ...base, priorities: ['low', 'high'] }],
  ['priorities of a queue with a hash tag', { ...base, queue: '{a}:b', priorities: ['high'] }],
  ['partitions', { ...base, partitions: 256 }],
  ['Jobs', { ...base, runAs: 'Job' }],
  [
    'Jobs with everything',
    {
      ...base,
      template: { spec: { ...base.template.spec, restartPolicy: 'Never' } },
      runAs: 'Job',
      queues: ['urgent', 'bulk'],
      job: {
        activeDeadlineSeconds: 86_400,
        ttlSecondsAfterFinished: 0,
        podFailurePolicy: {
          rules: [
            { action: 'FailJob', onExitCodes: { containerName: 'worker', operator: 'In', values: [65, 66] } },
            { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget' }] },
          ],
        },
      },
    },
  ],
  ['one partition of several queues', { ...base, partitions: 1, queues: ['{a}', 'b'] }],
  ['a target wait', { ...base, scaling: { targetWait: '1m30s' } }],
  ['a target wait and tasks per replica', { ...base, scaling: { targetWait: '100ms', tasksPerReplica: 3 } }],
  [
    'schedules, and a forecast',
    {
      ...base,
      scaling: { targetWait: '10s', forecast: true },
      schedules: [
        { name: 'a', start: '0 8 * * 1-5', duration: '10h', timeZone: 'Europe/Berlin', minReplicas: 3 },
        { start: '*/15 2-4 1,15 JAN-MAR *', duration: '1h30m', maxReplicas: 0 },
      ],
    },
  ],
  [
    'limits',
    {
      ...base,
      limits: {
        rate: '10/30s',
        burst: 3,
        concurrency: 20,
        perKey: { field: 'customer', rate: '5/m', concurrency: 1 },
      },
    },
  ],
  [
    'crons',
    {
      ...base,
      crons: [
        { name: 'nightly', schedule: '0 3 * * *', task: { kind: 'report', pages: [1, 2] } },
        {
          name: 'a',
          schedule: '*/5 * * * 1-5',
          timeZone: 'Europe/Berlin',
          task: {},
          missed: 'Skip',
          concurrencyPolicy: 'Forbid',
          suspend: true,
        },
      ],
    },
  ],
  [
    'limits on steps',
    { ...base, scaling: { scaleUp: { maxStep: '100%' }, scaleDown: { maxStep: 2, window: '0s' } } },
  ],
  ...(
    [
      { asynq: { queues: ['default'] } },
      { bullmq: { queues: ['mail'] } },
      {
        celery: {
          queues: ['mail'],
          prioritySteps: [0, 9],
          exchanges: ['media'],
          keyPrefix: 'a:',
          separator: ':',
        },
      },
      { rq: { queues: ['default'], prefix: 'shop' } },
      { dramatiq: { queues: ['default'], namespace: 'shop' } },
      { arq: { queues: ['arq:queue'] } },
      { saq: { queues: ['default'] } },
      { sidekiq: { queues: ['default'] } },
      { list: { keys: ['jobs'], longestTask: '10m' } },
      { stream: { keys: ['orders'], group: 'workers' } },
      { taskiq: { queues: ['taskiq'], longestTask: '10m' } },
    ] as const
  ).map((source): [string, Json] => [
    `the source ${Object.keys(source)[0]}`,
    { ...adopting, source, scaling: { tasksPerReplica: 8 } },
  ]),
  [
    'a source with a count of what was finished, and a target wait',
    {
      ...base,
      source: {
        custom: {
          waiting: [{ command: 'LLEN', key: 'jobs' }],
          inHand: [{ command: 'ZCOUNT', key: 'jobs:leases', args: ['(now:ms*1.5', '+inf'] }],
          delayed: [{ key: 'jobs:later', unit: 's' }],
          finished: { command: 'HGET', key: 'jobs:counts', args: ['done'] },
        },
      },
      scaling: { targetWait: '10s' },
    },
  ],
  [
    'a stream of taskiq with a target wait',
    { ...base, source: { taskiq: { queues: ['taskiq'], group: 'taskiq' } }, scaling: { targetWait: '10s' } },
  ],
  [
    'a stream with a target wait',
    { ...base, source: { stream: { keys: ['orders'], group: 'workers' } }, scaling: { targetWait: '10s' } },
  ],
  ['durations as Go writes them', { ...base, scaling: { scaleDown: { window: '1h2m3.5s' } } }],
  [
    'limits of results and dead letters',
    {
      ...base,
      tasks: { maxSize: '512Mi' },
      results: { ttl: '36h', maxSize: '512Mi' },
      deadLetters: { max: 1, maxAge: '0s' },
    },
  ],
  ['no pause at all', { ...base, retry: { backoff: { initial: '0', max: '0s' } } }],
];
