/**
 * The Job of a task, of a pool that runs Jobs. Pure. The task is an annotation of the pod, from which its environment is taken: a
 * variable with the text itself would not have it, as Kubernetes expands `$(NAME)` and `$$` in those.
 *
 * The Job has one pod at a time, which is not restarted. It fails with its pod: attempts and their backoff are the pool's. Only a
 * pod that Kubernetes itself takes away (a drained node, a preemption) is replaced without a failure.
 */
import { isUtf8 } from 'node:buffer';
import type { NewJob } from '../../../kube/api.ts';
import type { Job, PodTemplateSpec } from '../../../kube/wire.ts';
import { PodDefaults, type WorkerPool } from '../../../kube/workerpool.ts';
import { labelsOf, ownerReferenceOf } from '../deployment.ts';
import { withPodDefaults } from '../pod-defaults.ts';
import { checkTemplate } from '../template-shape.ts';

/** On a Job: the queue that its task is from, and the id of that. */
const QUEUE_ANNOTATION = 'millrace.dev/queue';
export const TASK_ID_ANNOTATION = 'millrace.dev/task-id';
/** On a Job: in which Redis its task is, `place` of the pool's link. */
export const PLACE_ANNOTATION = 'millrace.dev/redis';
/** On a Job: its end is recorded in Redis. */
export const RECORDED_ANNOTATION = 'millrace.dev/recorded';
/** On its pod: the whole task. */
export const TASK_ANNOTATION = 'millrace.dev/task';
/** Where a container's result is, if it names no other file. */
export const TERMINATION_LOG = '/dev/termination-log';
/**
 * The largest task, bytes. Linux takes at most 128 KiB in a variable, and Kubernetes 256 KiB in the annotations of a pod, where the id
 * may be the whole task once more.
 */
export const MAX_JOB_TASK_BYTES = 96 * 1024;

const LONGEST_NAME = 63;
/** In the name of a Job, and so of a worker in Redis: no two are the same, and none is used again. */
const SUFFIX_CHARACTERS = 'bcdfghjklmnpqrstvwxz2456789';
const SUFFIX_LENGTH = 8;
/** Of the annotation of a Job, for people, characters. */
const LONGEST_ID = 253;

type PodSpec = NonNullable<PodTemplateSpec['spec']>;
type Container = PodSpec['containers'][number];
type EnvVar = NonNullable<Container['env']>[number];

export interface JobTask {
  /** Of the Job. */
  readonly name: string;
  readonly queue: string;
  /** Of the Redis with that queue, as `QueueLink` has it. */
  readonly place: string;
  readonly id: string;
  readonly raw: string;
  /** 1 for the first one. */
  readonly attempt: number;
}

/** A name for the next Job of a pool, valid as a label; `random` from [0, 1), called for each character. */
export function jobName(pool: string, random: () => number): string {
  const suffix = Array.from({ length: SUFFIX_LENGTH }, () =>
    SUFFIX_CHARACTERS.charAt(Math.floor(random() * SUFFIX_CHARACTERS.length)),
  ).join('');
  const begins = pool.slice(0, LONGEST_NAME - SUFFIX_LENGTH - 1).replace(/[^a-z\d]+$/, '');
  return `${begins}-${suffix}`;
}

/** Why this task cannot be given to a Job, human-readable; `undefined` if it can. */
export function misfitOf(raw: Buffer, id: string | Buffer, most: number): string | undefined {
  const longest = Math.min(most, MAX_JOB_TASK_BYTES);
  if (raw.length > longest)
    return `the task is too large for a Job: it has more than ${longest} bytes, which is what its environment takes here; store it elsewhere and push a reference`;
  if (!isUtf8(raw) || typeof id !== 'string')
    return 'the task cannot be given to a Job: it is no UTF-8 text, and an environment takes nothing else; push it as text, base64 for example';
  if (raw.includes(0) || id.includes('\0'))
    return 'the task cannot be given to a Job: it contains a NUL character, which no environment takes; push it without';
  return undefined;
}

