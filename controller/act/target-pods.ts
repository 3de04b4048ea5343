/** The pods of a Deployment as members of its pool: which of all those that the selector matches count, and which are to go. */
import type { KubeApi } from '../../kube/api.ts';
import type { ObjectRef } from '../../kube/resources.ts';
import type { Pod } from '../../kube/wire.ts';
import {
  countsOf,
  isRollingOut,
  scaledPart,
  selectorText,
  type ScaledDeployment,
} from './known-deployment.ts';
import type { Parking } from './parked/resize.ts';
import { isActivePod, isOwnPod } from './ownership.ts';
import { listPods, memberOf, setCosts } from './pods.ts';
import type { Members } from './target.ts';

export interface TargetPodsOptions {
  readonly api: KubeApi;
  readonly target: ObjectRef;
  /** Pods that were removed: the watch may still show them. Kept from one reconcile to the next. */
  readonly taken: Set<string>;
  /** Of a pool that parks replicas. */
  readonly parking?: Parking | undefined;
  readonly signal: AbortSignal;
}

export interface TargetPods {
  /** Pods that the selector matches and that are not the Deployment's own; `undefined` before the first read. */
  readonly strays: readonly string[] | undefined;
  /** The resource version of the Deployment at the last `list`; `undefined` before. */
  readonly resourceVersion: string | undefined;
  /** Whether `list` was called. */
  readonly listed: boolean;
  /** The Deployment's own pods; all others are noted as strays. */
  own(found: readonly Pod[]): Pod[];
  membersOf(deployment: ScaledDeployment, found: readonly Pod[], fresh: boolean): Members;
  /** Reads Deployment and pods from the API server. */
  list(): Promise<Members>;
  /** Marks the pods of the last `list` as to be removed if `going` names them, all others as not. */
  mark(going: readonly string[]): Promise<void>;
  /** Removes the marks of these pods. */
  unmark(ids: readonly string[]): Promise<void>;
}

export function targetPods({ api, target, taken, parking, signal }: TargetPodsOptions): TargetPods {
  let strays: readonly string[] | undefined;
  let last: { readonly pods: readonly Pod[]; readonly resourceVersion: string | undefined } | undefined;

  function own(found: readonly Pod[]): Pod[] {
    strays = found.filter((pod) => !isOwnPod(pod, target.name) && isActivePod(pod)).map(nameOf);
    return found.filter((pod) => isOwnPod(pod, target.name));
  }

  function membersOf(deployment: ScaledDeployment, found: readonly Pod[], fresh: boolean): Members {
    const { metadata, status } = deployment;
    const ours = own(found);
    const rollingOut = isRollingOut(deployment);
    const all = ours.flatMap((pod) => memberOf(pod, taken, parking?.sizeOf(pod, rollingOut)));
    const active = new Set(all.map(({ id }) => id));
    if (fresh) for (const pod of taken) if (!active.has(pod)) taken.delete(pod);
    const ending = ours.map(nameOf).filter((pod) => !active.has(pod));
    // before the first count, nothing can be late
    const settled = (status.observedGeneration ?? Infinity) >= (metadata.generation ?? 0);
    return { ...countsOf(deployment), all, ending, settled, fresh };
  }

  async function setMarks(ours: readonly Pod[], going: readonly string[]): Promise<void> {
    const changes = ours.flatMap((pod) => {
      const goes = going.includes(pod.metadata.name);
      return memberOf(pod, taken).some((member) => member.going !== goes) ? [{ pod, goes }] : [];
    });
    await setCosts(api, changes, signal);
    for (const { pod, goes } of changes) {
      if (goes) taken.add(pod.metadata.name);
      else taken.delete(pod.metadata.name);
    }
  }

  return {
    get strays() {
      return strays;
    },
    get resourceVersion() {
      return last?.resourceVersion;
    },
    get listed() {
      return last !== undefined;
    },
    own,
    membersOf,
    list: async () => {
      const { namespace } = target;
      // the Deployment first: any change of its pods from here on changes it too, and the write is refused
      const deployment = await api.deployments.get(target, { signal });
      const labelSelector = deployment.spec && selectorText(deployment.spec.selector);
      const pods = await listPods(api, { namespace, labelSelector }, signal);
      last = { pods, resourceVersion: deployment.metadata.resourceVersion };
      return membersOf(scaledPart(deployment), pods, true);
    },
    mark: (going) => setMarks(own(last?.pods ?? []), going),
    unmark: (ids) =>
      setMarks(
        own(last?.pods ?? []).filter((pod) => ids.includes(pod.metadata.name)),
        [],
      ),
  };
}

const nameOf = ({ metadata }: Pod): string => metadata.name;
