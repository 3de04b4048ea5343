/**
 * A pool's spec as groups of settings, for display. Pure.
 *
 * It contains nothing that could be a secret, which is omitted rather than masked: of an address of Redis only the host, the
 * port and the database; of what comes from a Secret its name; of containers neither arguments nor environment. Tasks of crons
 * are tasks: shown with leave.
 */
import type {
  CronSpec,
  ParkedSpec,
  RedisSpec,
  ScheduleSpec,
  SecretSource,
  WorkerPoolSpec,
  WorkerPoolStatus,
} from '../../kube/workerpool.ts';
import { DEFAULT_TASKS_PER_REPLICA } from '../decide/tasks-per-replica.ts';
import type { SettingsGroup } from './api.ts';
import { plural } from '../../runtime/plural.ts';

type SettingsEntry = readonly [name: string, value: string | number | boolean | undefined];

export function settingsOf(
  spec: WorkerPoolSpec,
  showTasks: boolean,
  { slots, slotsReason = '' }: Pick<WorkerPoolStatus, 'slots' | 'slotsReason'> = {},
): SettingsGroup[] {
  const { scaling, retry, results, deadLetters, durability, fallback, parked } = spec;
  const { scaleDown, scaleUp } = scaling;
  return [
    group('Queue', [...queueEntries(spec), ...redisEntries(spec.redis)]),
    group('Scaling', [
      ['mode', spec.mode],
      ['minReplicas', spec.minReplicas],
      ['maxReplicas', spec.maxReplicas],
      ['parked', parked && `${plural(parked.replicas, 'replica')} at ${describeParked(parked)}`],
      ['targetWait', scaling.targetWait],
      [
        'tasksPerReplica',
        scaling.tasksPerReplica ?? (scaling.targetWait === undefined ? DEFAULT_TASKS_PER_REPLICA : undefined),
      ],
      ['forecast', scaling.forecast],
      ['scaleUp.maxStep', scaleUp?.maxStep],
      ['scaleDown.window', scaleDown.window],
      ['scaleDown.maxStep', scaleDown.maxStep],
      ['scaleDown.unmanaged', scaleDown.unmanaged],
      ['fallback', fallback && `${plural(fallback.replicas, 'replica')} after ${fallback.after}`],
      ...(spec.schedules ?? []).map(scheduleEntry),
    ]),
    group('Workers', [
      ['concurrency', spec.concurrency],
      ['slots', slots === undefined ? undefined : slotsReason === '' ? slots : `${slots}: ${slotsReason}`],
      ['scaleTargetRef', spec.scaleTargetRef && `Deployment ${spec.scaleTargetRef.name}`],
      ['workerContainer', spec.workerContainer],
      ['podDefaults', spec.podDefaults],
      ['runAs', spec.runAs],
      ['job.activeDeadlineSeconds', spec.job?.activeDeadlineSeconds],
      ['job.ttlSecondsAfterFinished', spec.job?.ttlSecondsAfterFinished],
      ['job.podFailurePolicy', spec.job?.podFailurePolicy && JSON.stringify(spec.job.podFailurePolicy.rules)],
      ...containerEntries(spec),
    ]),
    group('Tasks', [
      ['retry.attempts', retry.attempts],
      ['retry.maxDeliveries', retry.maxDeliveries],
      [
        'retry.backoff',
        `${retry.backoff.initial} to ${retry.backoff.max}${retry.backoff.jitter ? ', with jitter' : ''}`,
      ],
      ['tasks.maxSize', spec.tasks?.maxSize],
      ['results.ttl', results.ttl === '0s' ? '0s (kept for ever)' : results.ttl],
      ['results.maxSize', results.maxSize],
      ['deadLetters.max', deadLetters.max],
      ['deadLetters.maxAge', deadLetters.maxAge],
      ...(spec.crons ?? []).map((cron) => cronEntry(cron, showTasks)),
      ...limitEntries(spec.limits),
      ['durability', durability && `${plural(durability.replicas, 'replica')} within ${durability.timeout}`],
    ]),
  ];
}

function limitEntries(limits: WorkerPoolSpec['limits']): SettingsEntry[] {
  if (!limits) return [];
  const { rate, burst, concurrency, perKey } = limits;
  return [
    ['limits.rate', rate],
    ['limits.burst', burst],
    ['limits.concurrency', concurrency],
    ['limits.perKey.field', perKey?.field],
    ['limits.perKey.rate', perKey?.rate],
    ['limits.perKey.burst', perKey?.burst],
    ['limits.perKey.concurrency', perKey?.concurrency],
  ];
}

function describeParked({ cpu, memory }: ParkedSpec): string {
  return `${cpu} CPU${memory === undefined ? '' : ` and ${memory} memory`}`;
}

