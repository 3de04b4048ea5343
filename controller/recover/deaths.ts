/**
 * Which workers died between two versions of a pod, and why. Pure. A worker has the name of its pod. Kubernetes reports
 * containers; whether a worker of that name holds anything, and is really gone, is checked in recover.ts.
 */
import type { Pod } from '../../kube/wire.ts';

export interface Death {
  readonly worker: string;
  /** For machines: `OOMKilled`, `Error`, `Evicted`, `PodDeleted`. */
  readonly reason: string;
  /** For people: `OOMKilled (exit code 137)`. */
  readonly message: string;
  /** `lost`: it failed, possibly because of a task; `displaced`: ended from outside, which no task can cause. */
  readonly why: 'lost' | 'displaced';
  /** When the container ended, by its node's clock, ms; `undefined` if its end was not reported. */
  readonly endedAt: number | undefined;
  /** The container is running again: its worker reclaims what it held before. */
  readonly restarted: boolean;
  /** The pod has a single container, so it was the worker's. */
  readonly only: boolean;
}

type Containers = NonNullable<NonNullable<Pod['status']>['containerStatuses']>;
type Container = Containers[number];
type Ended = NonNullable<NonNullable<Container['state']>['terminated']>;

/**
 * The deaths that `pod` shows and `previous` did not. In a pod that is seen for the first time, only containers that are not
 * running count: the others have restarted since.
 */
export function deathsOf(previous: Pod | undefined, pod: Pod | undefined): Death[] {
  if (!pod) return previous && runs(previous) ? [removal(previous)] : [];
  if (pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded')
    return previous?.status?.phase === pod.status.phase ? [] : [podEnd(pod)];
  const containers = pod.status?.containerStatuses ?? [];
  return containers.flatMap((container): Death[] => {
    const before = previous?.status?.containerStatuses?.find(({ name }) => name === container.name);
    const known = new Set(endsOf(before).map(identify));
    if (!previous && container.state?.running) return [];
    const ended = endsOf(container).find((end) => !known.has(identify(end)));
    return ended ? [containerEnd(pod, container, ended, containers.length === 1)] : [];
  });
}

/** The terminations of a container that the pod still reports, newest first. */
function endsOf(container: Container | undefined): Ended[] {
  return [container?.state?.terminated, container?.lastState?.terminated].filter((end) => end !== undefined);
}

function identify({ containerID, startedAt, finishedAt }: Ended): string {
  return containerID ?? `${startedAt} ${finishedAt}`;
}

function runs({ status }: Pod): boolean {
  if (status?.phase === 'Failed' || status?.phase === 'Succeeded') return false;
  const { containerStatuses = [] } = status ?? {};
  return containerStatuses.length === 0 || containerStatuses.some(({ state }) => state?.running);
}

function containerEnd(pod: Pod, container: Container, ended: Ended, only: boolean): Death {
  const { exitCode, reason = 'Error', finishedAt } = ended;
  const endedAt = finishedAt === undefined ? undefined : Date.parse(finishedAt);
  const common = {
    worker: pod.metadata.name,
    endedAt,
    restarted: container.state?.running !== undefined,
    only,
  };
  // another container of the pod requested a restart of all of them: no task of this one caused that
  if (reason === 'RestartingAllContainers')
    return { ...common, reason, message: 'its pod started all containers anew', why: 'displaced' };
  // running out of memory is attributed to the task even then
  if (pod.metadata.deletionTimestamp && reason !== 'OOMKilled') return { ...common, ...taken(pod) };
  const whose = only ? '' : ` in container "${container.name}"`;
  return { ...common, reason, message: `${reason} (exit code ${exitCode})${whose}`, why: 'lost' };
}

function removal(pod: Pod): Death {
  const { name } = pod.metadata;
  return { worker: name, endedAt: undefined, restarted: false, only: true, ...taken(pod) };
}

/** Somebody deleted the pod, or evicted it by a deletion. */
function taken(pod: Pod): Pick<Death, 'reason' | 'message' | 'why'> {
  const why = 'displaced';
  const disruption = pod.status?.conditions?.find(
    (c) => c.type === 'DisruptionTarget' && c.status === 'True',
  );
  return disruption
    ? { reason: 'Evicted', message: `Evicted (${disruption.reason ?? 'disruption'})`, why }
    : { reason: 'PodDeleted', message: 'its pod was deleted', why };
}

/** The kubelet ended the whole pod and gives a reason, or all of its containers ended by themselves. */
function podEnd(pod: Pod): Death {
  const { reason, containerStatuses = [] } = pod.status ?? {};
  const ends = containerStatuses.flatMap(endsOf);
  const ranOut = ends.find((end) => end.reason === 'OOMKilled');
  const times = ends.flatMap(({ finishedAt }) => (finishedAt === undefined ? [] : [Date.parse(finishedAt)]));
  const common = {
    worker: pod.metadata.name,
    endedAt: times.length > 0 ? Math.max(...times) : undefined,
    restarted: false,
    only: true,
  };
  const first = ranOut ?? ends[0];
  if (reason !== undefined) return { ...common, reason, message: reason, why: 'displaced' };
  // the kubelet kills what is left at the end of the grace period, and a pod that is removed becomes Failed before it is gone
  if (pod.metadata.deletionTimestamp && !ranOut) return { ...common, ...taken(pod) };
  if (!first) return { ...common, reason: 'PodFailed', message: 'its pod failed', why: 'lost' };
  return {
    ...common,
    reason: first.reason ?? 'Error',
    message: `${first.reason ?? 'Error'} (exit code ${first.exitCode})`,
    why: 'lost',
  };
}

/** What became of a worker and its tasks, for events and the command line. */
export function recoveryNote(worker: string, fate: string, tasks: number): string {
  const ended = `${worker} ended: ${fate}.`;
  if (tasks === 0) return `${ended} It held no task.`;
  return `${ended} ${tasks === 1 ? 'The task that it held is' : `The ${tasks} tasks that it held are`} back in the queue.`;
}
