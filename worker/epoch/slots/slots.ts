/**
 * `worker/epoch/slots/` takes one view per queue of a worker and returns which queue may take and begin tasks now. It knows
 * neither tasks nor Redis.
 *
 * The slots of a worker, shared by its queues in strict priority: a queue neither takes nor begins a task until all above it
 * were found empty since it asked. One request finds that out for all of them (queue/scripts/filled.lua), so that it costs the lowest
 * of any number of queues one round trip to be sure and one to take, however long that is. What runs keeps its slot.
 *
 * Partitions of one queue have equal rank (rotation.ts): none waits for the others to be empty, they take in turns.
 *
 * A decision goes through the queues once, and only those are woken by it that wait for it: what a task costs grows with the
 * number of queues by well under a microsecond for each.
 *
 * A suspect (suspects.lua) runs beside nothing but its fellows and more urgent tasks: queues below wait, queues above go on once it
 * was reported to Redis that it has company. One queue at a time may be given suspects, and only while the others hold nothing,
 * so that no two wait for each other.
 *
 * They drain together: an order to one of them concerns the process. None takes anything while Redis may hold of another
 * one that this worker has drained.
 */
import type { Lane } from './lane.ts';
import {
  areSuspectsBeside,
  forgetLane,
  heldBeside,
  isCompanyKnown,
  isOnly,
  longestUntilEmpty,
  newLaneStates,
  setHeld,
  suspectsAbove,
  updateFlags,
  waitingBelow,
  type LaneStates,
} from './lane-states.ts';
import { createPermits, type FindFilled, type Permits } from './permits.ts';
import { createRotation, type Rotation } from './rotation.ts';

/** Notes when tasks begin and end, where the number of slots depends on it. */
export interface SlotMeter {
  begin(now: number): object;
  end(task: object, now: number, ending: 'done' | 'failed' | 'ignored'): void;
}

export interface WorkerSlots {
  readonly meter: SlotMeter | undefined;
  /** Sets their number. Tasks that run keep theirs: where there are fewer slots now, none begins until enough of them have ended. */
  resize(total: number): void;
  /** Slots that can be used: all but those of tasks that outlived their epoch. */
  readonly usable: number;
  readonly total: number;
  /** Those of tasks that run, and of tasks that outlived their epoch. */
  readonly busy: number;
  /** Below 0 while more tasks run than there are slots now. */
  readonly free: number;
  /** Tasks that run or wait for a slot, of all queues. */
  readonly holding: number;
  /** The controller of one of its queues asks this worker to drain. */
  readonly drainOrdered: boolean;
  /** Whether all queues but this one are empty, and stay so while the worker drains. */
  othersAreEmpty(lane: Lane): boolean;
  /** Whether Redis may hold of another queue that this worker has drained. */
  othersMaybeDrained(lane: Lane): boolean;
  /** Adds a queue, until the returned function is called. */
  join(lane: Lane): () => void;
  /** What this queue holds has changed. */
  holds(lane: Lane): void;
  /** `drainOrdered`, `maybeDrained`, `apart` or `taking` of this queue may have changed. */
  changed(lane: Lane): void;
  occupy(): void;
  /** A task ended: what waits for a slot begins, the highest rank first. */
  release(): void;
  /** Tasks that end while `run` runs are followed by others once it has returned, all at once. */
  together(this: void, run: () => void): void;
  /** Tasks outlive the epoch that they belong to: each holds its slot until it has ended. */
  outlive(tasks: readonly Promise<unknown>[]): void;
  /** How many tasks all queues but this one hold. */
  beside(lane: Lane): number;
  /** How many tasks less urgent queues hold that have not begun. */
  waitingBelow(lane: Lane): number;
  /** Whether this queue and others hold tasks, and some of all these are suspects: each has to be known to have company. */
  suspectsBeside(lane: Lane): boolean;
  /** Whether this queue may be given suspects: the others hold nothing, and nothing is on its way to them. */
  mayTakeSuspects(lane: Lane): boolean;
  /** Estimate of how long until the worker holds nothing, ms. */
  readonly emptyInMs: number;
  /** Whether `lane` may take and begin tasks now. If it has to wait for others, they are read, and it is woken. */
  mayTake(lane: Lane): boolean;
  /** Whether it may begin what it has taken. Otherwise the same as `mayTake`. */
  mayBegin(lane: Lane): boolean;
  /** Whether it must wait until the suspects of a queue above have had their turn. */
  mustWait(lane: Lane): boolean;
  /** The same as `mayTake`, without reading others. */
  isFree(lane: Lane): boolean;
  /** Tasks that queues of equal rank have asked for and not received yet: they count as held. */
  asked(lane: Lane): number;
  /** A turn of `lane` is on its way that asks for so many tasks. */
  sent(lane: Lane, want: number): void;
  /** Tasks have come of a turn that `lane` was free to make: it may begin some of them. */
  took(lane: Lane): void;
  /**
   * `lane` has made a turn: those below may go on. `all`: so may all others, after a turn about draining or suspects. `inVain`: tasks
   * were expected, and there were none.
   */
  turned(lane: Lane, all: boolean, inVain: boolean): void;
  /** Tasks were taken: every lane guards its lease. */
  guardLeases(): void;
}

