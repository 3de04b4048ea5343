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
import { slimPod } from './known-pod.ts';
import { isActivePod, isOwnPod } from './ownership.ts';
import { listPods, memberOf, setCosts } from './pods.ts';
import type { Members } from './target.ts';

/** Pods as they were read, for a pool whose pods are not watched. */
export interface PodsRead {
  readonly pods: readonly Pod[];
  /** The Deployment's resource version: it changes when the counts of its pods do. */
  readonly version: string;
  /** ms of the elapsed clock. */
  readonly at: number;
}

export interface TargetPodsOptions {
  readonly api: KubeApi;
  readonly target: ObjectRef;
  /** Pods that were removed: the watch may still show them. */
  readonly taken: ReadonlySet<string>;
  /** Of a pool that parks replicas. */
  readonly parking?: Parking | undefined;
  /** The last read, if the reconcile before this used it. */
  readonly read?: PodsRead | undefined;
  /** ms of the elapsed clock. */
  readonly now: number;
  readonly signal: AbortSignal;
}

export interface TargetPods {
  /** Pods that the selector matches and that are not the Deployment's own; `undefined` before the first read. */
  readonly strays: readonly string[] | undefined;
  /** The resource version of the Deployment at the last `list`; `undefined` before. */
  readonly resourceVersion: string | undefined;
  /** The pods that were removed by now, to be kept until the next reconcile. */
  readonly taken: ReadonlySet<string>;
  /** Whether `list` was called. */
  readonly listed: boolean;
  /** The Deployment's own pods; all others are noted as strays. */
  own(found: readonly Pod[]): Pod[];
  membersOf(deployment: ScaledDeployment, found: readonly Pod[], fresh: boolean): Members;
  /** Reads Deployment and pods from the API server. */
  list(): Promise<Members>;
  /** The members by an earlier read, if the Deployment has not changed since. */
  reuse(deployment: ScaledDeployment): Members | undefined;
  /** The read that this reconcile used, to be kept until the next one. */
  readonly read: PodsRead | undefined;
  /** Marks the pods of the last `list` as to be removed if `going` names them, all others as not. */
  mark(going: readonly string[]): Promise<void>;
  /** Removes the marks of these pods. */
  unmark(ids: readonly string[]): Promise<void>;
}

/** A pod may change, or be replaced, without a change of the Deployment's counts. */
const REUSE_MS = 60_000;
const NO_STRAYS: readonly string[] = [];

export function targetPods(options: TargetPodsOptions): TargetPods {
  const { api, target, parking, now, signal } = options;
  let { taken } = options;
  let read: PodsRead | undefined;
  let strays: readonly string[] | undefined;
  let last: { readonly pods: readonly Pod[]; readonly resourceVersion: string | undefined } | undefined;

  function own(found: readonly Pod[]): Pod[] {
    const others = found.filter((pod) => !isOwnPod(pod, target.name) && isActivePod(pod));
    strays = others.length > 0 ? others.map(nameOf) : NO_STRAYS;
    return found.filter((pod) => isOwnPod(pod, target.name));
  }

  function membersOf(deployment: ScaledDeployment, found: readonly Pod[], fresh: boolean): Members {
    const { metadata, status } = deployment;
    const ours = own(found);
    const rollingOut = isRollingOut(deployment);
    const all = ours.flatMap((pod) => memberOf(pod, taken, parking?.sizeOf(pod, rollingOut)));
    const active = new Set(all.map(({ id }) => id));
    if (fresh && taken.size > 0) taken = new Set([...taken].filter((pod) => active.has(pod)));
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
    if (changes.length === 0) return;
    read = undefined;
    await setCosts(api, changes, signal);
    const named = (marked: boolean): string[] =>
      changes.filter(({ goes }) => goes === marked).map(({ pod }) => nameOf(pod));
    const kept = named(false);
    taken = new Set([...taken, ...named(true)].filter((pod) => !kept.includes(pod)));
  }

  return {
    get strays() {
      return strays;
    },
    get resourceVersion() {
      return last?.resourceVersion;
    },
    get taken() {
      return taken;
    },
    get listed() {
      return last !== undefined;
    },
    get read() {
      return read;
    },
    own,
    membersOf,
    list: async () => {
      const { namespace } = target;
      // the Deployment first: any change of its pods from here on changes it too, and the write is refused
      const deployment = await api.deployments.get(target, { signal });
      const labelSelector = deployment.spec && selectorText(deployment.spec.selector);
      const pods = await listPods(api, { namespace, labelSelector }, signal);
      const { resourceVersion } = deployment.metadata;
      last = { pods, resourceVersion };
      read =
        resourceVersion === undefined
          ? undefined
          : { pods: pods.map(slimPod), version: resourceVersion, at: now };
      return membersOf(scaledPart(deployment), pods, true);
    },
    reuse: (deployment) => {
      const { read: before } = options;
      if (!before || before.version !== deployment.metadata.resourceVersion) return undefined;
      if (now - before.at >= REUSE_MS) return undefined;
      read = before;
      return membersOf(deployment, before.pods, false);
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
