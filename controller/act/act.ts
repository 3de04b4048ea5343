/**
 * One step of a pool within a reconcile: creates the target, runs the step on it and keeps the state for the next one. It does
 * not handle status, events or metrics.
 */
import type { KubeApi } from '../../kube/api.ts';
import type { Pod } from '../../kube/wire.ts';
import { Mode, type WorkerPool } from '../../kube/workerpool.ts';
import type { Memory, Policy } from '../decide/decision.ts';
import type { Sampled } from '../sample/sampled.ts';
import type { QueueLink } from '../sample/sampler.ts';
import type { Rival } from './claims.ts';
import type { AdoptedDeployments } from './adopted-deployments.ts';
import { deploymentTarget, type DeploymentTarget } from './deployment-target.ts';
import { noService, recall, recentP99, type ServiceMemory } from './grace-period.ts';
import type { KnownDeployment } from './known-deployment.ts';
import { applierBefore, nothingWritten, type Applier, type Written } from './other-writers.ts';
import { appliedBefore, type Applied, type ServiceTimes } from './owned-deployment.ts';
import { initialParkingState, type ParkingState } from './parked/resize.ts';
import { drainsOf, type Drains } from './scale-in.ts';
import { sourceDrains, type SourceState } from './source-drains.ts';
import { nothingKept, step, type Kept, type Step } from './step.ts';
import type { PodsRead } from './target-pods.ts';

/** The state of this stage for a pool, from one reconcile to the next. */
export interface ActState {
  applied: Applied | undefined;
  /** Pods that were removed: the watch may still show them. */
  taken: ReadonlySet<string>;
  kept: Kept;
  /** Our writes of replicas. */
  replicas: Written;
  /** Of an adopted Deployment, while a scale-in goes on. */
  podsRead: PodsRead | undefined;
  /** Who else applies them. */
  applier: Applier | undefined;
  /** Names of the pods that match the selector and do not count, as of the last read. */
  strays: readonly string[];
  service: ServiceMemory;
  /** Of a pool with a source. */
  readonly source: SourceState;
  /** Of a pool that parks replicas. */
  parking: ParkingState | undefined;
}

/** Never changed, only replaced. */
const NONE_TAKEN: ActState['taken'] = new Set();
const NONE_IDLE: SourceState['idle'] = new Map();

export function initialActState(): ActState {
  return {
    applied: undefined,
    taken: NONE_TAKEN,
    kept: nothingKept,
    replicas: nothingWritten,
    podsRead: undefined,
    applier: undefined,
    strays: [],
    service: noService,
    source: { idle: NONE_IDLE },
    parking: undefined,
  };
}

export interface TargetInput {
  readonly api: KubeApi;
  readonly pool: WorkerPool;
  readonly sampled: Sampled;
  /** The owned Deployment and the pool's pods as the watches have them. */
  readonly known: KnownDeployment | undefined;
  readonly adopted: Pick<AdoptedDeployments, 'find'>;
  readonly pods: () => Iterable<Pod>;
  readonly rival: Rival | undefined;
  /** The numbers of partitions that workers take from, `1,16`; `undefined` without partitions. */
  readonly partitions: string | undefined;
  /** ms of the elapsed clock. */
  readonly now: number;
  readonly signal: AbortSignal;
}

export function targetOf(input: TargetInput, state: ActState): DeploymentTarget {
  const { api, pool, sampled, known, adopted, pods, rival, partitions, now, signal } = input;
  return deploymentTarget({
    api,
    pool,
    signal,
    applied: state.applied ?? appliedBefore(pool.status?.applied),
    known,
    adopted,
    pods,
    taken: state.taken,
    rival,
    partitions,
    written: state.replicas,
    podsRead: state.podsRead,
    applier: state.applier ?? applierBefore(pool.status?.replicasApplier),
    parking: mayPark(pool) ? (state.parking ??= initialParkingState()) : undefined,
    now,
    service: serviceOf(sampled, state),
  });
}

/** Also replicas that are left of a time when it did. */
function mayPark({ spec, status }: WorkerPool): boolean {
  return spec.parked !== undefined || typeof status?.parkedReplicas === 'number';
}

export interface ActInput {
  readonly pool: WorkerPool;
  readonly policy: Policy;
  readonly memory: Memory;
  readonly sampled: Sampled;
  readonly target: DeploymentTarget;
  /** `undefined` while the address of the pool's Redis is not resolved. */
  readonly link: QueueLink | undefined;
  /** ms of the elapsed clock, and the same moment in ms since the epoch. */
  readonly now: number;
  readonly wall: number;
  /** Calls the decision. */
  readonly around: <T>(work: () => T) => T;
}

/** One step of a pool. Rejects as `step` does; what was written before that is kept even then. */
export async function act(input: ActInput, state: ActState): Promise<Step> {
  const { pool, policy, memory, sampled, target, link, now, wall, around } = input;
  try {
    const done = await step({
      policy,
      sampled,
      target,
      memory,
      now,
      wall,
      dryRun: pool.spec.mode === Mode.DryRun,
      around,
      drains: link && drainsFor(link, input, state),
      unmanaged: pool.spec.scaling.scaleDown.unmanaged,
      kept: state.kept,
      partitioned: link?.partitions !== undefined,
      identity: target.identity,
    });
    state.kept = done.kept;
    state.strays = target.strays ?? state.strays;
    return done;
  } finally {
    state.applied = target.applied;
    state.taken = target.taken;
    state.replicas = target.written;
    state.podsRead = target.podsRead;
    state.applier = target.applier;
  }
}

function drainsFor(
  { sampler: { redisOf, wakeMode }, queues, source }: QueueLink,
  { pool, sampled }: ActInput,
  state: ActState,
): Drains {
  const [first] = queues;
  if (!source || !first) return drainsOf(redisOf, queues);
  const idleSince = sampled.kind === 'known' ? sampled.idleSince : undefined;
  const { unmanaged } = pool.spec.scaling.scaleDown;
  const tracked = wakeMode === 'Tracking';
  return sourceDrains({ redis: redisOf(first), source, idleSince, tracked, unmanaged, state: state.source });
}

function serviceOf(sampled: Sampled, state: ActState): ServiceTimes {
  if (sampled.kind === 'unknown') return { p99Ms: undefined, idle: false };
  const { sample } = sampled;
  state.service = recall(state.service, sample);
  return {
    p99Ms: recentP99(state.service, sample),
    idle: sample.waiting + sample.inFlight + sample.due === 0,
  };
}
