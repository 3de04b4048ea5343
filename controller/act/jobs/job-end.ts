/** What became of a task, by its Job and the pods of that. Pure. */
import type { Job, Pod } from '../../../kube/wire.ts';

/** How a Job has ended: `undefined` while it runs, or its pods still end. */
export type JobEnd =
  | { readonly kind: 'complete' }
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string };

export function endOf({ status }: Job): JobEnd | undefined {
  const is = (type: string) => status?.conditions?.find((one) => one.type === type && one.status === 'True');
  if (is('Complete')) return { kind: 'complete' };
  const failed = is('Failed');
  return failed && { kind: 'failed', reason: failed.reason ?? '', message: failed.message ?? '' };
}

export type TaskEnd =
  | { readonly kind: 'result'; readonly value: string; readonly serviceMs: number }
  /** `again: false`: a rule of the pool's podFailurePolicy has failed the Job. */
  | { readonly kind: 'failed'; readonly error: string; readonly again: boolean; readonly serviceMs: number }
  /** It did not end by itself, or its pod is gone before its result was read. */
  | { readonly kind: 'unknown' };

/** What kubelets keep of the termination message of a container, and of all those of a pod together, bytes. */
const MESSAGE_BYTES = 4_096;
const POD_MESSAGES_BYTES = 12_288;

/** `pods`: all that exist in the namespace with the Job's name; others are passed over. `container`: whose end is that of the task. */
export function taskEndOf(job: Job, end: JobEnd, pods: readonly Pod[], container: string): TaskEnd {
  const own = pods.filter(({ metadata }) =>
    metadata.ownerReferences?.some(({ controller, uid }) => controller && uid === job.metadata.uid),
  );
  if (end.kind === 'complete') {
    const pod = own.find(({ status }) => status?.phase === 'Succeeded');
    const ended = pod && terminatedOf(pod, container);
    const value = ended?.message ?? '';
    // many programs that are told to stop exit with 0
    if (!ended || (value === '' && isTakenAway(pod))) return { kind: 'unknown' };
    const serviceMs = serviceMsOf(job, ended);
    const most = messageBytesOf(pod);
    if (Buffer.byteLength(value) < most) return { kind: 'result', value, serviceMs };
    const error = `its result is too large and was cut: Kubernetes keeps ${most} bytes of it, and nobody can tell whether there were more; store it elsewhere, and write its address into $MILLRACE_RESULT_FILE (Job ${job.metadata.name})`;
    return { kind: 'failed', error, again: false, serviceMs };
  }
  if (hasFailedByDeletion(job)) return { kind: 'unknown' };
  const pod = own.toSorted((a, b) => born(b) - born(a))[0];
  const ended = pod && terminatedOf(pod, container);
  const serviceMs = serviceMsOf(job, ended);
  if (end.reason === 'DeadlineExceeded') {
    const seconds = job.spec?.activeDeadlineSeconds;
    const error = `the Job ${job.metadata.name} did not end within its deadline${seconds === undefined ? '' : ` (activeDeadlineSeconds: ${seconds})`}`;
    return { kind: 'failed', error, again: true, serviceMs };
  }
  const isByRule = end.reason === 'PodFailurePolicy';
  // of a pod that was taken away, which may be gone by now, the rule says more than how its program was stopped
  const failure = pod && !(isByRule && isTakenAway(pod)) ? failureOf(pod, container) : undefined;
  const error = `${failure ?? end.message} (Job ${job.metadata.name})`;
  return { kind: 'failed', error, again: !isByRule, serviceMs };
}

/** A drain, a preemption, an eviction; or somebody deletes it. */
function isTakenAway({ metadata, status }: Pod): boolean {
  return (
    metadata.deletionTimestamp !== undefined ||
    (status?.conditions?.some(({ type, status: is }) => type === 'DisruptionTarget' && is === 'True') ??
      false)
  );
}

/** Its pod is deleted with it, before it, which the Job counts as a failure. */
function hasFailedByDeletion({ metadata: { deletionTimestamp }, status }: Job): boolean {
  if (deletionTimestamp === undefined) return false;
  const at = status?.conditions?.find(({ type }) => type === 'Failed')?.lastTransitionTime;
  return at === undefined || Date.parse(at) >= Date.parse(deletionTimestamp);
}

function messageBytesOf({ spec }: Pod): number {
  const { containers = [], initContainers = [], ephemeralContainers = [] } = spec ?? {};
  const count = containers.length + initContainers.length + ephemeralContainers.length;
  return Math.min(MESSAGE_BYTES, Math.floor(POD_MESSAGES_BYTES / Math.max(1, count)));
}

type ContainerStatus = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];
type Terminated = NonNullable<NonNullable<ContainerStatus['state']>['terminated']>;

function statusesOf({ status }: Pod): readonly ContainerStatus[] {
  return [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])];
}

function terminatedOf(pod: Pod, container: string): Terminated | undefined {
  return statusesOf(pod).find(({ name }) => name === container)?.state?.terminated;
}

/** The container that failed, with its last words; of a pod that never began, what Kubernetes says of it. */
function failureOf(pod: Pod, container: string): string | undefined {
  const failed = statusesOf(pod).filter(({ state }) => (state?.terminated?.exitCode ?? 0) !== 0);
  const one = failed.find(({ name }) => name === container) ?? failed[0];
  const ended = one?.state?.terminated;
  if (!one || !ended) return pod.status?.message ?? pod.status?.reason;
  const { exitCode, reason, message } = ended;
  const why = reason && reason !== 'Error' ? `${reason}, exit code ${exitCode}` : `exit code ${exitCode}`;
  const words = message?.trim();
  return `container "${one.name}" ended with ${why}${words ? `: ${words}` : ''}`;
}

function born({ metadata }: Pod): number {
  return Date.parse(metadata.creationTimestamp ?? '') || 0;
}

/** From the start of the container to its end; of one that is not known, those of the Job. */
function serviceMsOf({ status }: Job, ended: Terminated | undefined): number {
  const from = Date.parse(ended?.startedAt ?? status?.startTime ?? '');
  const failed = status?.conditions?.find(({ type }) => type === 'Failed')?.lastTransitionTime;
  const to = Date.parse(ended?.finishedAt ?? status?.completionTime ?? failed ?? '');
  return Number.isFinite(to - from) ? Math.max(0, to - from) : 0;
}
