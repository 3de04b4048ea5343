/**
 * The Deployment of a pool with a `template`. Pure: it depends on its arguments alone, so applying it twice changes nothing. It does
 * not contain replicas, which change through `/scale`.
 *
 * Environment variables give every container its queue; only the container that runs the worker gets the passwords, as files.
 * Variables and all other fields that the template sets are kept; where it sets nothing, pods comply with Kubernetes'
 * restricted level.
 */
import type { DeploymentApply } from '../../kube/api.ts';
import type { ObjectMeta, PodTemplateSpec } from '../../kube/wire.ts';
import { GROUP, KIND, PodDefaults, VERSION, type WorkerPool } from '../../kube/workerpool.ts';
import { formatConcurrency, leastTasks, parseConcurrency } from '../../runtime/concurrency.ts';
import { parseDuration } from '../../runtime/duration.ts';
import { withPodDefaults } from './pod-defaults.ts';
import { secretFiles, withFiles, withVolume } from './redis-secrets.ts';
import { checkTemplate } from './template-shape.ts';

export const POOL_LABEL = 'millrace.dev/pool';
export const MANAGED_BY = 'app.kubernetes.io/managed-by';
export const MANAGER = 'millrace';

/** Reserved from the grace period for the worker's goodbye to Redis, s. */
const GOODBYE_S = 3;

type OwnerReference = NonNullable<ObjectMeta['ownerReferences']>[number];
type Container = NonNullable<PodTemplateSpec['spec']>['containers'][number];
type EnvVar = NonNullable<Container['env']>[number];

/** On the Deployment, and on its pods. */
export function labelsOf({ metadata: { name } }: WorkerPool): Record<string, string> {
  return { [POOL_LABEL]: name, [MANAGED_BY]: MANAGER };
}

/** Of what ends with the pool. */
export function ownerReferenceOf({ metadata: { name, uid = '' } }: WorkerPool): OwnerReference {
  const apiVersion = `${GROUP}/${VERSION}`;
  return { apiVersion, kind: KIND, name, uid, controller: true, blockOwnerDeletion: true };
}

/**
 * Throws `RangeError` for a template of which no pod can be made. `derivedGraceS`: the termination grace period, s, if it does not
 * set one. `partitions`: the numbers of partitions that workers take from, `1,16`.
 */
export function deploymentOf(pool: WorkerPool, derivedGraceS: number, partitions?: string): DeploymentApply {
  const { namespace, name } = pool.metadata;
  const { template } = pool.spec;
  if (!template?.spec)
    throw new TypeError(`pool ${namespace}/${name} has no template: it adopts a Deployment`);
  checkTemplate(template);
  const spec = pool.spec.podDefaults === PodDefaults.None ? template.spec : withPodDefaults(template.spec);
  const labels = labelsOf(pool);
  const files = pool.spec.source ? [] : secretFiles(pool.spec.redis);
  const worker = pool.spec.workerContainer ?? spec.containers[0]?.name;
  const graceS = spec.terminationGracePeriodSeconds ?? derivedGraceS;
  return {
    metadata: {
      namespace,
      name,
      labels,
      ownerReferences: [ownerReferenceOf(pool)],
    },
    spec: {
      selector: { matchLabels: { [POOL_LABEL]: name } },
      template: {
        metadata: {
          ...(template.metadata?.annotations ? { annotations: template.metadata.annotations } : {}),
          labels: { ...template.metadata?.labels, ...labels },
        },
        spec: {
          ...spec,
          terminationGracePeriodSeconds: graceS,
          ...withVolume(spec.volumes, files),
          containers: spec.containers.map((container) => {
            const works = container.name === worker;
            const configured = withPool(container, pool, { graceS, works, partitions });
            return works ? withFiles(configured, files) : configured;
          }),
        },
      },
    },
  };
}

interface WorkerEnvironment {
  readonly graceS: number;
  /** For the container that runs the worker, the only one that gets a URL with a password. */
  readonly works: boolean;
  readonly partitions: string | undefined;
}

