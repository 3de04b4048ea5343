/**
 * The plan of one pass of a scale-in: which members to mark, and then which to remove and how many replicas are left. Pure.
 *
 * Three sources count the replicas: the list of pods, the Deployment's status, and the workers in Redis. Replicas are never
 * lowered below the members that have not acknowledged. Replicas that were requested and never created may go unmarked; there are
 * such only if a fresh list of pods shows it and neither of the other two sources counts more.
 */
import type { Unmanaged } from '../../kube/workerpool.ts';
import type { WorkerLoads } from '../../queue/workers/worker-load.ts';
import type { Member, Members } from './target.ts';
import { chooseVictims } from './victims.ts';

/** When members were first seen ready and not registered, ms, by member id. */
export type Absent = ReadonlyMap<string, number>;

export interface PlanInput {
  readonly members: Members;
  /** The load of each member's workers. */
  readonly loads: WorkerLoads;
  /** Registered workers that appear to be the pool's own and belong to no member. */
  readonly unknown: readonly string[];
  readonly desired: number;
  /** Nothing waits, and nothing is in flight. */
  readonly idle: boolean;
  readonly unmanaged: Unmanaged;
  readonly absent: Absent;
  /** ms. */
  readonly now: number;
}

export interface ScaleInPlan {
  /** To drain, in the order of the choice. */
  readonly leaving: readonly Member[];
  /** Removed by an earlier pass, and not gone yet. */
  readonly doomed: readonly Member[];
  /** Chosen, but cannot drain. */
  readonly undrainable: readonly Member[];
  /** Those that cannot drain. */
  readonly plain: ReadonlySet<string>;
  readonly absent: Absent;
  /** Replicas that were requested, never created, and may go unmarked. */
  readonly uncreated: number;
  /** A rollout is replacing the members: none is removed. */
  readonly rollout: boolean;
  /** How the counts differ, human-readable: then nothing, or less, can be removed. */
  readonly mismatch: string | undefined;
}

/** A replica that is ready and not registered for this long is a plain worker. */
const UNMANAGED_MS = 5_000;

export function planScaleIn(input: PlanInput): ScaleInPlan {
  const { members, loads, desired, idle, now } = input;
  const { all, wanted } = members;
  const absent = stillAbsent(all, loads, input.absent, now);
  const plain = new Set([...absent].filter(([, since]) => now - since >= UNMANAGED_MS).map(([id]) => id));
  const plainMayGo = input.unmanaged === 'Always' || (input.unmanaged === 'WhenIdle' && idle);
  const doomed = goingAnyway(all, wanted);
  const rest = all.filter((member) => !doomed.includes(member));
  const missing = Math.max(0, wanted - all.length);
  const inExcess = wanted - desired;
  const rollout = members.rollingOut && !idle;
  const mismatch = mismatchOf(input, Math.min(missing, inExcess));
  const chosen = rollout ? [] : chooseVictims(rest, loads, plain, inExcess - missing);
  const leaving = chosen.filter(({ id }) => plainMayGo || !plain.has(id));
  return {
    leaving,
    doomed,
    undrainable: chosen.filter((member) => !leaving.includes(member)),
    plain,
    absent,
    uncreated: rollout || mismatch !== undefined ? 0 : Math.min(missing, inExcess),
    rollout,
    mismatch,
  };
}

export interface ScaleInOutcome {
  /** Have acknowledged, and can be removed. */
  readonly gone: readonly Member[];
  readonly waiting: readonly Member[];
  /** Replicas to request. */
  readonly to: number;
}

/** Who has acknowledged, by the loads right after the marks were set. */
export function outcomeOf({ members }: PlanInput, plan: ScaleInPlan, loads: WorkerLoads): ScaleInOutcome {
  const { all, wanted, existing } = members;
  const { leaving, doomed, plain } = plan;
  const acknowledged = (member: Member): boolean => {
    const load = loads.get(member.id);
    if (load) return load.state === 'drained' && load.inFlight === 0;
    return !member.ready || plain.has(member.id);
  };
  const free = leaving.filter(acknowledged);
  const rest = all.filter((member) => !doomed.includes(member));
  // the ReplicaSet would remove one of these instead, or one that is missing in the list
  const inTheWay = rest.some((member) => !member.ready && !free.includes(member));
  const gone = existing > all.length ? [] : inTheWay ? free.filter((member) => !member.ready) : free;
  const least = rest.length - gone.length;
  return {
    gone,
    waiting: leaving.filter((member) => !gone.includes(member)),
    // members beyond the requested number are not ours to choose from: their ReplicaSet removes them first
    to: Math.min(wanted, Math.max(wanted - plan.uncreated - gone.length, least)),
  };
}

/** Members that were removed already and are not gone yet: any task that they received now would be interrupted. */
export function goingAnyway(members: readonly Member[], wanted: number): readonly Member[] {
  return members.filter(({ going }) => going).slice(0, Math.max(0, members.length - wanted));
}

/** Members that are ready and not registered, and since when. */
export function stillAbsent(
  members: readonly Member[],
  loads: WorkerLoads,
  before: Absent,
  now: number,
): Absent {
  const missing = members.filter(({ id, ready }) => ready && !loads.has(id));
  return new Map(missing.map(({ id }) => [id, before.get(id) ?? now]));
}

function mismatchOf({ members, unknown }: PlanInput, missing: number): string | undefined {
  const { all, existing } = members;
  const listed = `a list of its pods shows ${all.length}`;
  if (existing > all.length) return `the Deployment's status counts ${existing} pods, and ${listed}`;
  const [first] = unknown;
  if (missing > 0 && first !== undefined)
    return `${first}${unknown.length === 1 ? ' is' : ` and ${unknown.length - 1} more are`} registered in Redis, and ${listed}`;
  return undefined;
}
