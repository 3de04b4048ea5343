/**
 * A pool's Deployment as a Target. One that the pool owns is created and kept as the pool says, by server-side apply;
 * one that it adopts is only scaled.
 */
import type { DeploymentApply, KubeApi } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import type { Deployment, Pod } from '../../kube/wire.ts';
import { Mode, type WorkerPool } from '../../kube/workerpool.ts';
import type { Rival } from './claims.ts';
import { deploymentOf, labelsOf } from './deployment.ts';
import { DEFAULT_GRACE_S, graceOf } from './grace-period.ts';
import {
  countsOf,
  deploymentTrouble,
  fingerprint,
  hasLabels,
  knownDeployment,
  selectorText,
  type KnownDeployment,
} from './known-deployment.ts';
import {
  applierOf,
  checkMaker,
  isClaimed,
  overwritten,
  takenBy,
  type Applier,
  type Written,
} from './other-writers.ts';
import { listPods, memberOf, setCosts } from './pods.ts';
import { isActivePod, isOwnPod, isTerminatingPod } from './ownership.ts';
import type { Members, Replicas, Target } from './target.ts';
import { annotatedPauseOf } from '../decide/pause.ts';
import { troubleOf } from './pod-failures.ts';
import type { Whose } from './workers-of.ts';

/** The Deployment is not there, or is somebody else's: nothing can be scaled until a person acts. */
export class NoTarget extends Error {
  override name = 'NoTarget';
}

/** What was applied last, and what the Deployment was like right after: while both hold, there is nothing to apply. */
export interface Applied {
  /** The pool and the grace period that it was made of. */
  readonly of: string;
  /** Fingerprints of what was applied, and of what the API server made of it. */
  readonly wanted: string;
  readonly made: string;
  /** Of the Deployment; `undefined` when it was applied by an earlier controller. */
  readonly generation: number | undefined;
}

/** What an earlier controller applied, from the status that it left. */
export function appliedBefore(text: string | undefined): Applied | undefined {
  const [wanted, made] = text?.split('.') ?? [];
  return wanted && made ? { of: '', wanted, made, generation: undefined } : undefined;
}

/** All in s. */
export interface GraceChange {
  readonly from: number;
  readonly to: number;
  readonly missing: number | undefined;
}

export interface KubeTarget extends Target {
  /** What to remember until the next reconcile. */
  readonly applied: Applied | undefined;
  /** The pods' grace period, where it is derived: before and after this reconcile, and what it should be instead. */
  readonly grace: GraceChange | undefined;
  /** The pods' label selector, as a string. */
  readonly selector: string | undefined;
  /** Pods that the selector matches and that are not the Deployment's own; `undefined` when none were looked at. */
  readonly strays: readonly string[] | undefined;
  readonly whose: Whose;
  /** What to remember of our writes until the next reconcile. */
  readonly written: Written;
  /** Who applies replicas to the adopted Deployment, which are ours to set. To be remembered as well. */
  readonly applier: Applier | undefined;
}

export interface KubeTargetOptions {
  readonly api: KubeApi;
  readonly pool: WorkerPool;
  readonly applied: Applied | undefined;
  /** The owned Deployment as the watch has it. */
  readonly known: KnownDeployment | undefined;
  /** The pods that carry the label of the pool, as the watch has them. */
  readonly pods: () => Iterable<Pod>;
  /** Pods that were taken away: the watch may not know yet. Kept from one reconcile to the next. */
  readonly taken: Set<string>;
  /** What the pods' grace period follows: see grace-period.ts. */
  readonly service: { readonly p99Ms: number | undefined; readonly idle: boolean };
  /** Who else scales the Deployment, as far as the watches show. */
  readonly rival: Rival | undefined;
  readonly written: Written;
  readonly applier: Applier | undefined;
  /** ms of the elapsed clock. */
  readonly now: number;
  readonly signal: AbortSignal;
}

