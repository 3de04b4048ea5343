/**
 * When a queue's next turn is due, how many tasks it asks for, and when what waits for a slot goes back. Pure; times are
 * arguments, by performance.now().
 */
import { isEnding, type EpochState, type EpochMode, type ReportedState } from './state.ts';
import { FULL_BATCH, MAX_HELD_BYTES } from './tasks/prefetch.ts';

/** Nothing that finished waits longer than this for company, ms. */
const LINGER_MS = 2;
/** What was taken ahead and not begun after this goes back, ms. */
const STALE_MS = 250;
/** A suspect that cannot begin for this long goes back, ms: another worker may be empty. */
const SUSPECT_STALE_MS = 1_000;
/** The longest pause between turns, which find tasks that fell due, orders to drain and cancelled tasks, ms. */
const TURN_MS = 1_000;
/** The same while draining, because the controller may change its mind, ms. */
const DRAINING_TURN_MS = 250;

export interface TurnSituation {
  readonly state: EpochState;
  readonly mode: EpochMode;
  readonly leaseMs: number;
  /** Nothing is expected to happen, and the lease is renewed without turns: see rest.ts. */
  readonly resting: boolean;
  /** What has finished and waits for a turn: how many, and since when. */
  readonly batch: { readonly size: number; readonly since: number | undefined };
  /** When outcomes that Redis refused are to be sent again. */
  readonly refusedDueAt: number;
  /** Tasks of this queue that were taken and not begun. */
  readonly held: number;
  /** Tasks to hold in all queues, running ones included. */
  readonly target: number;
  /** Of the worker. */
  readonly slots: { readonly free: number; readonly holding: number };
  /** Tasks that queues of equal rank have asked for: they count as held. */
  readonly asked: number;
  /** Whether suspects of a queue above go first. */
  readonly mustWait: () => boolean;
  /** Whether this queue and others hold tasks, and some of all these are suspects. */
  readonly suspectsBeside: () => boolean;
  /** Whether this queue may take tasks; asks the queues above where that is not known. */
  readonly mayTake: () => boolean;
  /** What the next turn would report. */
  readonly report: () => ReportedState;
}

/** How long until a turn is due, ms; 0 for now. */
export function turnIn(situation: TurnSituation, now: number): number {
  const { state, mode, batch, slots, asked, refusedDueAt } = situation;
  const { hints, reported, orders } = state;
  const ending = isEnding(mode);
  if (hints.turnNow || state.turns === 0 || refusedDueAt <= now) return 0;
  // the worker is empty now for the suspects that wait
  if (orders.apart && reported.elsewhere > 0 && state.underway !== 'taking' && slots.holding === 0) return 0;
  // if the worker is lost now, none of them is to be blamed as if it had been alone
  if (reported.elsewhere === 0 && situation.suspectsBeside()) return 0;
  if (batch.size > 0) {
    if (batch.size >= FULL_BATCH || ending || (slots.free > 0 && situation.held === 0)) return 0;
    return Math.max(0, (batch.since ?? now) + LINGER_MS - now);
  }
  const wanted =
    hints.poll && !ending && (slots.free > asked || slots.holding + asked <= situation.target / 2);
  // what cannot be run goes back immediately; a queue above is read first, which takes a moment
  if (hints.woken && (slots.free <= 0 || ending || situation.mustWait())) return 0;
  if ((hints.woken || wanted) && situation.mayTake()) return 0;
  if ((ending || reported.maybeDrained) && reported.state !== situation.report()) return 0;
  const longest = Math.min(ending ? DRAINING_TURN_MS : TURN_MS, situation.leaseMs / 3);
  const pause = situation.resting && !ending ? Infinity : longest;
  const dueAt = ending ? Infinity : hints.dueAt;
  return Math.max(0, Math.min(state.answeredAt + pause, dueAt, refusedDueAt) - now);
}

export interface HeldTasks {
  /** When the oldest task that waits for a slot was taken. */
  readonly since: number | undefined;
  /** Those that wait are suspects. */
  readonly suspects: boolean;
  /** Whether suspects of a queue above go first. */
  readonly mustWait: boolean;
  /** Tasks of the worker's other queues. */
  readonly beside: number;
}

/** How long until what was taken and not begun goes back, ms. */
export function staleIn({ since, suspects, mustWait, beside }: HeldTasks, now: number): number {
  if (since === undefined) return Infinity;
  // the queue above could wait for this one, and this one for that
  if (mustWait) return 0;
  // suspects may wait for one another, but not for what else runs here
  if (suspects && beside === 0) return Infinity;
  return Math.max(0, since + (suspects ? SUSPECT_STALE_MS : STALE_MS) - now);
}

export interface Room {
  readonly mode: EpochMode;
  /** Queues above go first. */
  readonly after: boolean;
  /** Too many refused outcomes wait for the worker to take more tasks. */
  readonly full: boolean;
  readonly usableSlots: number;
  readonly target: number;
  readonly holding: number;
  readonly held: number;
  readonly heldBytes: number;
}

/** How many tasks a turn asks for. */
export function wantedTasks({
  mode,
  after,
  full,
  usableSlots,
  target,
  holding,
  held,
  heldBytes,
}: Room): number {
  if (after || full || isEnding(mode)) return 0;
  if (held > 0 && (holding > target / 2 || heldBytes >= MAX_HELD_BYTES)) return 0;
  // half at a time where tasks are many: Redis prepares one half while the other one runs
  const most = Math.max(usableSlots, Math.ceil(target / 2));
  return Math.max(0, Math.min(target - holding, most));
}
