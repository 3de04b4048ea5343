/**
 * Which members of a pool work, and which are parked. Pure.
 *
 * As many as the decision requires work; those that hold tasks come first, then those that are up, and of these the ones that have
 * their full size. A member that holds a task is never parked, nor left at the parked size. While there is work, the others are
 * marked in Redis, so that they take nothing; without work the parked ones are not, so that the first task begins in one of them at once.
 */
import type { WorkerLoad, WorkerLoads } from '../../../queue/workers/worker-load.ts';
import type { Member } from '../target.ts';
import { compareRanks } from '../victims.ts';

export interface ParkingInput {
  /** Without those that are being removed. */
  readonly members: readonly Member[];
  readonly loads: WorkerLoads;
  /** Members that are to work. */
  readonly desired: number;
}

export interface ParkingPlan {
  /** To get their full size. */
  readonly wake: readonly Member[];
  /** To take no tasks. Those of full size are parked once they have drained. */
  readonly marked: readonly Member[];
}

export function planParking({ members, loads, desired }: ParkingInput): ParkingPlan {
  // what is stuck works beside the others, as long as anything is to work
  const candidates = desired > 0 ? members.filter(({ size }) => size !== 'stuck') : members;
  const ranked = candidates.toSorted(
    (a, b) => compareRanks(rankOf(a, loads), rankOf(b, loads)) || (a.id < b.id ? -1 : 1),
  );
  const spare = ranked.slice(0, Math.max(0, ranked.length - desired));
  const atWork = ranked.slice(spare.length);
  const busy = (member: Member): boolean => (loads.get(member.id)?.inFlight ?? 0) > 0;
  return {
    wake: [...atWork, ...spare.filter(busy)].filter(({ size }) => size === 'parked'),
    marked: desired > 0 ? spare : spare.filter((member) => member.size !== 'parked' && !busy(member)),
  };
}

/** Members of `marked` that hold nothing and will get nothing, by the loads after they were marked. */
export function drainedOf(marked: readonly Member[], loads: WorkerLoads): readonly Member[] {
  return marked.filter(({ id, size }) => size !== 'parked' && isDrained(loads.get(id)));
}

export function isDrained(load: WorkerLoad | undefined): boolean {
  return load?.state === 'drained' && load.inFlight === 0;
}

/** The lower, the sooner it is spared: idle ones before busy ones, and of those the ones that are not up, then parked ones. */
function rankOf({ id, ready, size, created }: Member, loads: WorkerLoads): readonly number[] {
  const { state = '', inFlight = 0 } = loads.get(id) ?? {};
  const isDraining = state === 'draining' || state === 'drained';
  return [
    inFlight > 0 ? 1 : 0,
    ready && loads.has(id) ? 1 : 0,
    size === 'parked' ? 0 : 1,
    isDraining ? 0 : 1,
    inFlight,
    -created,
  ];
}
