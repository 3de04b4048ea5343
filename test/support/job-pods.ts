/**
 * Kubernetes' own Job controller on the API server of a test, which creates the pods of Jobs and reads how they end. There is no
 * kubelet, so a test says that itself.
 */
import { expect } from 'vitest';
import { JOBS, PODS } from '../../kube/resources.ts';
import type { Job, Pod } from '../../kube/wire.ts';
import { startControllerManager } from './controller-manager.ts';
import { eventually } from './eventually.ts';
import type { Objects, World } from './world.ts';

export function startJobController({ server }: World): Promise<AsyncDisposable> {
  return startControllerManager(server, [
    'job-controller',
    'garbage-collector-controller',
    'ttl-after-finished-controller',
    'serviceaccount-controller',
  ]);
}

export interface End {
  readonly exitCode?: number;
  /** The termination message. */
  readonly message?: string;
  readonly reason?: string;
  /** Kubernetes takes it away. */
  readonly disrupted?: true;
  /** It was told to stop. */
  readonly stopping?: true;
}

export interface JobPods {
  readonly jobs: () => Promise<Job[]>;
  /** The one pod that has not ended of the one Job with this task. Waits for it. */
  readonly podOf: (task: string) => Promise<Pod>;
  /** All pods that there were, by uid. */
  readonly started: ReadonlySet<string>;
  /** The pod of this task ends. */
  readonly end: (task: string, how?: End) => Promise<void>;
}

export function jobPods(objects: Objects, namespace: string): JobPods {
  const started = new Set<string>();
  const pods = async (): Promise<Pod[]> => {
    const found = await objects.list<Pod>(PODS, namespace);
    for (const { metadata } of found) started.add(metadata.uid ?? '');
    return found;
  };
  const onlyPodOf = (task: string, isStopping: boolean): Promise<Pod> =>
    eventually(async () => {
      const found = (await pods()).filter(
        ({ metadata, status }) =>
          metadata.annotations?.['millrace.dev/task'] === task &&
          (metadata.deletionTimestamp !== undefined) === isStopping &&
          !['Succeeded', 'Failed'].includes(status?.phase ?? ''),
      );
      expect(found, task).toHaveLength(1);
      return found[0] as Pod;
    });
  const podOf = (task: string): Promise<Pod> => onlyPodOf(task, false);
  return {
    jobs: () => objects.list<Job>(JOBS, namespace),
    podOf,
    started,
    end: async (task, { exitCode = 0, message, reason, disrupted, stopping = false } = {}) => {
      const { metadata, spec } = await onlyPodOf(task, stopping);
      const finishedAt = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
      const terminated = { exitCode, message, reason, startedAt: finishedAt, finishedAt };
      const containerStatuses = spec?.containers.map(({ name, image }) => ({
        name,
        image,
        imageID: '',
        ready: false,
        restartCount: 0,
        state: { terminated },
      }));
      const conditions = [
        {
          type: 'DisruptionTarget',
          status: 'True',
          reason: 'EvictionByEvictionAPI',
          lastTransitionTime: finishedAt,
        },
      ];
      const phase = exitCode === 0 ? 'Succeeded' : 'Failed';
      const status = { phase, containerStatuses, ...(disrupted && { conditions }) };
      const ref = { namespace, name: metadata.name };
      await objects.patch(PODS, ref, { status }, 'status');
      // as a kubelet does
      if (stopping) await objects.remove(PODS, ref, { gracePeriodSeconds: 0 });
    },
  };
}
