/** Why pods do not start, in one sentence, from the states of their containers. Pure. */
import type { Pod } from '../../kube/wire.ts';
import { isActivePod } from './ownership.ts';
import { adviceOn } from './pod-defaults.ts';

const STUCK = new Set([
  'CrashLoopBackOff',
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
]);

/**
 * The failure of the first pod that has one; `undefined` if all are well or still starting. Pods that have ended (evicted ones,
 * and those whose containers are not restarted) stay for a long time, so an end is reported only of the newest pod of all.
 */
export function podFailureOf(pods: Iterable<Pod>): string | undefined {
  const all = [...pods].filter(({ metadata }) => !metadata.deletionTimestamp);
  const born = ({ metadata }: Pod): number => Date.parse(metadata.creationTimestamp ?? '') || 0;
  const last = Math.max(...all.map(born));
  for (const pod of all) {
    if (!isActivePod(pod) && born(pod) < last) continue;
    const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
    for (const { name, state, lastState, restartCount } of statuses) {
      const waiting = state?.waiting;
      const ended = state?.terminated ?? lastState?.terminated;
      const crashing =
        waiting === undefined
          ? state?.terminated !== undefined && ended?.exitCode !== 0
          : STUCK.has(waiting.reason ?? '');
      if (!crashing) continue;
      const who = `container "${name}" of pod ${pod.metadata.name}`;
      const why = firstLine(waiting?.message);
      if (!ended) return `${who} cannot start: ${waiting?.reason}: ${why}${adviceOn(why)}`;
      const times = restartCount > 0 ? `, restarted ${restartCount} times` : '';
      return `${who} crashes (exit code ${ended.exitCode}${times}): ${lastLine(ended.message) || ended.reason}`;
    }
    const over = endedForGood(pod);
    if (over)
      return `container "${over.name}" of pod ${pod.metadata.name} has ended (exit code ${over.exitCode}); it is not restarted, and the pod is not replaced while its other containers run`;
    const unscheduled = pod.status?.conditions?.find(
      (c) => c.type === 'PodScheduled' && c.status === 'False',
    );
    if (unscheduled) return `pod ${pod.metadata.name} cannot be scheduled: ${firstLine(unscheduled.message)}`;
  }
  return undefined;
}

/** A container that is not restarted and has succeeded, in a pod that continues without it. */
function endedForGood(pod: Pod): { readonly name: string; readonly exitCode: number } | undefined {
  if (!isActivePod(pod)) return undefined;
  const once = new Set(
    pod.spec?.containers
      .filter(({ restartPolicy = 'Always' }) => restartPolicy !== 'Always')
      .map(({ name }) => name),
  );
  for (const { name, state } of pod.status?.containerStatuses ?? [])
    if (once.has(name) && state?.terminated?.exitCode === 0) return { name, exitCode: 0 };
  return undefined;
}

function firstLine(text: string | undefined): string {
  return text?.split('\n')[0]?.slice(0, 500) ?? '';
}

/** A program that ends reports its reason in the last line. */
function lastLine(text: string | undefined): string {
  return text?.trim().split('\n').at(-1)?.slice(0, 500) ?? '';
}
