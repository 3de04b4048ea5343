/**
 * A pool's Deployment as a Target. One that the pool owns is created and kept as the pool's template requires; one that it adopts
 * is only scaled.
 */
import type { KubeApi } from '../../kube/api.ts';
import type { Pod } from '../../kube/wire.ts';
import { Mode, type WorkerPool } from '../../kube/workerpool.ts';
import type { Rival } from './claims.ts';
import { adoptedDeployment, type AdoptedDeployment } from './adopted-deployment.ts';
import type { AdoptedDeployments } from './adopted-deployments.ts';
import {
  countsOf,
  deploymentFailureOf,
  isRollingOut,
  selectorText,
  type KnownDeployment,
  type ScaledDeployment,
} from './known-deployment.ts';
import { applierOf, checkMaker, type Applier, type Written } from './other-writers.ts';
import { isActivePod, isTerminatingPod } from './ownership.ts';
import { ownedDeployment, type Applied, type GraceChange, type ServiceTimes } from './owned-deployment.ts';
import { parkingOf, type Parking, type ParkingFailure, type ParkingState } from './parked/resize.ts';
import { podFailureOf } from './pod-failures.ts';
import { isReadyPod } from './pods.ts';
import { replicaWriter } from './replica-writer.ts';
import { targetPods, type PodsRead } from './target-pods.ts';
import { NoTarget, type ParkedCounts, type Replicas, type Target } from './target.ts';
import { annotatedPauseOf } from '../decide/pause.ts';
import type { PoolIdentity } from './workers-of.ts';

export interface DeploymentTarget extends Target {
  /** To be kept until the next reconcile, as are `taken`, `written`, `podsRead` and `applier`. */
  readonly applied: Applied | undefined;
  /** The pods' grace period, where it is derived: before and after this reconcile, and what it should be instead. */
  readonly grace: GraceChange | undefined;
  /** The pods' label selector, as a string. */
  readonly selector: string | undefined;
  /** Pods that the selector matches and that are not the Deployment's own; `undefined` if none were read. */
  readonly strays: readonly string[] | undefined;
  readonly identity: PoolIdentity;
  /** Pods that were removed. */
  readonly taken: ReadonlySet<string>;
  /** Our writes of replicas. */
  readonly written: Written;
  /** The pods that were read, of an adopted Deployment. */
  readonly podsRead: PodsRead | undefined;
  /** Who applies replicas to the adopted Deployment, which are ours to set. */
  readonly applier: Applier | undefined;
  /** Why replicas cannot be parked, or do not get their full size. */
  readonly parkingFailure: ParkingFailure | undefined;
}

export interface DeploymentTargetOptions {
  readonly api: KubeApi;
  readonly pool: WorkerPool;
  readonly applied: Applied | undefined;
  /** The owned Deployment as the watch has it. */
  readonly known: KnownDeployment | undefined;
  /** Where an adopted one is found. */
  readonly adopted: Pick<AdoptedDeployments, 'find'>;
  /** The pods with the pool's label, as the watch has them. */
  readonly pods: () => Iterable<Pod>;
  /** Pods that were removed: the watch may still show them. */
  readonly taken: ReadonlySet<string>;
  readonly service: ServiceTimes;
  /** Who else scales the Deployment, as far as the watches show. */
  readonly rival: Rival | undefined;
  /** The numbers of partitions that workers take from, `1,16`; `undefined` without partitions. */
  readonly partitions?: string | undefined;
  readonly written: Written;
  readonly podsRead: PodsRead | undefined;
  readonly applier: Applier | undefined;
  /** Kept from one reconcile to the next. */
  readonly parking: ParkingState | undefined;
  /** ms of the elapsed clock. */
  readonly now: number;
  readonly signal: AbortSignal;
}