interface SlotsState {
  total: number;
  /** The most urgent first. */
  lanes: readonly Lane[];
  /** Some of them are of equal rank. */
  rotates: boolean;
  readonly rotation: Rotation;
  running: number;
  /** Tasks that outlived their epoch. */
  outliving: number;
  /** Several tasks end together; `freed`: the first of them has. */
  ending: 'one by one' | 'together' | 'freed';
  readonly states: LaneStates;
  /** Queues that asked whether they may take, and may not yet. */
  readonly denied: Set<Lane>;
}

export function createWorkerSlots(
  concurrency: number,
  findFilled: FindFilled,
  meter?: SlotMeter,
): WorkerSlots {
  const states = newLaneStates();
  const rotation = createRotation(() => state.lanes);
  const own = { total: concurrency, rotates: false, rotation, running: 0, outliving: 0 };
  const state: SlotsState = { lanes: [], ...own, ending: 'one by one', states, denied: new Set() };
  const permits = createPermits(
    () => state.lanes,
    findFilled,
    (rank) => wakeWaiting(state, rank),
  );
  return {
    meter,
    get usable() {
      return state.total - state.outliving;
    },
    get total() {
      return state.total;
    },
    resize: (total) => {
      const more = total > state.total;
      state.total = total;
      if (!more) return;
      fillAll(state);
      wakeAll(state);
    },
    get busy() {
      return state.running + state.outliving;
    },
    get free() {
      return freeOf(state);
    },
    get holding() {
      return states.holding;
    },
    get drainOrdered() {
      return states.drainOrdered.size > 0;
    },
    get emptyInMs() {
      return longestUntilEmpty(states);
    },
    othersAreEmpty: (lane) => state.lanes.every((other) => other === lane || other.empty),
    othersMaybeDrained: (lane) => !isOnly(states.maybeDrained, lane),
    join: (lane) => join(state, lane),
    holds: (lane) => {
      setHeld(states, lane, lane.running + lane.held);
      // what the others hold is to be known to have company
      if (areSuspectsBeside(states, lane) && lane.suspects) wakeHolding(states, lane);
    },
    changed: (lane) => {
      if (updateFlags(states, lane)) wakeAll(state, lane);
    },
    occupy: () => void state.running++,
    release: () => release(state),
    together: (run) => together(state, run),
    outlive: (tasks) => outlive(state, tasks),
    beside: (lane) => heldBeside(states, lane),
    waitingBelow: (lane) => waitingBelow(states, lane),
    suspectsBeside: (lane) => areSuspectsBeside(states, lane),
    mayTakeSuspects: (lane) => heldBeside(states, lane) === 0 && isOnly(states.taking, lane),
    mustWait: (lane) => suspectsAbove(states, lane),
    mayBegin: (lane) => isFree(state, permits, lane, true),
    mayTake: (lane) => isFree(state, permits, lane, true) && isNext(state, lane, true),
    isFree: (lane) => isFree(state, permits, lane, false) && isNext(state, lane, false),
    asked: (lane) => (state.rotates ? rotation.asked(lane) : 0),
    sent: (lane, want) => {
      if (!state.rotates) return;
      rotation.sent(lane, want);
      rotation.nextBeside(lane)?.take();
    },
    took: (lane) => permits.took(lane),
    turned: (lane, all, inVain) => {
      if (state.lanes.length === 1) return;
      rotation.ended(lane);
      if (all) wakeAll(state, lane);
      else wakeWaiting(state, lane.rank, lane);
      if (state.rotates) rotation.nextBeside(lane)?.take();
      else if (inVain) permits.doubt();
    },
    guardLeases: () => {
      for (const lane of state.lanes) lane.guardLease();
    },
  };
}

