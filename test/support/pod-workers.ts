/**
 * A Deployment whose pods are workers in this process: each runs its tasks until a test lets them end, and records what it ran
 * when it was stopped.
 */
import { expect } from 'vitest';
import type { ObjectRef } from '../../kube/resources.ts';
import { queueKeys } from '../../queue/keys.ts';
import { eventually } from './eventually.ts';
import { playReplicaSet, type ReplicaSetPlay } from './replicaset.ts';
import { startWorker, type TestWorker } from './workers.ts';
import type { World } from './world.ts';

export interface PodWorkers extends AsyncDisposable {
  readonly play: ReplicaSetPlay;
  /** Task → the pod in which it runs. */
  readonly running: ReadonlyMap<string, string>;
  /** Pods in the order in which they were stopped, with the tasks that ran there at that moment. */
  readonly stopped: readonly { readonly pod: string; readonly tasks: readonly string[] }[];
  /** Lets tasks end. */
  readonly finish: (...tasks: string[]) => void;
  /** Resolves when these tasks run, and no others. */
  readonly run: (...tasks: string[]) => Promise<void>;
}

export interface PodWorkersOptions {
  readonly world: World;
  readonly deployment: ObjectRef;
  readonly queues: readonly [string, ...string[]];
  readonly result: string;
  /** What the worker of a pod calls itself; by default as the pod. */
  readonly idOf?: (pod: string) => string;
}

export async function playPodWorkers(options: PodWorkersOptions): Promise<PodWorkers> {
  const { world, deployment, queues, result, idOf = (pod) => pod } = options;
  const workers = new Map<string, TestWorker>();
  const running = new Map<string, string>();
  const stopped: { pod: string; tasks: string[] }[] = [];
  const gates = new Map<string, PromiseWithResolvers<void>>();

  function gate(task: string): PromiseWithResolvers<void> {
    const found = gates.get(task) ?? Promise.withResolvers<void>();
    gates.set(task, found);
    return found;
  }

  const tasksIn = (pod: string): string[] =>
    [...running].filter(([, of]) => of === pod).map(([task]) => task);

  function start(pod: string): void {
    const handler = async (task: unknown): Promise<string> => {
      running.set(String(task), pod);
      await gate(String(task)).promise;
      running.delete(String(task));
      return 'done';
    };
    const keys = queueKeys(queues[0], result);
    workers.set(pod, startWorker(world.redis, keys, { queue: [...queues], handler, id: idOf(pod) }));
  }

  const play = await playReplicaSet({
    transport: world.transport,
    deployment,
    onStart: start,
    onStop: async (pod) => {
      stopped.push({ pod, tasks: tasksIn(pod) });
      await workers.get(pod)?.hurry();
    },
  });
  return {
    play,
    running,
    stopped,
    finish: (...tasks) => {
      for (const task of tasks) gate(task).resolve();
    },
    run: (...tasks) =>
      eventually(() => expect([...running.keys()].toSorted()).toEqual(tasks.toSorted()), {
        everyMs: 20,
      }),
    [Symbol.asyncDispose]: async () => {
      for (const { resolve } of gates.values()) resolve();
      const playing = Promise.resolve(play[Symbol.asyncDispose]());
      await playing.catch(() => undefined);
      await Promise.all([...workers.values()].map((worker) => worker[Symbol.asyncDispose]()));
      await playing;
    },
  };
}