/** The container whose end is that of the task. */
export function taskContainerOf({ spec }: WorkerPool): string {
  return spec.workerContainer ?? spec.template?.spec?.containers[0]?.name ?? '';
}

export function jobOf(pool: WorkerPool, task: JobTask): NewJob {
  const { namespace, name } = pool.metadata;
  const { template, job, podDefaults } = pool.spec;
  if (!template?.spec) throw new TypeError(`pool ${namespace}/${name} has no template`);
  checkTemplate(template);
  const spec = podDefaults === PodDefaults.None ? template.spec : withPodDefaults(template.spec);
  const labels = labelsOf(pool);
  const configured = (container: Container): Container => withTask(container, pool, task);
  return {
    metadata: {
      namespace,
      name: task.name,
      labels,
      annotations: {
        [QUEUE_ANNOTATION]: task.queue,
        [PLACE_ANNOTATION]: task.place,
        [TASK_ID_ANNOTATION]: task.id.slice(0, LONGEST_ID),
      },
      ownerReferences: [ownerReferenceOf(pool)],
    },
    spec: {
      parallelism: 1,
      completions: 1,
      backoffLimit: 0,
      podReplacementPolicy: 'Failed',
      podFailurePolicy: failurePolicyOf(pool),
      ...(job?.activeDeadlineSeconds !== undefined && { activeDeadlineSeconds: job.activeDeadlineSeconds }),
      template: {
        metadata: {
          annotations: {
            ...template.metadata?.annotations,
            [TASK_ANNOTATION]: task.raw,
            [TASK_ID_ANNOTATION]: task.id,
          },
          labels: { ...template.metadata?.labels, ...labels },
        },
        spec: {
          ...spec,
          restartPolicy: 'Never',
          ...(spec.initContainers && { initContainers: spec.initContainers.map(configured) }),
          containers: spec.containers.map(configured),
        },
      },
    },
  };
}

type FailurePolicy = NonNullable<NonNullable<Job['spec']>['podFailurePolicy']>;

/** The user's rules first: the first one that matches decides. */
function failurePolicyOf({ spec: { job } }: WorkerPool): FailurePolicy {
  const taken = { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] };
  return { rules: [...(job?.podFailurePolicy?.rules ?? []).map(ordered), taken] };
}

/** The API server takes exit codes only in their order, and each once. */
function ordered<R extends FailurePolicy['rules'][number]>(rule: R): R {
  const { onExitCodes } = rule;
  if (!onExitCodes) return rule;
  const values = [...new Set(onExitCodes.values)].toSorted((a, b) => a - b);
  return { ...rule, onExitCodes: { ...onExitCodes, values } };
}

function withTask(container: Container, pool: WorkerPool, task: JobTask): Container {
  const own = new Set(container.env?.map(({ name }) => name));
  const added = environment(container, pool, task).filter(({ name }) => !own.has(name));
  return {
    // the last lines of a container that failed without a message are the error of its task
    terminationMessagePolicy: 'FallbackToLogsOnError',
    ...container,
    env: [...(container.env ?? []), ...added],
  };
}

function environment(container: Container, { metadata }: WorkerPool, task: JobTask): EnvVar[] {
  const fromPod = (name: string, annotation: string): EnvVar => ({
    name,
    valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${annotation}']` } },
  });
  return [
    fromPod('MILLRACE_TASK', TASK_ANNOTATION),
    fromPod('MILLRACE_TASK_ID', TASK_ID_ANNOTATION),
    { name: 'MILLRACE_ATTEMPT', value: String(task.attempt) },
    { name: 'MILLRACE_QUEUE', value: task.queue.replaceAll('$', '$$$$') },
    { name: 'MILLRACE_POOL', value: `${metadata.namespace}/${metadata.name}` },
    { name: 'MILLRACE_RESULT_FILE', value: container.terminationMessagePath ?? TERMINATION_LOG },
  ];
}
