/**
 * What the queues of a worker hold and are waiting for: sets of the few that do anything, so that no question about the others
 * needs a pass over all queues.
 */
import type { Lane } from './lane.ts';

export interface LaneStates {
  /** How many tasks each queue holds that holds any. */
  readonly held: Map<Lane, number>;
  /** The sum of `held`. */
  holding: number;
  readonly drainOrdered: Set<Lane>;
  readonly maybeDrained: Set<Lane>;
  readonly apart: Set<Lane>;
  readonly taking: Set<Lane>;
}

export function newLaneStates(): LaneStates {
  return {
    held: new Map(),
    holding: 0,
    drainOrdered: new Set(),
    maybeDrained: new Set(),
    apart: new Set(),
    taking: new Set(),
  };
}

/** Reads the flags of a queue. Returns whether `apart` changed. */
export function updateFlags(states: LaneStates, lane: Lane): boolean {
  include(states.taking, lane, lane.taking);
  include(states.drainOrdered, lane, lane.drainOrdered);
  include(states.maybeDrained, lane, lane.maybeDrained);
  return include(states.apart, lane, lane.apart);
}

/** Returns whether the set changed. */
function include(set: Set<Lane>, lane: Lane, is: boolean): boolean {
  if (set.has(lane) === is) return false;
  if (is) set.add(lane);
  else set.delete(lane);
  return true;
}

export function setHeld(states: LaneStates, lane: Lane, count: number): void {
  states.holding += count - (states.held.get(lane) ?? 0);
  if (count > 0) states.held.set(lane, count);
  else states.held.delete(lane);
}

export function forgetLane(states: LaneStates, lane: Lane): void {
  const { drainOrdered, maybeDrained, apart, taking } = states;
  for (const set of [drainOrdered, maybeDrained, apart, taking]) set.delete(lane);
  setHeld(states, lane, 0);
}

/** How many tasks all queues but this one hold. */
export function heldBeside({ held, holding }: LaneStates, lane: Lane): number {
  return holding - (held.get(lane) ?? 0);
}

/** How many tasks less urgent queues have taken and not begun: they let this one go first, so they take up none of its room. */
export function waitingBelow({ held }: LaneStates, lane: Lane): number {
  let waiting = 0;
  for (const other of held.keys()) if (other.rank > lane.rank) waiting += other.held;
  return waiting;
}

/** Whether tasks of several queues are held, this one's among them, and suspects are among those. */
export function areSuspectsBeside({ held }: LaneStates, lane: Lane): boolean {
  if (held.size < 2 || !held.has(lane)) return false;
  for (const other of held.keys()) if (other.suspects) return true;
  return false;
}

/** Whether no other queue is in the set. */
export function isOnly(set: ReadonlySet<Lane>, lane: Lane): boolean {
  return set.size === (set.has(lane) ? 1 : 0);
}

/** Whether a queue above has suspects, which go first; or one of equal rank that has had them for longer. */
export function suspectsAbove({ apart }: LaneStates, lane: Lane): boolean {
  let before = true;
  for (const other of apart) {
    if (other === lane) before = false;
    else if (other.rank < lane.rank || (before && other.rank === lane.rank)) return true;
  }
  return false;
}

/**
 * Whether Redis knows that the suspects of the queues below have company, as far as there are any. With `announce`, those of which it
 * does not know report it.
 */
export function isCompanyKnown({ held }: LaneStates, lane: Lane, announce: boolean): boolean {
  let known = true;
  for (const other of held.keys()) {
    if (other.rank <= lane.rank || !other.solitary) continue;
    known = false;
    if (announce) other.announceCompany();
  }
  return known;
}

/** Estimate of how long until no queue holds a task, ms. */
export function longestUntilEmpty({ held }: LaneStates): number {
  let longest = 0;
  for (const lane of held.keys()) longest = Math.max(longest, lane.emptyInMs);
  return longest;
}
