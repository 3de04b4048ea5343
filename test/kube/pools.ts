/** Specs of pools that the API server refuses, for the tests of the definition; those that it accepts are in good-pools.ts. */

export type Json = Record<string, unknown>;

export const container = { name: 'worker', image: 'worker:1' };
export const base = {
  redis: { url: 'redis://redis:6379/0' },
  template: { spec: { containers: [container] } },
};
export const adopting = { redis: base.redis, scaleTargetRef: { name: 'thumbnails' } };
export const secret = { secretKeyRef: { name: 'redis', key: 'value' } };

const fallback = { after: '60s', replicas: 1 };
/** What is wrong, how it differs from `base` (undefined: left out), and a part of the message that the user sees. */
export const bad: [what: string, change: Json, message: string][] = [
  [
    'parked of an adopted Deployment',
    { ...adopting, template: undefined, parked: { replicas: 1 } },
    'use template instead of scaleTargetRef',
  ],
  [
    'parked of a source',
    { source: { rq: { queues: ['a'] } }, parked: { replicas: 1 } },
    'only workers of Millrace can be parked',
  ],
  ['more parked than max', { parked: { replicas: 11 } }, 'parked.replicas is greater than maxReplicas'],
  ['parked without a number', { parked: { cpu: '10m' } }, 'spec.parked.replicas: Required value'],
  ['none parked', { parked: { replicas: 0 } }, 'should be greater than or equal to 1'],
  ...['0', '0m', '1.5m', '-1', 'ten', '10Mi', '0.0001'].map((cpu): [string, Json, string] => [
    `parked at a CPU of ${cpu}`,
    { parked: { replicas: 1, cpu } },
    'write an amount of CPU from 1m, such as 10m or 0.01',
  ]),
  ...['0', '80m', '80MB', '1.5Gi'].map((memory): [string, Json, string] => [
    `parked at a memory of ${memory}`,
    { parked: { replicas: 1, memory } },
    'write an amount of memory, such as 80Mi',
  ]),
  ...[-1, 10_001, 'auto:0-8', 'auto:8', 'auto:1-10001', 'automatic', '4', '50%'].map(
    (concurrency): [string, Json, string] => [
      `a concurrency of ${concurrency}`,
      { concurrency },
      'write a number of tasks from 1 to 10000, such as 4, or auto, or auto with other bounds, such as auto:4-64',
    ],
  ),
  ['a concurrency from 8 to 2', { concurrency: 'auto:8-2' }, 'no number of tasks is within these bounds'],
  [
    'a concurrency that another library would have to find',
    { source: { rq: { queues: ['default'] } }, concurrency: 'auto' },
    'concurrency: auto is found by workers of Millrace',
  ],
  [
    'Jobs with a concurrency to be found',
    { runAs: 'Job', concurrency: 'auto' },
    'a Job is created for a task and runs one',
  ],
  ['neither template nor target', { template: undefined }, 'set exactly one of template'],
  ['both template and target', { scaleTargetRef: { name: 'x' } }, 'set exactly one of template'],
  [
    'Jobs of an adopted Deployment',
    { template: undefined, scaleTargetRef: { name: 'x' }, runAs: 'Job' },
    'cannot adopt a Deployment',
  ],
  [
    'Jobs of a source',
    { runAs: 'Job', source: { rq: { queues: ['default'] } } },
    "a Job is given a task of Millrace's own queue",
  ],
  ['Jobs in partitions', { runAs: 'Job', partitions: 2 }, 'from a queue without partitions'],
  ['parked Jobs', { runAs: 'Job', parked: { replicas: 1 } }, 'remove parked, or runAs'],
  ['durable Jobs', { runAs: 'Job', durability: { replicas: 1 } }, 'remove durability'],
  ['Jobs with a target', { runAs: 'Job', scaling: { targetWait: '10s' } }, 'each task has a Job of its own'],
  [
    'Jobs with tasks per replica',
    { runAs: 'Job', scaling: { tasksPerReplica: 2 } },
    'each task has a Job of its own',
  ],
  ['Jobs that wait', { runAs: 'Job', minReplicas: 1 }, 'a Job is created for a task and runs one'],
  ['Jobs with slots', { runAs: 'Job', concurrency: 2 }, 'a Job is created for a task and runs one'],
  ['Jobs for tasks that are not known', { runAs: 'Job', fallback }, 'remove fallback'],
  ['settings of Jobs without Jobs', { job: { activeDeadlineSeconds: 60 } }, 'set runAs: Job, or remove job'],
  [
    'a deadline that is none',
    { runAs: 'Job', job: { activeDeadlineSeconds: 0 } },
    'greater than or equal to 1',
  ],
  ['something else that runs', { runAs: 'StatefulSet' }, 'supported values: "Deployment", "Job"'],
  [
    'pods of Jobs that are restarted',
    { runAs: 'Job', template: { spec: { containers: [container], restartPolicy: 'Always' } } },
    'those of a Job never are',
  ],
  [
    'pods of a Deployment that are not restarted',
    { template: { spec: { containers: [container], restartPolicy: 'Never' } } },
    'those of a Job never are',
  ],
  [
    'a rule with both',
    {
      runAs: 'Job',
      job: {
        podFailurePolicy: {
          rules: [
            {
              action: 'Count',
              onExitCodes: { operator: 'In', values: [1] },
              onPodConditions: [{ type: 'X' }],
            },
          ],
        },
      },
    },
    'set exactly one of onExitCodes and onPodConditions',
  ],
  [
    'success as a failure',
    {
      runAs: 'Job',
      job: {
        podFailurePolicy: { rules: [{ action: 'Count', onExitCodes: { operator: 'In', values: [0] } }] },
      },
    },
    'exit code 0 is no failure',
  ],
  ['no Redis', { redis: undefined }, 'spec.redis: Required value'],
  ['a Redis without address', { redis: {} }, 'set exactly one of url'],
  ['two addresses', { redis: { ...base.redis, urlFrom: secret } }, 'set exactly one of url'],
  ['a URL of another scheme', { redis: { url: 'http://redis' } }, 'url must start with redis:// or'],
  ['a URL without scheme', { redis: { url: 'redis:6379' } }, 'url must start with redis:// or'],
  ['a URL without host', { redis: { url: 'redis:///0' } }, 'check host, port and database'],
  ['a named database', { redis: { url: 'redis://redis/tasks' } }, 'check host, port and database'],
  ['a raw @ in the password', { redis: { url: 'redis://:p@ss@redis' } }, 'percent-encode special characters'],
  [
    'two passwords',
    { redis: { url: 'redis://:a@redis', passwordFrom: secret } },
    'the URL holds a password already',
  ],
  ['two users', { redis: { url: 'redis://a@redis', username: 'b' } }, 'the URL holds a user name already'],
  ['TLS on a plain URL', { redis: { ...base.redis, tls: {} } }, 'write rediss:// or remove tls'],
  [
    'a certificate without its key',
    { redis: { url: 'rediss://redis', tls: { certFrom: secret } } },
    'certFrom and keyFrom go together',
  ],
  [
    'an authority for nothing',
    { redis: { url: 'rediss://redis', tls: { caFrom: secret, insecureSkipVerify: true } } },
    'remove one of them',
  ],
  [
    'a database that no server has',
    { redis: { url: 'redis://redis/9999999999' } },
    'url must have the form redis://',
  ],
  [
    "a name of the sentinels' user alone",
    { redis: { sentinel: { name: 'm', nodes: ['a:26379'], username: 'u' } } },
    'add passwordFrom',
  ],
  ['no sentinels', { redis: { sentinel: { name: 'm', nodes: [] } } }, 'should have at least 1 items'],
  [
    'a sentinel without port',
    { redis: { sentinel: { name: 'm', nodes: ['sentinel-0'] } } },
    'write each sentinel as host:port',
  ],
  ['no cluster nodes', { redis: { cluster: { nodes: [] } } }, 'should have at least 1 items'],
  [
    'a cluster node with a database',
    { redis: { cluster: { nodes: ['redis-0:6379/1'] } } },
    'write each node as host:port',
  ],
  [
    'a cluster and a URL',
    { redis: { url: 'redis://redis', cluster: { nodes: ['redis-0:6379'] } } },
    'set exactly one of url',
  ],
  [
    'a source in a cluster',
    { source: { bullmq: { queues: ['mail'] } }, redis: { cluster: { nodes: ['redis-0:6379'] } } },
    'the tasks of another library in a Redis Cluster cannot be counted',
  ],
  [
    'an incomplete Secret',
    { redis: { urlFrom: { secretKeyRef: { name: 'a' } } } },
    'secretKeyRef.key: Required',
  ],
  ...(['..', '.', 'a/b', 'Redis', 'redis_1', '-a', 'a.', 'a b', 'a%2fb'] as const).flatMap(
    (name): [string, Json, string][] => [
      [
        `a Secret called ${name}`,
        { redis: { urlFrom: { secretKeyRef: { name, key: 'url' } } } },
        'write the name of an object',
      ],
      [
        `a Deployment called ${name}`,
        { template: undefined, scaleTargetRef: { name } },
        'write the name of an object',
      ],
    ],
  ),
  ...['..', '.', '../x', 'a/b', 'a b'].map((key): [string, Json, string] => [
    `a key called ${key}`,
    { redis: { urlFrom: { secretKeyRef: { name: 'redis', key } } } },
    'write a key of a Secret',
  ]),
  [
    'a worker in no container',
    { workerContainer: 'other' },
    "workerContainer is none of the template's containers",
  ],
  ['unknown defaults of pods', { podDefaults: 'All' }, 'Unsupported value: "All"'],
  ['an empty queue', { queue: '' }, 'spec.queue in body should be at least 1 chars long'],
  ['one key for queue and result', { queue: 'tasks', result: 'tasks' }, 'queue and result must differ'],
  ['the default result as queue', { queue: 'result' }, 'queue and result must differ'],
  ['no queues', { queues: [] }, 'should have at least 1 items'],
  ['a queue twice', { queues: ['a', 'b', 'a'] }, 'name each queue once'],
  ['a queue without a name', { queues: ['a', ''] }, 'should be at least 1 chars long'],
  ['the result among the queues', { queues: ['a', 'result'] }, 'queue and result must differ'],
  ['no priorities', { priorities: [] }, 'should have at least 1 items'],
  ['a priority that there is not', { priorities: ['urgent'] }, 'Unsupported value: "urgent"'],
  ['the normal priority', { priorities: ['normal'] }, 'Unsupported value: "normal"'],
  ['one priority twice', { priorities: ['high', 'high'] }, 'Duplicate value'],
  [
    'priorities of several queues',
    { queues: ['a', 'b'], priorities: ['high'] },
    'remove priorities, or queues',
  ],
  ['priorities in partitions', { partitions: 2, priorities: ['high'] }, 'remove priorities, or queues'],
  ['priorities of Jobs', { runAs: 'Job', priorities: ['high'] }, 'remove priorities, or queues'],
  [
    'priorities of a source',
    { source: { list: { keys: ['a'] } }, priorities: ['high'] },
    'remove priorities, or queues',
  ],
  [
    'priorities with limits',
    { limits: { rate: '5/s' }, priorities: ['low'] },
    'remove priorities, or queues',
  ],
  ['priorities of a queue with braces', { queue: 'a}b', priorities: ['low'] }, 'its braces are no hash tag'],
  ['no partitions', { partitions: 0 }, 'should be greater than or equal to 1'],
  ['too many partitions', { partitions: 257 }, 'should be less than or equal to 256'],
  [
    'several queues in partitions',
    { queues: ['a', 'b'], partitions: 4 },
    'remove partitions, or name one queue in queue',
  ],
  [
    'a source in partitions',
    { source: { list: { keys: ['a'] } }, partitions: 4 },
    'the tasks of another library are where that library has them',
  ],
  [
    'a queue with a hash tag in partitions',
    { queue: '{tiles}', partitions: 4 },
    'choose names for queue and result without braces',
  ],
  [
    'results with a brace in partitions',
    { result: 'a{b', partitions: 4 },
    'choose names for queue and result without braces',
  ],
  ['min above max', { minReplicas: 3, maxReplicas: 2 }, 'lower minReplicas or raise maxReplicas'],
  ['min above the default of max', { minReplicas: 11 }, 'maxReplicas (10 if not set)'],
  ['a negative min', { minReplicas: -1 }, 'should be greater than or equal to 0'],
  ['a max of 0', { maxReplicas: 0 }, 'should be greater than or equal to 1'],
  ['no slots', { concurrency: 0 }, 'write a number of tasks from 1 to 10000, such as 4, or auto'],
  ['a fallback above max', { fallback: { replicas: 11 } }, 'fallback.replicas lies outside'],
  ['a fallback below min', { minReplicas: 2, fallback }, 'fallback.replicas lies outside'],
  ['a fallback in words', { fallback: { ...fallback, after: 'soon' } }, 'write a duration with its unit'],
  ['a window without unit', { scaling: { scaleDown: { window: '60' } } }, 'write a duration with its unit'],
  ['a negative window', { scaling: { scaleDown: { window: '-5s' } } }, 'write a duration with its unit'],
  ['a window as a number', { scaling: { scaleDown: { window: 60 } } }, 'must be of type string'],
  [
    'an unknown way with plain workers',
    { scaling: { scaleDown: { unmanaged: 'Maybe' } } },
    'Unsupported value: "Maybe"',
  ],
  ['a target wait of nothing', { scaling: { targetWait: '0s' } }, 'write a duration from 100ms to 24h'],
  ['a target wait of days', { scaling: { targetWait: '25h' } }, 'write a duration from 100ms to 24h'],
  ['a target wait without unit', { scaling: { targetWait: '10' } }, 'write a duration from 100ms to 24h'],
  ['steps of no replica', { scaling: { scaleUp: { maxStep: 0 } } }, 'write a number of replicas from 1'],
  [
    'a percentage without its sign',
    { scaling: { scaleDown: { maxStep: '50' } } },
    'or a percentage, such as "50%"',
  ],
  ['steps of 0 %', { scaling: { scaleUp: { maxStep: '0%' } } }, 'or a percentage, such as "50%"'],
  ['a forecast without a target', { scaling: { forecast: true } }, 'set targetWait too, or remove forecast'],
  ...(
    [
      ['bounds', { minReplicas: undefined }, 'set at least one of them'],
      ['min under max', { minReplicas: 4, maxReplicas: 3 }, 'lower minReplicas or raise maxReplicas'],
      [
        'all five fields',
        { start: '0 8 * *' },
        'write five fields of cron, minute hour day month weekday, such as "0 8 * * 1-5"',
      ],
      ['only five fields', { start: '0 0 8 * * 1-5' }, 'write five fields of cron'],
      ['a unit', { duration: '10' }, 'write a duration from 1s to 8784h'],
      ['time', { duration: '0s' }, 'write a duration from 1s to 8784h'],
      ['a duration', { duration: undefined }, 'duration: Required value'],
      ['a named time zone', { timeZone: '+01:00' }, 'write a time zone by its name in the IANA database'],
    ] as const
  ).map(([what, change, message]): [string, Json, string] => [
    `a schedule without ${what}`,
    { schedules: [{ start: '0 8 * * 1-5', duration: '10h', minReplicas: 3, ...change }] },
    message,
  ]),
  [
    'two schedules of one name',
    {
      schedules: [1, 2].map((minReplicas) => ({
        name: 'a',
        start: '0 8 * * *',
        duration: '1h',
        minReplicas,
      })),
    },
    'give each schedule a name of its own',
  ],
  ...(
    [
      ['a name', { name: undefined }, 'name: Required value'],
      ['a plain name', { name: 'Every night' }, 'write a name of small letters, digits and dashes'],
      ['all five fields', { schedule: '0 3 * *' }, 'write five fields of cron'],
      ['a named time zone', { timeZone: '+01:00' }, 'write a time zone by its name'],
      ['a task', { task: undefined }, 'task: Required value'],
      ['an object for a task', { task: 'text' }, 'must be of type object'],
      ['a known rule for what was missed', { missed: 'Some' }, 'supported values: "Skip", "Last", "All"'],
    ] as const
  ).map(([what, change, message]): [string, Json, string] => [
    `a cron task without ${what}`,
    { crons: [{ name: 'nightly', schedule: '0 3 * * *', task: {}, ...change }] },
    message,
  ]),
  [
    'two cron tasks of one name',
    { crons: [1, 2].map(() => ({ name: 'a', schedule: '0 3 * * *', task: {} })) },
    'Duplicate value',
  ],
  [
    'crons of a source',
    { source: { rq: { queues: ['a'] } }, crons: [{ name: 'a', schedule: '0 3 * * *', task: {} }] },
    'remove crons and use the scheduler of that library',
  ],
  ['limits of nothing', { limits: {} }, 'limits limits nothing'],
  ['a rate of zero', { limits: { rate: '0/s' } }, 'write a whole number of tasks'],
  ['a rate in no unit', { limits: { rate: '5/fortnight' } }, 'write a whole number of tasks'],
  ['a concurrency of zero', { limits: { concurrency: 0 } }, 'greater than or equal to 1'],
  ['a burst of no rate', { limits: { burst: 5, concurrency: 1 } }, 'set rate, too'],
  [
    'limits of a key without a field',
    { limits: { perKey: { rate: '5/s' } } },
    'spec.limits.perKey.field: Required value',
  ],
  [
    'a key whose field has a quote',
    { limits: { perKey: { field: 'the "customer"', rate: '5/s' } } },
    'without quotes and backslashes',
  ],
  ['a key without limits', { limits: { perKey: { field: 'customer' } } }, 'perKey limits nothing'],
  [
    'limits of a source',
    { limits: { rate: '5/s' }, source: { rq: { queues: ['a'] } } },
    'remove limits, or source',
  ],
  ['limits of partitions', { limits: { rate: '5/s' }, partitions: 4 }, 'remove limits, or source'],
  ['a source of nothing', { source: {} }, 'set exactly one source'],
  ['two sources', { source: { list: { keys: ['a'] }, rq: { queues: ['a'] } } }, 'set exactly one source'],
  [
    'a source and a queue',
    { source: { list: { keys: ['a'] } }, queue: 'a' },
    'remove queue, queues and result',
  ],
  ['a source without queues', { source: { bullmq: {} } }, 'spec.source.bullmq.queues: Required value'],
  ['a queue of a source twice', { source: { rq: { queues: ['a', 'a'] } } }, 'name each queue once'],
  [
    'a target wait without a count of what was finished',
    { source: { rq: { queues: ['a'] } }, scaling: { targetWait: '10s' } },
    'targetWait rests on a count of finished tasks, which this source does not have: set scaling.tasksPerReplica',
  ],
  [
    'a command that writes',
    { source: { custom: { waiting: [{ command: 'DEL', key: 'a' }] } } },
    'Unsupported value: "DEL"',
  ],
  [
    'a range without bounds',
    { source: { custom: { waiting: [{ command: 'ZCOUNT', key: 'a' }] } } },
    'ZCOUNT has two (min, max)',
  ],
  [
    'a time in no unit',
    { source: { custom: { waiting: [{ command: 'ZCOUNT', key: 'a', args: ['now:h', '+inf'] }] } } },
    'write now:s or now:ms',
  ],
  [
    'a target wait of a stream whose running tasks are in no key',
    {
      source: { stream: { keys: ['a'], group: 'b', longestTask: '1m' } },
      scaling: { targetWait: '10s' },
    },
    'targetWait rests on a count of finished tasks',
  ],
  [
    'a target wait of a list of taskiq',
    { source: { taskiq: { queues: ['a'] } }, scaling: { targetWait: '10s' } },
    'targetWait rests on a count of finished tasks',
  ],
  ['a stream twice', { source: { stream: { keys: ['a', 'a'], group: 'b' } } }, 'name each stream once'],
  [
    'a stream without a group',
    { source: { stream: { keys: ['a'] } } },
    'spec.source.stream.group: Required value',
  ],
  ['a list of a source twice', { source: { list: { keys: ['a', 'a'] } } }, 'name each list once'],
  [
    'a longest task beside a count of what runs',
    {
      source: {
        custom: {
          waiting: [{ command: 'LLEN', key: 'a' }],
          inHand: [{ command: 'LLEN', key: 'b' }],
          longestTask: '1m',
        },
      },
    },
    'longestTask stands in for a count of what runs',
  ],
  ['a longest task in words', { source: { list: { keys: ['a'], longestTask: 'long' } } }, 'write a duration'],
  ['no tasks per replica', { scaling: { tasksPerReplica: 0 } }, 'should be greater than or equal to 1'],
  ['half a task per replica', { scaling: { tasksPerReplica: 0.5 } }, 'must be of type integer'],
  ['no attempts', { retry: { attempts: 0 } }, 'should be greater than or equal to 1'],
  ['initial above max', { retry: { backoff: { initial: '2m', max: '1m' } } }, 'lower initial or raise max'],
  [
    'initial above the default',
    { retry: { backoff: { initial: '10m' } } },
    'retry.backoff.max (5m if not set)',
  ],
  ['a durability without replicas', { durability: {} }, 'durability.replicas: Required value'],
  ['a durability of none', { durability: { replicas: 0 } }, 'should be greater than or equal to 1'],
  [
    'a durability that waits too long',
    { durability: { replicas: 1, timeout: '6s' } },
    'write a duration from 1ms to 5s',
  ],
  ['a result ttl without unit', { results: { ttl: '60' } }, 'write a duration with its unit'],
  ['tasks of no size', { tasks: { maxSize: '0' } }, 'from 1 to 512Mi'],
  ['tasks larger than Redis holds', { tasks: { maxSize: '513Mi' } }, 'from 1 to 512Mi'],
  ['results of no size', { results: { maxSize: '0' } }, 'from 1 to 512Mi'],
  ['results larger than Redis holds', { results: { maxSize: '1Gi' } }, 'from 1 to 512Mi'],
  ['a size in words', { results: { maxSize: '16 MB' } }, 'from 1 to 512Mi'],
  ['no dead letters', { deadLetters: { max: 0 } }, 'should be greater than or equal to 1'],
  ['dead letters of no age', { deadLetters: { maxAge: 'forever' } }, 'write a duration with its unit'],
  ['an unknown mode', { mode: 'Off' }, 'supported values: "Active", "DryRun", "Paused"'],
  ['an unknown field', { replicas: 3 }, 'unknown field "spec.replicas"'],
  ['no containers', { template: { spec: {} } }, 'the template needs at least one container'],
  [
    'an empty list of containers',
    { template: { spec: { containers: [] } } },
    'the template needs at least one container',
  ],
  [
    'a container without image',
    { template: { spec: { containers: [{ name: 'worker' }] } } },
    'containers[0].image: Required value',
  ],
  [
    'pods that are restarted when they fail',
    { template: { spec: { containers: [container], restartPolicy: 'OnFailure' } } },
    'and those of Jobs never: remove restartPolicy, or set it',
  ],
  [
    'pods that run once',
    { template: { spec: { containers: [container], restartPolicy: 'Never' } } },
    'pods of a Deployment are always restarted',
  ],
  [
    'a StatefulSet',
    { template: undefined, scaleTargetRef: { kind: 'StatefulSet', name: 'x' } },
    'only a Deployment of apps/v1 can be scaled',
  ],
];
