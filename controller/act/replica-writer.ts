/**
 * Writes the replicas of a pool's Deployment, and refuses to where somebody else scales it (other-writers.ts): two that scale
 * the same Deployment undo each other's writes.
 */
import type { KubeApi } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import type { ObjectRef } from '../../kube/resources.ts';
import type { Rival } from './claims.ts';
import { overwritten, takenBy, type Written } from './other-writers.ts';

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
  /** Throws `TargetTaken` also if somebody else has overwritten our last value. */
  check(replicas: number): Promise<void>;
  /** `false` if the Deployment is no longer at `resourceVersion`, where one is given. */
  set(replicas: number, resourceVersion?: string): Promise<boolean>;
}

export function replicaWriter(options: ReplicaWriterOptions): ReplicaWriter {
  const { api, target, rival, now, signal } = options;
  let { written } = options;

  function checkRival(replicas: number | undefined): void {
    if (rival) throw takenBy(target.name, rival.who, rival.autoscaler && replicas === 0);
  }

  return {
    get written() {
      return written;
    },
    checkRival,
    check: async (replicas) => {
      if (options.dryRun) return;
      checkRival(replicas);
      if (written.replicas !== undefined && written.replicas !== replicas)
        written = overwritten(await api.deployments.get(target, { signal }), written, now);
      const { lost } = written;
      if (lost && now < lost.until)
        throw takenBy(target.name, `an autoscaler ("${lost.to}" sets its replicas)`);
    },
    set: async (replicas, resourceVersion) => {
      try {
        await api.deployments.setReplicas(target, replicas, { signal, resourceVersion });
      } catch (error) {
        if (resourceVersion !== undefined && error instanceof KubeError && error.conflict) return false;
        throw error;
      }
      written = { replicas, lost: undefined };
      return true;
    },
  };
}
