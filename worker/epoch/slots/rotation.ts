/**
 * Whose turn it is among queues of equal rank, the partitions of one queue: they take one after the other, the one first that has not
 * taken for the longest time, and none is waited for while a turn of it is on its way, however long that takes.
 *
 * One keeps its turn for `QUANTUM_MS` while it has tasks, so that batches stay large and one round trip both settles and takes.
 * What the others have asked for and not received yet counts as held, so that they do not ask for the same slots together.
 */
import type { Lane } from './lane.ts';

/** One goes on taking for this long before it is the next one's turn, ms. */
const QUANTUM_MS = 100;
/** Tasks that were asked for longer ago are not counted any more, ms: their server may be away. */
const ASK_COUNTS_MS = 250;

export interface Rotation {
  /** Whether none of its equals goes before `lane`. */
  isNext(lane: Lane): boolean;
  /** The one of equal rank that goes first, beside `lane` itself. */
  nextBeside(lane: Lane): Lane | undefined;
  /** Tasks that its equals have asked for and not received yet. */
  asked(lane: Lane): number;
  /** A turn of `lane` is on its way that asks for so many tasks. */
  sent(lane: Lane, want: number): void;
  /** That turn is over. */
  ended(lane: Lane): void;
  forget(lane: Lane): void;
}

interface RotationState {
  readonly lanes: () => readonly Lane[];
  /** Monotonic, ms. */
  readonly now: () => number;
  /** When each took last, in turns of all. */
  readonly places: Map<Lane, number>;
  readonly asks: Map<Lane, { readonly want: number; readonly at: number }>;
  turns: number;
  /** Whose turn it is, and since when. */
  current: { readonly lane: Lane; readonly since: number } | undefined;
}

export function createRotation(
  lanes: () => readonly Lane[],
  now: () => number = () => performance.now(),
): Rotation {
  const state: RotationState = {
    lanes,
    now,
    places: new Map(),
    asks: new Map(),
    turns: 0,
    current: undefined,
  };
  return {
    isNext: (lane) => isNext(state, lane),
    nextBeside: (lane) => nextBeside(state, lane),
    asked: (lane) => asked(state, lane),
    sent: (lane, want) => {
      if (want === 0) return;
      if (state.current?.lane !== lane) {
        endTurn(state);
        state.current = { lane, since: now() };
      }
      state.asks.set(lane, { want, at: now() });
    },
    ended: (lane) => void state.asks.delete(lane),
    forget: (lane) => {
      if (state.current?.lane === lane) state.current = undefined;
      state.places.delete(lane);
      state.asks.delete(lane);
    },
  };
}

/** Puts the one whose turn it was behind all others. */
function endTurn(state: RotationState): void {
  if (state.current) state.places.set(state.current.lane, ++state.turns);
  state.current = undefined;
}

function endWhenOver(state: RotationState): void {
  if (state.current && state.now() - state.current.since >= QUANTUM_MS) endTurn(state);
}

/** Whether it would take now if it was its turn. */
const isWaiting = (lane: Lane): boolean => lane.wantsWork && !lane.turning && !lane.full;

function isNext(state: RotationState, lane: Lane): boolean {
  const first = firstOf(state, lane);
  if (!first || first === lane) return true;
  const [its, own] = [placeOf(state, first), placeOf(state, lane)];
  if (its !== own) return own < its;
  return state.lanes().indexOf(lane) < state.lanes().indexOf(first);
}

function nextBeside(state: RotationState, lane: Lane): Lane | undefined {
  const first = firstOf(state, lane);
  return first === lane ? undefined : first;
}

/** Of all that wait and have the rank of `lane`, the one that has not taken for the longest time. */
function firstOf(state: RotationState, lane: Lane): Lane | undefined {
  endWhenOver(state);
  let first: Lane | undefined;
  for (const other of state.lanes())
    if (
      other.rank === lane.rank &&
      isWaiting(other) &&
      (!first || placeOf(state, other) < placeOf(state, first))
    )
      first = other;
  return first;
}

const placeOf = ({ places }: RotationState, lane: Lane): number => places.get(lane) ?? 0;

function asked({ asks, now }: RotationState, lane: Lane): number {
  let sum = 0;
  for (const [other, { want, at }] of asks)
    if (other !== lane && other.rank === lane.rank && now() - at < ASK_COUNTS_MS) sum += want;
  return sum;
}
