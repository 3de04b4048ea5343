/**
 * The Deployment that a pool owns: created, and kept as the pool's template and grace period require, by server-side apply. It is
 * applied only if what it is made of changed, or what the API server made of it.
 */
import type { DeploymentApply, KubeApi } from '../../kube/api.ts';
import type { Deployment } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { deploymentOf, labelsOf } from './deployment.ts';
import { findDeployment } from './find-deployment.ts';
import { DEFAULT_GRACE_S, graceOf } from './grace-period.ts';
import { fingerprint, hasLabels, knownDeployment, type KnownDeployment } from './known-deployment.ts';
import { NoTarget } from './target.ts';

/** What was applied last, and the Deployment right after: while both are unchanged, there is nothing to apply. */
export interface Applied {
  /** The pool and the grace period that it was made of. */
  readonly of: string;
  /** Fingerprints of what was applied, and of what the API server made of it. */
  readonly wanted: string;
  readonly made: string;
  /** Of the Deployment; `undefined` if an earlier controller applied it. */
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

/** Service times of recent tasks, which the pods' grace period follows: see grace-period.ts. */
export interface ServiceTimes {
  readonly p99Ms: number | undefined;
  readonly idle: boolean;
}

export interface OwnedDeploymentOptions {
  readonly api: KubeApi;
  readonly pool: WorkerPool;
  readonly applied: Applied | undefined;
  /** The Deployment as the watch has it. */
  readonly known: KnownDeployment | undefined;
  /** A resource version of it that is known to be out of date. */
  readonly outdated?: string | undefined;
  readonly service: ServiceTimes;
  /** The numbers of partitions that workers take from, `1,16`; `undefined` without partitions. */
  readonly partitions?: string | undefined;
  readonly signal: AbortSignal;
}

export interface OwnedDeployment {
  /** To be kept until the next reconcile. */
  readonly applied: Applied | undefined;
  /** The pods' grace period, where it is derived: before and after this reconcile, and what it should be instead. */
  readonly grace: GraceChange | undefined;
  /** Creates or applies it if needed. Throws `NoTarget` if it belongs to somebody else. */
  ensure(): Promise<KnownDeployment>;
  /** To be called after a write of its replicas: that generation is ours, so nothing is applied because of it. */
  replicasWritten(): void;
}

export function ownedDeployment(options: OwnedDeploymentOptions): OwnedDeployment {
  const { api, pool, service, partitions, signal } = options;
  const { namespace, name, uid, generation } = pool.metadata;
  let { applied } = options;
  let grace: GraceChange | undefined;

  // the priorities that are served change without the spec
  const served = pool.spec.priorities?.join(',') ?? '';
  // joined: see `keyOf`
  const madeOf = (graceS: number): string => [uid, generation, graceS, partitions, served].join(' ');

  async function ensure(): Promise<KnownDeployment> {
    const known = await read();
    const graceS = deriveGrace(known);
    const of = madeOf(graceS);
    if (!known) {
      const desired = deploymentOf(pool, graceS, partitions);
      return keep(of, desired, await api.deployments.create(desired, pool.spec.minReplicas, { signal }));
    }
    if (!known.metadata.ownerReferences?.some((owner) => owner.uid === uid))
      throw new NoTarget(
        `Deployment "${name}" exists and does not belong to this pool: rename the pool, or scale that one with scaleTargetRef`,
      );
    const untouched = applied?.made === known.made && hasLabels(known, labelsOf(pool));
    // what it is made of is the same, and so is what is made
    if (untouched && applied?.of === of) return known;
    const desired = deploymentOf(pool, graceS, partitions);
    if (untouched && applied?.wanted === fingerprint(desired)) {
      // `made` is equal, and so one text instead of two
      applied = { ...applied, of, made: known.made };
      return known;
    }
    return keep(of, desired, await api.deployments.apply(desired, { signal }));
  }

  async function read(): Promise<KnownDeployment | undefined> {
    // the watch may still show the state before our last change
    const { generation: seen = 0, resourceVersion } = options.known?.metadata ?? {};
    const behind = seen < (applied?.generation ?? 0);
    const outdated = resourceVersion !== undefined && resourceVersion === options.outdated;
    if (options.known && !behind && !outdated) return options.known;
    const found = await findDeployment(api, { namespace, name }, signal);
    const known = found && knownDeployment(found);
    // a write that changed nothing made no generation: there is none to wait for
    if (applied && known && behind) applied = { ...applied, generation: known.metadata.generation };
    return known;
  }

  function keep(of: string, desired: DeploymentApply, after: Deployment): KnownDeployment {
    const known = knownDeployment(after);
    applied = { of, wanted: fingerprint(desired), made: known.made, generation: known.metadata.generation };
    return known;
  }

  function deriveGrace(known: KnownDeployment | undefined): number {
    const current = known?.graceS ?? DEFAULT_GRACE_S;
    if (pool.spec.template?.spec?.terminationGracePeriodSeconds !== undefined) return current;
    const { p99Ms, idle } = service;
    const { seconds, missing } = graceOf({
      current,
      p99Ms,
      idle,
      changing:
        p99Ms !== undefined &&
        applied !== undefined &&
        applied.of !== madeOf(current) &&
        applied.wanted !== fingerprint(deploymentOf(pool, current, partitions)),
      empty: known?.replicas === 0,
    });
    grace = { from: current, to: seconds, missing };
    return seconds;
  }

  return {
    get applied() {
      return applied;
    },
    get grace() {
      return grace;
    },
    ensure,
    replicasWritten: () => {
      if (applied?.generation !== undefined) applied = { ...applied, generation: applied.generation + 1 };
    },
  };
}
