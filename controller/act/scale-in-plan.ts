/**
 * What one pass of a scale-in does, of what was seen: whom it marks, and then who goes and how many replicas are left. Pure.
 *
 * Three witnesses count the replicas: the list of pods, the Deployment's status, and the workers in Redis. Replicas are never
 * lowered below the members that have not acknowledged. Those that were asked for and never came may go unasked; that there are
 * such is believed only when a fresh list says so and neither of the other two knows of more.
 */
import type { Unmanaged } from '../../kube/workerpool.ts';
import type { WorkerLoads } from '../../queue/workers/worker-load.ts';
import type { Member, Members } from './target.ts';
import { chooseVictims } from './victims.ts';

/** Since when members are ready and not registered, ms: by member id. */
export type Absent = ReadonlyMap<string, number>;

export interface PlanInput {
  readonly members: Members;
  /** What each member's workers hold. */
  readonly loads: WorkerLoads;
  /** Workers that are registered, look like the pool's own and are in none of the members. */
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
  /** Taken away by an earlier pass, and only not gone yet. */
  readonly doomed: readonly Member[];
  /** Would have to go, but cannot drain. */
  readonly unasked: readonly Member[];
  /** Those that cannot drain. */
  readonly plain: ReadonlySet<string>;
  readonly absent: Absent;
  /** Replicas that were asked for, never came, and may go unasked. */
  readonly unborn: number;
  /** A rollout replaces the members: nothing goes. */
  readonly rollout: boolean;
  /** Why the counts do not agree, in describeProgress: then nothing, or less, can go. */
  readonly doubt: string | undefined;
}

/** Ready for so long without being registered, a replica is a plain worker, ms. */
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
  const doubt = doubtOf(input, Math.min(missing, inExcess));
  const chosen = rollout ? [] : chooseVictims(rest, loads, plain, inExcess - missing);
  const leaving = chosen.filter(({ id }) => plainMayGo || !plain.has(id));
  return {
    leaving,
    doomed,
    unasked: chosen.filter((member) => !leaving.includes(member)),
    plain,
    absent,
    unborn: rollout || doubt !== undefined ? 0 : Math.min(missing, inExcess),
    rollout,
    doubt,
  };
}

export interface ScaleInOutcome {
  /** Have acknowledged, and can be taken. */
  readonly gone: readonly Member[];
  readonly waiting: readonly Member[];
  /** Replicas to ask for. */
  readonly to: number;
}

/** Who has acknowledged, by what is known right after the marks were set. */
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
  // the ReplicaSet would take one of these instead, or one that nobody has listed
  const inTheWay = rest.some((member) => !member.ready && !free.includes(member));
  const gone = existing > all.length ? [] : inTheWay ? free.filter((member) => !member.ready) : free;
  const least = rest.length - gone.length;
  return {
    gone,
    waiting: leaving.filter((member) => !gone.includes(member)),
    // more members than were asked for are not ours to choose from: whoever made them so takes them away first
    to: Math.min(wanted, Math.max(wanted - plan.unborn - gone.length, least)),
  };
}

/** Those that were taken away already, and are only not gone yet: work that they got now would be cut off. */
export function goingAnyway(members: readonly Member[], wanted: number): readonly Member[] {
  return members.filter(({ going }) => going).slice(0, Math.max(0, members.length - wanted));
}

function stillAbsent(members: readonly Member[], loads: WorkerLoads, before: Absent, now: number): Absent {
  const missing = members.filter(({ id, ready }) => ready && !loads.has(id));
  return new Map(missing.map(({ id }) => [id, before.get(id) ?? now]));
}

function doubtOf({ members, unknown }: PlanInput, missing: number): string | undefined {
  const { all, existing } = members;
  const listed = `a list of its pods shows ${all.length}`;
  if (existing > all.length) return `the Deployment's status counts ${existing} pods, and ${listed}`;
  const [first] = unknown;
  if (missing > 0 && first !== undefined)
    return `${first}${unknown.length === 1 ? ' is' : ` and ${unknown.length - 1} more are`} registered in Redis, and ${listed}`;
  return undefined;
}
