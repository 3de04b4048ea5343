/**
 * The pods of a simulation: created, ready after their start time, and removed by the rule of `victims`.
 *
 * `idle` is Millrace: pods that are not ready yet go first, then idle ones, then those with the fewest tasks; a pod that
 * holds tasks takes no more, ends when it has finished them, and is called back if replicas go up before that.
 * `any` is a ReplicaSet (kubernetes/pkg/controller/controller_utils.go, ActivePodsWithRanks): not ready first, then the
 * younger by powers of two of their age, otherwise at random. A busy victim may finish within the grace period and takes nothing
 * more; tasks that still run then go back to the front of the list, and run again.
 */
import type { Random } from './random.ts';

export type PodState = 'starting' | 'ready' | 'leaving' | 'gone';

export interface SimulatedPod {
  readonly id: number;
  readonly createdAt: number;
  state: PodState;
  /** The numbers of its running tasks. */
  readonly tasks: Set<number>;
}

export interface FleetOptions {
  readonly victims: 'idle' | 'any';
  readonly slots: number;
  readonly random: Random;
  /** A pod was created. */
  readonly onCreate: (pod: SimulatedPod) => void;
  /** A slot that may take a task. */
  readonly onFree: (pod: SimulatedPod) => void;
  /** A busy pod has until the end of the grace period. */
  readonly onStop: (pod: SimulatedPod) => void;
}

export interface Fleet {
  readonly pods: readonly SimulatedPod[];
  readonly wanted: number;
  readonly existing: number;
  readonly ready: number;
  readonly starts: number;
  /** Pod-ms of all pods until now. */
  podMs(now: number): number;
  busyStopped: number;
  scale(replicas: number, now: number): void;
  up(pod: SimulatedPod): void;
  /** A pod has finished its tasks, or its grace period is over. */
  leave(pod: SimulatedPod, now: number): void;
}

export function createFleet(options: FleetOptions): Fleet {
  const { victims, slots, random } = options;
  const pods: SimulatedPod[] = [];
  let alive: SimulatedPod[] = [];
  let ready = 0;
  let spentMs = 0;

  /** Pods that count as replicas: a leaving pod has been replaced, or is not wanted. */
  const active = (): SimulatedPod[] => alive.filter(({ state }) => state !== 'leaving');

  function gone(pod: SimulatedPod, now: number): void {
    if (pod.state === 'gone') return;
    if (pod.state !== 'starting') ready--;
    pod.state = 'gone';
    spentMs += now - pod.createdAt;
    alive = alive.filter((other) => other !== pod);
  }

  function create(now: number): void {
    const pod: SimulatedPod = { id: pods.length, createdAt: now, state: 'starting', tasks: new Set() };
    pods.push(pod);
    alive.push(pod);
    options.onCreate(pod);
  }

  function recall(count: number): number {
    if (victims !== 'idle') return 0;
    const leaving = alive.filter(({ state }) => state === 'leaving').slice(0, count);
    for (const pod of leaving) {
      pod.state = 'ready';
      for (let i = pod.tasks.size; i < slots; i++) options.onFree(pod);
    }
    return leaving.length;
  }

  /** Lower goes first. */
  function rank(pod: SimulatedPod, now: number): number {
    if (pod.state === 'starting') return -1 - pod.createdAt / (now + 1);
    if (victims === 'idle') return pod.tasks.size + pod.id / (pods.length + 1);
    return Math.floor(Math.log2(1 + (now - pod.createdAt) / 1_000)) + random.uniform() / 2;
  }

  function remove(count: number, now: number): void {
    const ranked = active().map((pod) => ({ pod, rank: rank(pod, now) }));
    ranked.sort((a, b) => a.rank - b.rank);
    for (const { pod } of ranked.slice(0, count)) {
      if (pod.tasks.size === 0) {
        gone(pod, now);
        continue;
      }
      pod.state = 'leaving';
      if (victims === 'any') {
        fleet.busyStopped++;
        options.onStop(pod);
      }
    }
  }

  const fleet: Fleet = {
    pods,
    busyStopped: 0,
    get wanted() {
      return victims === 'idle' ? alive.length : active().length;
    },
    get existing() {
      return alive.length;
    },
    get ready() {
      return victims === 'idle' ? ready : alive.filter(({ state }) => state === 'ready').length;
    },
    get starts() {
      return pods.length;
    },
    podMs: (now) => alive.reduce((sum, { createdAt }) => sum + now - createdAt, spentMs),
    scale: (replicas, now) => {
      const have = active().length;
      if (replicas < have) remove(have - replicas, now);
      else for (let i = recall(replicas - have); i < replicas - have; i++) create(now);
    },
    up: (pod) => {
      if (pod.state !== 'starting') return;
      pod.state = 'ready';
      ready++;
      for (let i = 0; i < slots; i++) options.onFree(pod);
    },
    leave: gone,
  };
  return fleet;
}
