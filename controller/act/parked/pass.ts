/**
 * One pass over the replicas of a pool that parks some: requests sizes, and marks those in Redis that are to take nothing. All state
 * is in the pods and in Redis, as that of a scale-in.
 *
 * A member is parked in the order of a scale-in: marked, acknowledged, and only then resized, so that no task begins in between.
 */
import type { WorkerLoads } from '../../../queue/workers/worker-load.ts';
import { orderDrains, readLoads, unaware, type Drains } from '../scale-in.ts';
import { goingAnyway, stillAbsent } from '../scale-in-plan.ts';
import type { Member, Members, ParkingTarget, Target } from '../target.ts';
import { workersOf, type MemberWorkers, type PoolIdentity } from '../workers-of.ts';
import { drainedOf, isDrained, planParking } from './plan.ts';

export interface ParkPassInput {
  readonly target: Target;
  readonly parking: ParkingTarget;
  /** `undefined` while the queue cannot be read: then nothing is parked. */
  readonly drains: Drains | undefined;
  readonly identity: PoolIdentity | undefined;
  readonly desired: number;
  /** Replicas are being removed, which comes first: nothing is parked or marked here. */
  readonly shrinking: boolean;
  /** When members were first seen ready and not registered, ms, by id. */
  readonly absent: ReadonlyMap<string, number>;
  /** ms. */
  readonly now: number;
}

export interface ParkPass {
  readonly woken: number;
  readonly parked: number;
  readonly absent: ReadonlyMap<string, number>;
  /** Members that are ready, and that no worker of Millrace runs in: they cannot be parked. */
  readonly unmanaged: readonly string[];
  /** The next acknowledgement is expected after this many ms; `undefined` if none is awaited. */
  readonly requeueInMs: number | undefined;
}

export const noParkPass: ParkPass = {
  woken: 0,
  parked: 0,
  absent: new Map(),
  unmanaged: [],
  requeueInMs: undefined,
};

/** An idle worker acknowledges within milliseconds. */
const SOON_MS = 100;
const LATER_MS = 1_000;
/** A member that is ready and not registered for this long runs no worker of Millrace. */
const UNMANAGED_MS = 5_000;

/** Rejects if Redis or the API server does not answer; what was requested until then is requested again by the next pass. */
export async function parkPass(input: ParkPassInput): Promise<ParkPass> {
  const { target, parking, drains, identity, desired, shrinking } = input;
  let members = await target.members();
  const going = members.all.some((member) => member.going);
  if (going && !members.fresh) members = await target.members('fresh');
  const doomed = goingAnyway(members.all, members.wanted);
  const staying = members.all.filter((member) => !doomed.includes(member));
  const registered = drains && workersOf(members, await readLoads(drains, members), identity);
  const plan = planParking({ members: staying, loads: registered?.loads ?? new Map(), desired });
  const scene = drains && registered && { drains, members, doomed, registered };
  const [woken, marked] = await Promise.allSettled([
    parking.resize(idsOf(plan.wake), 'full'),
    scene && !shrinking ? park(input, scene, plan.marked) : undefined,
  ]);
  if (woken.status === 'rejected') throw woken.reason;
  if (marked.status === 'rejected') throw marked.reason;
  const absent = registered ? stillAbsent(staying, registered.loads, input.absent, input.now) : input.absent;
  const unmanaged = [...absent].filter(([, since]) => input.now - since >= UNMANAGED_MS).map(([id]) => id);
  return { ...noParkPass, ...marked.value, woken: woken.value.length, absent, unmanaged };
}

interface Scene {
  readonly drains: Drains;
  readonly members: Members;
  readonly doomed: readonly Member[];
  readonly registered: MemberWorkers;
}

/** Marks exactly these members, and parks those of them that have drained. */
async function park(
  { target, parking, identity, desired }: ParkPassInput,
  { drains, members, doomed, registered }: Scene,
  marked: readonly Member[],
): Promise<Pick<ParkPass, 'parked' | 'requeueInMs'>> {
  const order = (leaving: readonly Member[]): Promise<WorkerLoads> =>
    orderDrains(drains, members, registered, [...doomed, ...leaving], identity);
  const loads = await order(marked);
  const kept = members.all.filter((member) => member.going && !doomed.includes(member));
  if (kept.length > 0) await target.keep(idsOf(kept));
  await drains.endWaits(marked.flatMap(({ id }) => unaware(loads.get(id))));
  // whose pods a rollout replaces is not ours to choose
  const drained = members.rollingOut ? [] : drainedOf(marked, loads);
  const parked = await parking.resize(idsOf(drained), 'parked');
  // without work, each of them waits for the first task
  if (desired === 0 && parked.length > 0) await order(marked.filter(({ id }) => !parked.includes(id)));
  const awaited = marked.flatMap(({ id }) => loads.get(id) ?? []).filter((load) => !isDrained(load));
  const soon = awaited.some(({ inFlight }) => inFlight === 0);
  return {
    parked: parked.length,
    requeueInMs: awaited.length === 0 ? undefined : soon ? SOON_MS : LATER_MS,
  };
}

function idsOf(members: readonly Member[]): string[] {
  return members.map(({ id }) => id);
}
