/**
 * The pods of a simulation: created, ready after their start time, and removed by the rule of `victims`.
 *
 * `idle` is Millrace: pods that are not ready yet go first, then idle ones, then those with the fewest tasks; a pod that
 * holds tasks takes no more, ends when it has finished them, and is called back if replicas go up before that. Where some are to be
 * parked, those that would end are parked, and are the first to work again, at once: a resize takes less than half a second.
 * `any` is a ReplicaSet (kubernetes/pkg/controller/controller_utils.go, ActivePodsWithRanks): not ready first, then the
 * younger by powers of two of their age, otherwise at random. A busy victim may finish within the grace period and takes nothing
 * more; tasks that still run then go back to the front of the list, and run again.
 */
import type { Random } from './random.ts';

export type PodState = 'starting' | 'ready' | 'leaving' | 'parked' | 'gone';

export interface SimulatedPod {
  readonly id: number;
  readonly createdAt: number;
  /** While it is parked, since when, ms. */
  parkedAt: number;
  /** It starts only to be parked once it is up. */
  isSpare: boolean;
  state: PodState;
  /** The numbers of its running tasks. */
  readonly tasks: Set<number>;
}

export interface FleetOptions {
  readonly victims: 'idle' | 'any';
  readonly slots: number;
  readonly random: Random;
  /** What a parked pod costs, as a share of one at work. */
  readonly parkedShare?: number;
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
  readonly parked: number;
  readonly starts: number;
  /** Pod-ms of all pods until now, by what they request. */
  podMs(now: number): number;
  readonly busyStopped: number;
  /** `parked`: pods to park, of those that are not needed. */
  scale(replicas: number, now: number, parked?: number): void;
  up(pod: SimulatedPod, now: number): void;
  /** A pod has finished its tasks, or its grace period is over. */
  leave(pod: SimulatedPod, now: number): void;
}

interface FleetState {
  readonly options: FleetOptions;
  readonly pods: SimulatedPod[];
  /** Those that are not gone. */
  alive: SimulatedPod[];
  ready: number;
  parked: number;
  /** How many are to be parked. */
  toPark: number;
  busyStopped: number;
  /** Of pods that are gone, and what was saved while others were parked (less than 0). */
  spentMs: number;
}

export function createFleet(options: FleetOptions): Fleet {
  const state: FleetState = {
    options,
    pods: [],
    alive: [],
    ready: 0,
    parked: 0,
    toPark: 0,
    busyStopped: 0,
    spentMs: 0,
  };
  const { pods } = state;
  const idleFirst = options.victims === 'idle';
  return {
    pods,
    get busyStopped() {
      return state.busyStopped;
    },
    get wanted() {
      return idleFirst ? state.alive.length - state.parked : active(state).length;
    },
    get existing() {
      return state.alive.length - state.parked;
    },
    get ready() {
      return idleFirst ? state.ready : state.alive.filter((pod) => pod.state === 'ready').length;
    },
    get parked() {
      return state.parked;
    },
    get starts() {
      return pods.length;
    },
    podMs: (now) => state.alive.reduce((sum, pod) => sum + podMs(state, pod, now), state.spentMs),
    scale: (replicas, now, parked = 0) => scale(state, replicas, now, parked),
    up: (pod, now) => {
      if (pod.state !== 'starting') return;
      pod.state = 'ready';
      state.ready++;
      if (pod.isSpare) park(state, pod, now);
      else for (let i = 0; i < options.slots; i++) options.onFree(pod);
    },
    leave: (pod, now) => leave(state, pod, now),
  };
}

/** Pods that count as replicas: a leaving pod has been replaced, or is not wanted. */
function active({ alive }: FleetState): SimulatedPod[] {
  return alive.filter(({ state }) => state !== 'leaving' && state !== 'parked');
}

function scale(state: FleetState, replicas: number, now: number, toPark: number): void {
  state.toPark = toPark;
  for (const pod of state.alive) pod.isSpare = false;
  const have = active(state).length;
  if (replicas < have) remove(state, have - replicas, now);
  else {
    const missing = replicas - have;
    let found = wake(state, missing, now);
    found += recall(state, missing - found);
    for (; found < missing; found++) create(state, now);
  }
  const parked = state.alive.filter((pod) => pod.state === 'parked');
  for (const pod of parked.slice(0, Math.max(0, parked.length - toPark))) leave(state, pod, now);
}

/** Lets parked pods work, at most `count`; returns how many do. */
function wake(state: FleetState, count: number, now: number): number {
  const woken = state.alive.filter((pod) => pod.state === 'parked').slice(0, count);
  for (const pod of woken) {
    unpark(state, pod, now);
    pod.state = 'ready';
    state.ready++;
    for (let i = 0; i < state.options.slots; i++) state.options.onFree(pod);
  }
  return woken.length;
}

function park(state: FleetState, pod: SimulatedPod, now: number): void {
  pod.state = 'parked';
  pod.parkedAt = now;
  state.ready--;
  state.parked++;
}

function unpark(state: FleetState, pod: SimulatedPod, now: number): void {
  state.spentMs -= savedMs(state, pod, now);
  state.parked--;
}

/** What a pod has not cost since it was parked. */
function savedMs(
  { options: { parkedShare = 0 } }: FleetState,
  { state, parkedAt }: SimulatedPod,
  now: number,
): number {
  return state === 'parked' ? (1 - parkedShare) * (now - parkedAt) : 0;
}

function podMs(state: FleetState, pod: SimulatedPod, now: number): number {
  return now - pod.createdAt - savedMs(state, pod, now);
}

function create({ options, pods, alive }: FleetState, now: number): void {
  const pod: SimulatedPod = {
    id: pods.length,
    createdAt: now,
    parkedAt: 0,
    isSpare: false,
    state: 'starting',
    tasks: new Set(),
  };
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
  let spare = state.toPark - state.parked;
  for (const { pod } of ranked.slice(0, count)) {
    if (pod.state === 'starting' && spare-- > 0) {
      pod.isSpare = true;
      continue;
    }
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
  const isUp = pod.state === 'ready' || pod.state === 'leaving';
  if (isUp && state.parked < state.toPark) return park(state, pod, now);
  if (isUp) state.ready--;
  if (pod.state === 'parked') unpark(state, pod, now);
  pod.state = 'gone';
  state.spentMs += now - pod.createdAt;
  state.alive = state.alive.filter((other) => other !== pod);
}
