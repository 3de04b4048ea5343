/**
 * `worker/epoch/slots/` takes one view per queue of a worker and returns which queue may take and begin tasks now. It knows
 * neither tasks nor Redis.
 *
 * The slots of a worker, shared by its queues in strict priority: a queue neither takes nor begins a task until all above it
 * were found empty since it asked. One request finds that out for all of them (queue/scripts/filled.lua), so that it costs the lowest
 * of any number of queues one round trip to be sure and one to take, however long that is. What runs keeps its slot.
 *
 * A decision goes through the queues once, and only those are woken by it that wait for it: what a task costs grows with the
 * number of queues by well under a microsecond for each.
 *
 * A suspect (turn.lua) runs beside nothing but its fellows and more urgent tasks: queues below wait, queues above go on once it
 * was reported to Redis that it has company. One queue at a time may be given suspects, and only while the others hold nothing,
 * so that no two wait for each other.
 *
 * They drain together: an order to one of them concerns the process. None takes anything while Redis may hold of another
 * one that this worker has drained.
 */
import type { Lane } from './lane.ts';
import { createPermits, type FindFilled } from './permits.ts';

export interface WorkerSlots {
  /** Slots that can be used: all but those of tasks that outlived their epoch. */
  readonly usable: number;
  readonly total: number;
  /** Those of tasks that run, and of tasks that outlived their epoch. */
  readonly busy: number;
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
  /** Tasks outlive the epoch that they belong to: each holds its slot until it has ended. */
  outlive(tasks: readonly Promise<unknown>[]): void;
  /** How many tasks all queues but this one hold. */
  beside(lane: Lane): number;
  /** Whether this queue may be given suspects: the others hold nothing, and nothing is on its way to them. */
  mayTakeSuspects(lane: Lane): boolean;
  /** Estimate of how long until the worker holds nothing, ms. */
  readonly emptyInMs: number;
  /** Whether `lane` may take and begin tasks now. If it has to wait for others, they are read, and it is woken. */
  mayTake(lane: Lane): boolean;
  /** Whether it must wait until the suspects of a queue above have had their turn. */
  mustWait(lane: Lane): boolean;
  /** The same as `mayTake`, without reading others. */
  isFree(lane: Lane): boolean;
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

export function createWorkerSlots(concurrency: number, findFilled: FindFilled): WorkerSlots {
  let lanes: readonly Lane[] = [];
  let running = 0;
  let outliving = 0;
  // few at any time, so that no pass over all queues is needed
  const drainOrdered = new Set<Lane>();
  const drained = new Set<Lane>();
  const apart = new Set<Lane>();
  const taking = new Set<Lane>();
  // how many tasks a queue holds, of those that hold any
  const held = new Map<Lane, number>();
  let holding = 0;
  // those that asked whether they may take, and may not yet
  const denied = new Set<Lane>();

  function wakeAll(but?: Lane): void {
    denied.clear();
    for (const lane of lanes) if (lane !== but) lane.wake();
  }

  /** Those that wait for a queue of this rank, or for the worker to be empty. */
  function wakeWaiting(rank: number, but?: Lane): void {
    for (const lane of apart) if (lane !== but) lane.wake();
    for (const lane of denied) {
      if (lane === but || lane.rank <= rank) continue;
      denied.delete(lane);
      lane.wake();
    }
  }

  const permits = createPermits(() => lanes, findFilled, wakeWaiting);

  const isOnly = (set: ReadonlySet<Lane>, lane: Lane): boolean => set.size === (set.has(lane) ? 1 : 0);
  const othersMaybeDrained = (lane: Lane): boolean => !isOnly(drained, lane);

  /** Keeps a set in step with the state of a queue. Returns whether it changed. */
  function note(lane: Lane, set: Set<Lane>, is: boolean): boolean {
    if (set.has(lane) === is) return false;
    if (is) set.add(lane);
    else set.delete(lane);
    return true;
  }

  function release(): void {
    running--;
    for (const lane of lanes) lane.fill();
    if (lanes.length === 1) return;
    for (const lane of apart) lane.wake();
    // the slot may be of one whose task has just ended, and that is not the first to want it
    if (running + outliving < concurrency) lanes.find((lane) => lane.wantsWork)?.take();
  }

  const beside = (lane: Lane): number => holding - (held.get(lane) ?? 0);

  function hold(lane: Lane, count: number): void {
    holding += count - (held.get(lane) ?? 0);
    if (count > 0) held.set(lane, count);
    else held.delete(lane);
  }

  function mustWait(lane: Lane): boolean {
    for (const other of apart) if (other.rank < lane.rank) return true;
    return false;
  }

  /** Whether suspects of a queue below run, whose company is not known to Redis yet. */
  function isAnnounced(lane: Lane, asks: boolean): boolean {
    let announced = true;
    for (const other of held.keys()) {
      if (other.rank <= lane.rank || !other.solitary) continue;
      announced = false;
      if (asks) other.announceCompany();
    }
    return announced;
  }

  function isFree(lane: Lane, asks: boolean): boolean {
    // called for each task; most workers have one queue
    if (lanes.length === 1) return true;
    const free =
      !othersMaybeDrained(lane) && !mustWait(lane) && isAnnounced(lane, asks) && permits.mayPass(lane, asks);
    if (free) denied.delete(lane);
    else if (asks) denied.add(lane);
    return free;
  }

  return {
    get usable() {
      return concurrency - outliving;
    },
    total: concurrency,
    get busy() {
      return running + outliving;
    },
    get free() {
      return concurrency - running - outliving;
    },
    get holding() {
      return holding;
    },
    get drainOrdered() {
      return drainOrdered.size > 0;
    },
    othersAreEmpty: (lane) => lanes.every((other) => other === lane || other.empty),
    othersMaybeDrained,
    join: (lane) => {
      lanes = [...lanes, lane].toSorted((a, b) => a.rank - b.rank);
      return () => {
        lanes = lanes.filter((other) => other !== lane);
        for (const set of [drainOrdered, drained, apart, taking, denied]) set.delete(lane);
        hold(lane, 0);
        wakeAll();
      };
    },
    holds: (lane) => hold(lane, lane.running + lane.held),
    changed: (lane) => {
      note(lane, taking, lane.taking);
      note(lane, drainOrdered, lane.drainOrdered);
      note(lane, drained, lane.maybeDrained);
      if (note(lane, apart, lane.apart)) wakeAll(lane);
    },
    occupy: () => void running++,
    release,
    outlive: (tasks) => {
      for (const task of tasks) {
        running--;
        outliving++;
        void task.finally(() => {
          outliving--;
          wakeAll();
        });
      }
    },
    beside,
    mustWait,
    mayTakeSuspects: (lane) => beside(lane) === 0 && isOnly(taking, lane),
    get emptyInMs() {
      let longest = 0;
      for (const lane of held.keys()) longest = Math.max(longest, lane.emptyInMs);
      return longest;
    },
    mayTake: (lane) => isFree(lane, true),
    isFree: (lane) => isFree(lane, false),
    took: (lane) => permits.took(lane),
    turned: (lane, all, inVain) => {
      if (lanes.length === 1) return;
      if (all) wakeAll(lane);
      else wakeWaiting(lane.rank, lane);
      if (inVain) permits.doubt();
    },
    guardLeases: () => {
      for (const lane of lanes) lane.guardLease();
    },
  };
}