function withPool(container: Container, pool: WorkerPool, worker: WorkerEnvironment): Container {
  const own = new Set(container.env?.map((variable) => variable.name));
  // a number in the template goes before the pool's, whichever that is
  if (own.has('MILLRACE_CONCURRENCY')) own.add('MILLRACE_AUTO_CONCURRENCY');
  const added = environment(pool, worker).filter((variable) => !own.has(variable.name));
  return {
    // the pool's status shows the last output of a worker that cannot start
    terminationMessagePolicy: 'FallbackToLogsOnError',
    ...container,
    env: [...(container.env ?? []), ...added],
  };
}

function environment(
  { metadata, spec }: WorkerPool,
  { graceS, works, partitions }: WorkerEnvironment,
): EnvVar[] {
  // another library's workers know where their tasks are
  if (spec.source) return [];
  const { redis, retry, results, deadLetters } = spec;
  const { tls } = redis;
  const concurrency = parseConcurrency(spec.concurrency);
  const value = (name: string, text: string | number | undefined): EnvVar[] =>
    text === undefined ? [] : [{ name, value: String(text) }];
  return [
    { name: 'MILLRACE_WORKER_ID', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    ...value('MILLRACE_POOL', `${metadata.namespace}/${metadata.name}`),
    ...value('MILLRACE_REDIS_URL', works || !hasPassword(redis.url) ? redis.url : undefined),
    ...value('MILLRACE_REDIS_CLUSTER', redis.cluster?.nodes.join(',')),
    ...value('MILLRACE_REDIS_SENTINEL', redis.sentinel?.nodes.join(',')),
    ...value('MILLRACE_REDIS_SENTINEL_NAME', redis.sentinel?.name),
    ...value('MILLRACE_REDIS_SENTINEL_USERNAME', redis.sentinel?.username),
    ...value('MILLRACE_REDIS_USERNAME', redis.username),
    // enables TLS even without a CA of its own
    ...value('MILLRACE_REDIS_TLS', tls ? 'true' : undefined),
    ...value('MILLRACE_REDIS_TLS_SERVER_NAME', tls?.serverName),
    ...value('MILLRACE_REDIS_TLS_INSECURE', tls?.insecureSkipVerify ? 'true' : undefined),
    ...value('MILLRACE_QUEUE', spec.queue),
    ...value('MILLRACE_QUEUES', spec.queues && JSON.stringify(spec.queues)),
    ...value('MILLRACE_PARTITIONS', partitions),
    ...value('MILLRACE_PRIORITIES', spec.priorities?.join(',')),
    ...value('MILLRACE_RESULT', spec.result),
    // what workers of a version without `auto` go by
    ...value('MILLRACE_CONCURRENCY', leastTasks(concurrency)),
    ...value(
      'MILLRACE_AUTO_CONCURRENCY',
      typeof concurrency === 'number' ? undefined : formatConcurrency(concurrency),
    ),
    ...value('MILLRACE_GRACE', `${Math.max(graceS - GOODBYE_S, 1)}s`),
    ...value('MILLRACE_DURABILITY_REPLICAS', spec.durability?.replicas),
    ...value('MILLRACE_DURABILITY_TIMEOUT', spec.durability && `${parseDuration(spec.durability.timeout)}ms`),
    ...value('MILLRACE_ATTEMPTS', retry.attempts),
    ...value('MILLRACE_MAX_DELIVERIES', retry.maxDeliveries),
    ...value('MILLRACE_BACKOFF_INITIAL', `${parseDuration(retry.backoff.initial)}ms`),
    ...value('MILLRACE_BACKOFF_MAX', `${parseDuration(retry.backoff.max)}ms`),
    ...value('MILLRACE_BACKOFF_JITTER', retry.backoff.jitter ? 'on' : 'off'),
    ...value('MILLRACE_TASK_MAX_SIZE', spec.tasks?.maxSize),
    ...value('MILLRACE_RESULT_TTL', `${parseDuration(results.ttl)}ms`),
    ...value('MILLRACE_RESULT_MAX_SIZE', results.maxSize),
    ...value('MILLRACE_DEAD_MAX', deadLetters.max),
    ...value('MILLRACE_DEAD_MAX_AGE', `${parseDuration(deadLetters.maxAge)}ms`),
  ];
}

function hasPassword(url: string | undefined): boolean {
  return url !== undefined && /^rediss?:\/\/[^/@]*:[^/@]+@/.test(url);
}