export function deploymentTarget(options: DeploymentTargetOptions): DeploymentTarget {
  const { api, pool, pods, taken, written, rival, now, signal } = options;
  const { mode, scaleTargetRef } = pool.spec;
  const { namespace, name } = pool.metadata;
  const adopts = scaleTargetRef !== undefined;
  const dryRun = mode === Mode.DryRun;
  const target = { namespace, name: scaleTargetRef?.name ?? name };
  const owned = ownedDeployment({ ...options, outdated: written.outdated });
  const writer = replicaWriter({ api, target, written, rival, dryRun, now, signal });
  const { parking: state } = options;
  const parking = adopts || !state ? undefined : parkingOf({ api, pool, state, now, signal });
  const podsOfTarget = targetPods({ api, target, taken, parking, read: options.podsRead, now, signal });
  let { applier } = options;
  let observed: ScaledDeployment | undefined;

  async function setReplicas(replicas: number, resourceVersion?: string): Promise<string | undefined> {
    const after = await writer.set(replicas, resourceVersion);
    if (after !== undefined) owned.replicasWritten();
    return after;
  }

  /**
   * What was observed may be from a watch that lags or stands still, and to raise replicas that somebody else has raised further
   * would lower them, under workers that are busy. So the write is for the observed version, and what is read after a refusal must
   * have the same replicas. Other changes, such as counts in the status, may go on all the time: the second write is for any version.
   */
  async function raise(replicas: number): Promise<boolean> {
    const { metadata, replicas: before } = observed ?? { metadata: { name } };
    if (metadata.resourceVersion !== undefined) {
      if (await setReplicas(replicas, metadata.resourceVersion)) return true;
      const found = adoptedDeployment(await api.deployments.get(target, { signal }));
      if (found.metadata.uid !== metadata.uid || found.replicas !== before) return false;
    }
    return (await setReplicas(replicas)) !== undefined;
  }

  async function ensureOwned(): Promise<KnownDeployment> {
    const deployment = await owned.ensure();
    await writer.check(deployment.replicas ?? 1);
    return deployment;
  }

  async function findAdopted(): Promise<AdoptedDeployment> {
    const found = await options.adopted.find(target, (seen) => writer.isBehind(seen));
    writer.checkRival(found?.replicas);
    if (!found)
      throw new NoTarget(
        `Deployment "${target.name}" does not exist in namespace "${namespace}": create it, or correct scaleTargetRef.name`,
      );
    checkMaker(pool, found);
    writer.checkCurrent(found);
    if (!dryRun) applier = applierOf(found.owners, applier);
    return claim(found);
  }

  /**
   * Makes us an owner of the replicas as they are, before anything else is done with them: see `ReplicaOwners`. A pool that does
   * not scale them claims nothing. Returns the Deployment with its version after that.
   */
  async function claim(found: AdoptedDeployment): Promise<AdoptedDeployment> {
    if (found.owners.claimed || mode !== Mode.Active || annotatedPauseOf(pool)) return found;
    const resourceVersion = await setReplicas(found.replicas ?? 1, found.metadata.resourceVersion);
    return resourceVersion ? { ...found, metadata: { ...found.metadata, resourceVersion } } : found;
  }

  const activePods = (): Pod[] => podsOfTarget.own([...pods()]).filter(isActivePod);

  return {
    get applied() {
      return owned.applied;
    },
    get grace() {
      return owned.grace;
    },
    get selector() {
      return observed && selectorText(observed.selector);
    },
    get strays() {
      return podsOfTarget.strays;
    },
    get taken() {
      return podsOfTarget.taken;
    },
    get written() {
      return writer.written;
    },
    get podsRead() {
      return adopts ? podsOfTarget.read : undefined;
    },
    get applier() {
      return applier;
    },
    get parkingFailure() {
      return observed && parking?.failureOf(activePods(), isRollingOut(observed));
    },
    identity: { namespace, pool: name, target: target.name },
    observe: async () => {
      observed = await (adopts ? findAdopted() : ensureOwned());
      const replicas = replicasOf(observed, adopts ? undefined : podsOfTarget.own([...pods()]));
      return parking
        ? { ...replicas, parked: parkedCounts(parking, activePods(), isRollingOut(observed)) }
        : replicas;
    },
    members: async (how) => {
      if (!observed || how === 'fresh') return podsOfTarget.list();
      if (!adopts) return podsOfTarget.membersOf(observed, [...pods()], false);
      return podsOfTarget.reuse(observed) ?? podsOfTarget.list();
    },
    raise,
    remove: async (ids, replicas) => {
      if (!podsOfTarget.listed) throw new Error('replicas can only be removed after a fresh members()');
      await podsOfTarget.mark(ids);
      return (await setReplicas(replicas, podsOfTarget.resourceVersion)) !== undefined;
    },
    keep: (ids) => podsOfTarget.unmark(ids),
    parking: parking && {
      replicas: parking.replicas,
      resize: (ids, to) =>
        parking.resize(
          activePods().filter(({ metadata }) => ids.includes(metadata.name)),
          to,
        ),
    },
  };
}

function parkedCounts(parking: Parking, pods: readonly Pod[], rollingOut: boolean): ParkedCounts {
  const sizes = pods.map((pod) => [pod, parking.sizeOf(pod, rollingOut)] as const);
  const parked = sizes.filter(([, size]) => size === 'parked').map(([pod]) => pod);
  return {
    parked: parked.length,
    ready: parked.filter(isReadyPod).length,
    stuck: sizes.filter(([, size]) => size === 'stuck').length,
  };
}

/** `pods`: those of an owned Deployment; `undefined` for an adopted one, whose pods are not watched. */
function replicasOf(deployment: ScaledDeployment, pods: readonly Pod[] | undefined): Replicas {
  return {
    ...countsOf(deployment),
    // Kubernetes counts them since 1.35; before that, only a pool's own pods can be counted here
    terminating: deployment.status.terminatingReplicas ?? pods?.filter(isTerminatingPod).length,
    trouble: podFailureOf(pods ?? []) ?? deploymentFailureOf(deployment),
  };
}
