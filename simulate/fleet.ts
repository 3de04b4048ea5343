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
  readonly busyStopped: number;
  scale(replicas: number, now: number): void;
  up(pod: SimulatedPod): void;
  /** A pod has finished its tasks, or its grace period is over. */
  leave(pod: SimulatedPod, now: number): void;
}

interface FleetState {
  readonly options: FleetOptions;
  readonly pods: SimulatedPod[];
  /** Those that are not gone. */
  alive: SimulatedPod[];
  ready: number;
  busyStopped: number;
  /** Of pods that are gone. */
  spentMs: number;
}

export function createFleet(options: FleetOptions): Fleet {
  const state: FleetState = { options, pods: [], alive: [], ready: 0, busyStopped: 0, spentMs: 0 };
  const { pods } = state;
  const idleFirst = options.victims === 'idle';
  return {
    pods,
    get busyStopped() {
      return state.busyStopped;
    },
    get wanted() {
      return idleFirst ? state.alive.length : active(state).length;
    },
    get existing() {
      return state.alive.length;
    },
    get ready() {
      return idleFirst ? state.ready : state.alive.filter((pod) => pod.state === 'ready').length;
    },
    get starts() {
      return pods.length;
    },
    podMs: (now) => state.alive.reduce((sum, { createdAt }) => sum + now - createdAt, state.spentMs),
    scale: (replicas, now) => scale(state, replicas, now),
    up: (pod) => {
      if (pod.state !== 'starting') return;
      pod.state = 'ready';
      state.ready++;
      for (let i = 0; i < options.slots; i++) options.onFree(pod);
    },
    leave: (pod, now) => leave(state, pod, now),
  };
}

/** Pods that count as replicas: a leaving pod has been replaced, or is not wanted. */
function active({ alive }: FleetState): SimulatedPod[] {
  return alive.filter(({ state }) => state !== 'leaving');
}

function scale(state: FleetState, replicas: number, now: number): void {
  const have = active(state).length;
  if (replicas < have) remove(state, have - replicas, now);
  else for (let i = recall(state, replicas - have); i < replicas - have; i++) create(state, now);
}

function create({ options, pods, alive }: FleetState, now: number): void {
  const pod: SimulatedPod = { id: pods.length, createdAt: now, state: 'starting', tasks: new Set() };
  pods.push(pod);
  alive.push(pod);
  options.onCreate(pod);
}

/** Lets leaving pods stay, at most `count`; returns how many do. */
function recall({ options, alive }: FleetState, count: number): number {
  if (options.victims !== 'idle') return 0;
  const leaving = alive.filter(({ state }) => state === 'leaving').slice(0, count);
  for (const pod of leaving) {
    pod.state = 'ready';
    for (let i = pod.tasks.size; i < options.slots; i++) options.onFree(pod);
  }
  return leaving.length;
}

function remove(state: FleetState, count: number, now: number): void {
  const { options } = state;
  const ranked = active(state).map((pod) => ({ pod, rank: rankOf(state, pod, now) }));
  ranked.sort((a, b) => a.rank - b.rank);
  for (const { pod } of ranked.slice(0, count)) {
    if (pod.tasks.size === 0) {
      leave(state, pod, now);
      continue;
    }
    pod.state = 'leaving';
    if (options.victims === 'any') {
      state.busyStopped++;
      options.onStop(pod);
    }
  }
}

/** The lowest goes first. */
function rankOf({ options, pods }: FleetState, pod: SimulatedPod, now: number): number {
  if (pod.state === 'starting') return -1 - pod.createdAt / (now + 1);
  if (options.victims === 'idle') return pod.tasks.size + pod.id / (pods.length + 1);
  return Math.floor(Math.log2(1 + (now - pod.createdAt) / 1_000)) + options.random.uniform() / 2;
}

function leave(state: FleetState, pod: SimulatedPod, now: number): void {
  if (pod.state === 'gone') return;
  if (pod.state !== 'starting') state.ready--;
  pod.state = 'gone';
  state.spentMs += now - pod.createdAt;
  state.alive = state.alive.filter((other) => other !== pod);
}
