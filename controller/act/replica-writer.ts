/**
 * Writes the replicas of a pool's Deployment, and refuses to where somebody else scales it (other-writers.ts): two that scale
 * the same Deployment undo each other's writes.
 */
import type { KubeApi } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import type { ObjectRef } from '../../kube/resources.ts';
import type { Rival } from './claims.ts';
import { adoptedDeployment } from './adopted-deployment.ts';
import { overwritten, takenBy, type CurrentReplicas, type Written } from './other-writers.ts';

export interface ReplicaWriterOptions {
  readonly api: KubeApi;
  readonly target: ObjectRef;
  readonly written: Written;
  readonly rival: Rival | undefined;
  /** A dry run: it writes nothing, so other writers do not matter. */
  readonly dryRun: boolean;
  /** ms of the elapsed clock. */
  readonly now: number;
  readonly signal: AbortSignal;
}

export interface ReplicaWriter {
  /** Our writes, to be kept until the next reconcile. */
  readonly written: Written;
  /** Throws `TargetTaken` if the watches show somebody else that scales the Deployment, which has `replicas` now. */
  checkRival(replicas: number | undefined): void;
  /** Throws `TargetTaken` also if somebody else has overwritten our last value, for which the Deployment is read if necessary. */
  check(replicas: number): Promise<void>;
  /** The same, with the current state. */
  checkCurrent(current: CurrentReplicas): void;
  /** Whether our writes show that this state, as a watch has it, is not the current one. */
  isBehind(seen: SeenReplicas): boolean;
  /**
   * Resolves to the resource version of the Deployment after that, or to `undefined` if it is no longer at `resourceVersion`,
   * where one is given: nothing is written then.
   */
  set(replicas: number, resourceVersion?: string): Promise<string | undefined>;
}

interface SeenReplicas {
  readonly replicas: number | undefined;
  readonly metadata: { readonly resourceVersion?: string };
}

export function replicaWriter(options: ReplicaWriterOptions): ReplicaWriter {
  const { api, target, rival, now, signal } = options;
  let { written } = options;

  function checkRival(replicas: number | undefined): void {
    if (rival) throw takenBy(target.name, rival.who, rival.autoscaler && replicas === 0);
  }

  const isOurs = (replicas: number | undefined): boolean =>
    written.replicas === undefined || written.replicas === replicas;

  function checkLost(): void {
    const { lost } = written;
    if (lost && now < lost.until)
      throw takenBy(target.name, `an autoscaler ("${lost.to}" sets its replicas)`);
  }

  return {
    get written() {
      return written;
    },
    checkRival,
    check: async (replicas) => {
      if (options.dryRun) return;
      checkRival(replicas);
      if (!isOurs(replicas))
        written = overwritten(adoptedDeployment(await api.deployments.get(target, { signal })), written, now);
      checkLost();
    },
    checkCurrent: (current) => {
      if (options.dryRun) return;
      if (!isOurs(current.replicas)) written = overwritten(current, written, now);
      checkLost();
    },
    isBehind: ({ replicas, metadata: { resourceVersion } }) =>
      !isOurs(replicas) || (resourceVersion !== undefined && resourceVersion === written.outdated),
    set: async (replicas, resourceVersion) => {
      try {
        const { metadata } = await api.deployments.setReplicas(target, replicas, { signal, resourceVersion });
        const after = metadata.resourceVersion ?? '';
        // a write that changed nothing makes no version
        const outdated = after === resourceVersion ? undefined : (resourceVersion ?? written.outdated);
        written = { replicas, lost: undefined, outdated };
        return after;
      } catch (error) {
        if (resourceVersion === undefined || !(error instanceof KubeError) || !error.conflict) throw error;
        written = { ...written, outdated: resourceVersion };
        return undefined;
      }
    },
  };
}