export function kubeTarget(options: KubeTargetOptions): KubeTarget {
  const { api, pool, pods, taken, signal } = options;
  const { namespace, name } = pool.metadata;
  const adopts = pool.spec.scaleTargetRef !== undefined;
  const target = { namespace, name: pool.spec.scaleTargetRef?.name ?? name };
  let { applied, written, applier } = options;
  let selector: string | undefined;
  let grace: GraceChange | undefined;
  let observed: KnownDeployment | undefined;
  let strays: readonly string[] | undefined;
  /** What the API server said last. */
  let last: { readonly pods: readonly Pod[]; readonly resourceVersion: string | undefined } | undefined;

  async function owned(): Promise<KnownDeployment> {
    // the watch may still show what was there before our last change
    const behind = (options.known?.metadata.generation ?? 0) < (applied?.generation ?? 0);
    const known = options.known && !behind ? options.known : await findKnown();
    // a write that changed nothing made no generation: there is none to wait for
    if (applied && known && behind) applied = { ...applied, generation: known.metadata.generation };
    const graceS = deriveGrace(known);
    const of = `${pool.metadata.uid} ${pool.metadata.generation} ${graceS}`;
    if (!known) {
      const desired = deploymentOf(pool, graceS);
      return keep(of, desired, await api.deployments.create(desired, pool.spec.minReplicas, { signal }));
    }
    if (!known.metadata.ownerReferences?.some((owner) => owner.uid === pool.metadata.uid))
      throw new NoTarget(
        `Deployment "${name}" exists and does not belong to this pool: rename the pool, or scale that one with scaleTargetRef`,
      );
    const untouched = applied?.made === known.made && hasLabels(known, labelsOf(pool));
    // what it is made of is the same, and so is what is made
    if (untouched && applied?.of === of) return known;
    const desired = deploymentOf(pool, graceS);
    if (untouched && applied?.wanted === fingerprint(desired)) {
      applied = { ...applied, of };
      return known;
    }
    return keep(of, desired, await api.deployments.apply(desired, { signal }));
  }

  function keep(of: string, desired: DeploymentApply, after: Deployment): KnownDeployment {
    const known = knownDeployment(after);
    const { generation } = known.metadata;
    applied = { of, wanted: fingerprint(desired), made: known.made, generation };
    return known;
  }

  function deriveGrace(known: KnownDeployment | undefined): number {
    const current = known?.graceS ?? DEFAULT_GRACE_S;
    if (pool.spec.template?.spec?.terminationGracePeriodSeconds !== undefined) return current;
    const { p99Ms, idle } = options.service;
    const { seconds, missing } = graceOf({
      current,
      p99Ms,
      idle,
      changing:
        p99Ms !== undefined &&
        applied !== undefined &&
        applied.wanted !== fingerprint(deploymentOf(pool, current)),
      empty: known?.replicas === 0,
    });
    grace = { from: current, to: seconds, missing };
    return seconds;
  }

  async function findKnown(): Promise<KnownDeployment | undefined> {
    const found = await find();
    return found && knownDeployment(found);
  }

  async function find(): Promise<Deployment | undefined> {
    try {
      return await api.deployments.get(target, { signal });
    } catch (error) {
      if (error instanceof KubeError && error.notFound) return undefined;
      throw error;
    }
  }

  async function adopted(): Promise<KnownDeployment> {
    const found = await find();
    checkRival(found?.spec?.replicas);
    if (!found)
      throw new NoTarget(
        `Deployment "${target.name}" does not exist in namespace "${namespace}": create it, or correct scaleTargetRef.name`,
      );
    checkMaker(pool, found);
    const deployment = knownDeployment(found);
    await checkWriters(deployment);
    if (pool.spec.mode !== Mode.DryRun) applier = applierOf(found, applier);
    await claim(found);
    return deployment;
  }

  /**
   * Makes us an owner of the replicas as they are, before anything else is done with them: see `isClaimed`. A pool that leaves them
   * alone claims nothing.
   */
  async function claim(found: Deployment): Promise<void> {
    if (isClaimed(found) || pool.spec.mode !== Mode.Active || annotatedPauseOf(pool)) return;
    await setReplicas(found.spec?.replicas ?? 1, found.metadata.resourceVersion);
  }

  async function ownedByUs(): Promise<KnownDeployment> {
    const deployment = await owned();
    await checkWriters(deployment);
    return deployment;
  }

  return {
    get applied() {
      return applied;
    },
    get grace() {
      return grace;
    },
    get selector() {
      return selector;
    },
    get strays() {
      return strays;
    },
    get written() {
      return written;
    },
    get applier() {
      return applier;
    },
    whose: { namespace, pool: name, target: target.name },
    observe: async (): Promise<Replicas> => {
      const deployment = await (adopts ? adopted() : ownedByUs());
      observed = deployment;
      selector = selectorText(deployment.selector);
      const ours = adopts ? [] : own([...pods()]);
      return {
        ...countsOf(deployment),
        // Kubernetes counts them since 1.35; before, a pool's own pods can be counted here
        terminating:
          deployment.status.terminatingReplicas ??
          (adopts ? undefined : ours.filter(isTerminatingPod).length),
        trouble: troubleOf(ours) ?? deploymentTrouble(deployment),
      };
    },
    members: async (how) => {
      if (observed && !adopts && how !== 'fresh') return membersOf(observed, [...pods()], false);
      // the Deployment first: what happens to its pods from here on changes it, and the write is refused
      const deployment = await api.deployments.get(target, { signal });
      const labelSelector = deployment.spec && selectorText(deployment.spec.selector);
      const found = await listPods(api, { namespace, labelSelector }, signal);
      last = { pods: found, resourceVersion: deployment.metadata.resourceVersion };
      return membersOf(knownDeployment(deployment), found, true);
    },
    raise: async (replicas) => void (await setReplicas(replicas)),
    remove: async (ids, replicas) => {
      if (!last) throw new Error('nothing is taken away that was not looked at before');
      await mark(own(last.pods), ids);
      return setReplicas(replicas, last.resourceVersion);
    },
    keep: async (ids) => {
      await mark(
        own(last?.pods ?? []).filter((pod) => ids.includes(pod.metadata.name)),
        [],
      );
    },
  };

  function checkRival(replicas: number | undefined): void {
    const { rival } = options;
    if (rival) throw takenBy(target.name, rival.who, rival.autoscaler && replicas === 0);
  }

  /** Throws `TargetTaken` when somebody else scales it; a dry run writes nothing and minds nobody. */
  async function checkWriters({ replicas = 1 }: KnownDeployment): Promise<void> {
    if (pool.spec.mode === Mode.DryRun) return;
    checkRival(replicas);
    if (written.replicas !== undefined && written.replicas !== replicas)
      written = overwritten(await api.deployments.get(target, { signal }), written, options.now);
    const { lost } = written;
    if (lost && options.now < lost.until)
      throw takenBy(target.name, `an autoscaler ("${lost.to}" sets its replicas)`);
  }

  /** The Deployment's own pods; all others that its selector matches are noted. */
  function own(found: readonly Pod[]): Pod[] {
    strays = found.filter((pod) => !isOwnPod(pod, target.name) && isActivePod(pod)).map(nameOf);
    return found.filter((pod) => isOwnPod(pod, target.name));
  }

  function membersOf(deployment: KnownDeployment, found: readonly Pod[], fresh: boolean): Members {
    const { metadata, status } = deployment;
    const ours = own(found);
    const all = ours.flatMap((pod) => memberOf(pod, taken));
    const there = new Set(all.map(({ id }) => id));
    if (fresh) for (const pod of taken) if (!there.has(pod)) taken.delete(pod);
    const ending = ours.map(nameOf).filter((pod) => !there.has(pod));
    // where nobody has counted yet, there is nothing that could be late
    const settled = (status.observedGeneration ?? Infinity) >= (metadata.generation ?? 0);
    return { ...countsOf(deployment), all, ending, settled, fresh };
  }

  /** Marks these pods as going, or as not. */
  async function mark(ours: readonly Pod[], going: readonly string[]): Promise<void> {
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

  /** `false` when the Deployment is no longer at `resourceVersion`, if one is given. */
  async function setReplicas(replicas: number, resourceVersion?: string): Promise<boolean> {
    try {
      await api.deployments.setReplicas(target, replicas, { signal, resourceVersion });
    } catch (error) {
      if (resourceVersion !== undefined && error instanceof KubeError && error.conflict) return false;
      throw error;
    }
    written = { replicas, lost: undefined };
    // this step of the generation is ours: nothing to put back because of it
    if (applied?.generation !== undefined) applied = { ...applied, generation: applied.generation + 1 };
    return true;
  }
}

const nameOf = ({ metadata }: Pod): string => metadata.name;
