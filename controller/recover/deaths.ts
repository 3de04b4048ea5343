/**
 * Which workers died between two versions of a pod, and of what. Pure. A worker is called like its pod. What Kubernetes
 * says is about containers; whether a worker of that name holds anything, and is really gone, is for recover.ts to see.
 */
import type { Pod } from '../../kube/wire.ts';

export interface Death {
  readonly worker: string;
  /** For machines: `OOMKilled`, `Error`, `Evicted`, `PodDeleted`. */
  readonly reason: string;
  /** For people: `OOMKilled (exit code 137)`. */
  readonly words: string;
  /** `lost` by its own fault, which may be a task's; or `displaced` by others, which no task can help. */
  readonly why: 'lost' | 'displaced';
  /** When the container ended, by its node's clock, ms; `undefined` when nobody has seen it end. */
  readonly endedAt: number | undefined;
  /** The container runs again already: its worker takes back by itself what it held before. */
  readonly restarted: boolean;
  /** The pod has one container, so it was the worker's. */
  readonly only: boolean;
}

type Containers = NonNullable<NonNullable<Pod['status']>['containerStatuses']>;
type Container = Containers[number];
type Ended = NonNullable<NonNullable<Container['state']>['terminated']>;

/**
 * The deaths that `pod` shows and `previous` did not. A pod that is seen for the first time shows those of containers
 * that do not run now: the others have begun a new life since.
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

/** Ends of a container's lives that a pod still tells of, the newest first. */
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
  // another container of the pod ended and asked for all of them to be started anew: no task of this one did that
  if (reason === 'RestartingAllContainers')
    return { ...common, reason, words: 'its pod started all containers anew', why: 'displaced' };
  // memory is the task's affair even then
  if (pod.metadata.deletionTimestamp && reason !== 'OOMKilled') return { ...common, ...taken(pod) };
  const whose = only ? '' : ` in container "${container.name}"`;
  return { ...common, reason, words: `${reason} (exit code ${exitCode})${whose}`, why: 'lost' };
}

function removal(pod: Pod): Death {
  const { name } = pod.metadata;
  return { worker: name, endedAt: undefined, restarted: false, only: true, ...taken(pod) };
}

/** Somebody deleted the pod, or evicted it by a deletion. */
function taken(pod: Pod): Pick<Death, 'reason' | 'words' | 'why'> {
  const why = 'displaced';
  const disruption = pod.status?.conditions?.find(
    (c) => c.type === 'DisruptionTarget' && c.status === 'True',
  );
  return disruption
    ? { reason: 'Evicted', words: `Evicted (${disruption.reason ?? 'disruption'})`, why }
    : { reason: 'PodDeleted', words: 'its pod was deleted', why };
}

/** The kubelet ended the pod as a whole, and says why; or its containers ended, all of them, by themselves. */
function podEnd(pod: Pod): Death {
  const { reason, containerStatuses = [] } = pod.status ?? {};
  const ends = containerStatuses.flatMap(endsOf);
  const times = ends.flatMap(({ finishedAt }) => (finishedAt === undefined ? [] : [Date.parse(finishedAt)]));
  const common = {
    worker: pod.metadata.name,
    endedAt: times.length > 0 ? Math.max(...times) : undefined,
    restarted: false,
    only: true,
  };
  const [first] = ends;
  if (reason !== undefined) return { ...common, reason, words: reason, why: 'displaced' };
  if (!first) return { ...common, reason: 'PodFailed', words: 'its pod failed', why: 'lost' };
  return {
    ...common,
    reason: first.reason ?? 'Error',
    words: `${first.reason ?? 'Error'} (exit code ${first.exitCode})`,
    why: 'lost',
  };
}

/** What became of a worker and of what it held, for events and for people. */
export function recoveryNote(worker: string, fate: string, tasks: number): string {
  const ended = `${worker} ended: ${fate}.`;
  if (tasks === 0) return `${ended} It held no task.`;
  return `${ended} ${tasks === 1 ? 'The task that it held is' : `The ${tasks} tasks that it held are`} back in the queue.`;
}