function group(title: string, entries: readonly SettingsEntry[]): SettingsGroup {
  const set = entries.flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as const],
  );
  return { title, entries: set };
}

function queueEntries({
  source,
  queue,
  queues,
  priorities,
  partitions,
  result,
}: WorkerPoolSpec): SettingsEntry[] {
  if (!source)
    return [
      ['queue', queues ? undefined : queue],
      ['queues, by priority', queues?.join(', ')],
      ['priorities', priorities?.join(', ')],
      ['partitions', partitions],
      ['result', result],
    ];
  return Object.entries(source).flatMap(([library, settings]) =>
    Object.entries(settings).map(([name, value]): SettingsEntry => [
      `source.${library}.${name}`,
      describeSetting(value),
    ]),
  );
}

/** Names are listed; what has fields of its own is shown as JSON. */
function describeSetting(value: unknown): string {
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value.join(', ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function scheduleEntry({ name, start, duration, timeZone, ...bounds }: ScheduleSpec): SettingsEntry {
  const { minReplicas, maxReplicas } = bounds;
  const holds = [
    minReplicas === undefined ? [] : [`minReplicas ${minReplicas}`],
    maxReplicas === undefined ? [] : [`maxReplicas ${maxReplicas}`],
  ].flat();
  return [`schedule "${name ?? start}"`, `${holds.join(', ')} for ${duration} from ${start} in ${timeZone}`];
}

function cronEntry(cron: CronSpec, showTasks: boolean): SettingsEntry {
  const { name, schedule, timeZone, task, missed, concurrencyPolicy, suspend } = cron;
  const more = `missed ${missed}, concurrencyPolicy ${concurrencyPolicy}${suspend ? ', suspended' : ''}`;
  const what = showTasks ? `${JSON.stringify(task)} at ` : '';
  return [`cron "${name}"`, `${what}${schedule} in ${timeZone}; ${more}`];
}

function redisEntries({
  url,
  urlFrom,
  sentinel,
  cluster,
  username,
  passwordFrom,
  tls,
}: RedisSpec): SettingsEntry[] {
  return [
    ['redis', url === undefined ? nameOf(urlFrom) : addressOf(url)],
    ['redis.sentinel', sentinel && `${sentinel.name} at ${sentinel.nodes.map(addressOf).join(', ')}`],
    ['redis.sentinel.username', sentinel?.username === undefined ? undefined : 'set'],
    ['redis.sentinel.password', nameOf(sentinel?.passwordFrom)],
    ['redis.cluster', cluster && cluster.nodes.map(addressOf).join(', ')],
    ['redis.username', username === undefined ? undefined : 'set'],
    ['redis.password', nameOf(passwordFrom)],
    ['redis.tls', tls && (tls.insecureSkipVerify ? 'on, without checking the certificate' : 'on')],
    ['redis.tls.ca', nameOf(tls?.caFrom)],
    ['redis.tls.cert', nameOf(tls?.certFrom)],
    ['redis.tls.key', nameOf(tls?.keyFrom)],
    ['redis.tls.serverName', tls?.serverName],
  ];
}

function nameOf(source: SecretSource | undefined): string | undefined {
  return source && `from Secret ${source.secretKeyRef.name}, key ${source.secretKeyRef.key}`;
}

/** Without user, password and query; `set` for anything that is not an address. */
function addressOf(text: string): string {
  const match = /^(?:(rediss?):\/\/)?(?:[^@/]*@)?([\w.-]+|\[[\da-f:]+\])(:\d+)?(\/\d+)?(?:[?#][^@]*)?$/i.exec(
    text,
  );
  if (!match) return 'set';
  const [, scheme = '', host = '', port = '', database = ''] = match;
  return `${scheme && `${scheme}://`}${host}${port}${database}`;
}

function containerEntries({ template }: WorkerPoolSpec): SettingsEntry[] {
  const containers = (template?.spec as { containers?: readonly Container[] } | undefined)?.containers ?? [];
  return containers.flatMap(({ name, image, resources = {} }): SettingsEntry[] => [
    [`${name}: image`, image],
    [`${name}: requests`, quantities(resources.requests)],
    [`${name}: limits`, quantities(resources.limits)],
  ]);
}

interface Container {
  readonly name: string;
  readonly image?: string;
  readonly resources?: {
    readonly requests?: Readonly<Record<string, unknown>>;
    readonly limits?: Readonly<Record<string, unknown>>;
  };
}

function quantities(amounts: Readonly<Record<string, unknown>> | undefined): string | undefined {
  return (
    amounts &&
    Object.entries(amounts)
      .map(([name, amount]) => `${name} ${String(amount)}`)
      .join(', ')
  );
}