/** Below 0 where there are fewer slots than there were. */
function freeOf({ total, running, outliving }: SlotsState): number {
  return total - running - outliving;
}

/** Adds a queue. The returned function removes it. */
function join(state: SlotsState, lane: Lane): () => void {
  const place = (lanes: readonly Lane[]): void => {
    state.lanes = lanes;
    state.rotates = new Set(lanes.map(({ rank }) => rank)).size < lanes.length;
  };
  place([...state.lanes, lane].toSorted((a, b) => a.rank - b.rank));
  return () => {
    place(state.lanes.filter((other) => other !== lane));
    state.rotation.forget(lane);
    forgetLane(state.states, lane);
    wakeAll(state);
  };
}

/** `asks`: what it has to wait for is read, and it is woken. */
function isFree(state: SlotsState, permits: Permits, lane: Lane, asks: boolean): boolean {
  // called for each task; most workers have one queue
  if (state.lanes.length === 1) return true;
  const { states, denied } = state;
  const free =
    isOnly(states.maybeDrained, lane) &&
    !suspectsAbove(states, lane) &&
    isCompanyKnown(states, lane, asks) &&
    permits.mayPass(lane, asks);
  if (free) denied.delete(lane);
  else if (asks) denied.add(lane);
  return free;
}

/** Whether it is its turn among its equals. `asks`: otherwise it is woken when that may be. */
function isNext({ rotates, rotation, denied }: SlotsState, lane: Lane, asks: boolean): boolean {
  if (!rotates || rotation.isNext(lane)) return true;
  if (asks) denied.add(lane);
  if (asks) rotation.nextBeside(lane)?.take();
  return false;
}

/** Begins what waits: the most urgent first, of equal ones what was taken first. */
function fillAll({ lanes, rotates }: SlotsState): void {
  if (!rotates) return lanes.forEach((lane) => lane.fill());
  const since = (lane: Lane): number => lane.heldSince ?? Infinity;
  const waiting = lanes.filter((lane) => lane.held > 0);
  if (waiting.length > 1) waiting.sort((a, b) => a.rank - b.rank || since(a) - since(b));
  for (const lane of waiting) lane.fill();
}

function together(state: SlotsState, run: () => void): void {
  if (state.ending !== 'one by one') return run();
  state.ending = 'together';
  try {
    run();
  } finally {
    const freed = (state.ending as SlotsState['ending']) === 'freed';
    state.ending = 'one by one';
    if (freed) refill(state);
  }
}

function release(state: SlotsState): void {
  state.running--;
  if (state.ending === 'one by one') refill(state);
  else state.ending = 'freed';
}

function refill(state: SlotsState): void {
  fillAll(state);
  if (state.lanes.length === 1) return;
  for (const lane of state.states.apart) lane.wake();
  // the slot may be of one whose task has just ended, and that is not the first to want it
  if (freeOf(state) <= 0) return;
  const first = state.lanes.find((lane) => lane.wantsWork);
  if (first) nextOf(state, first).take();
}

/** Of this one and its equals, the one whose turn it is. */
function nextOf({ rotates, rotation }: SlotsState, lane: Lane): Lane {
  if (!rotates || rotation.isNext(lane)) return lane;
  return rotation.nextBeside(lane) ?? lane;
}

function outlive(state: SlotsState, tasks: readonly Promise<unknown>[]): void {
  for (const task of tasks) {
    state.running--;
    state.outliving++;
    void task.finally(() => {
      state.outliving--;
      wakeAll(state);
    });
  }
}

function wakeAll({ lanes, denied }: SlotsState, but?: Lane): void {
  denied.clear();
  for (const lane of lanes) if (lane !== but) lane.wake();
}

function wakeHolding({ held }: LaneStates, but: Lane): void {
  for (const other of held.keys()) if (other !== but) other.wake();
}

/** Wakes the queues that wait for one of this rank, equal ones included, or for the worker to be empty. */
function wakeWaiting({ states, denied }: SlotsState, rank: number, but?: Lane): void {
  for (const lane of states.apart) if (lane !== but) lane.wake();
  for (const lane of denied) {
    if (lane === but || lane.rank < rank) continue;
    denied.delete(lane);
    lane.wake();
  }
}
