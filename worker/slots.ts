/**
 * The slots of a worker, shared by its queues in strict priority: a queue neither takes nor begins a task until all above it
 * were found empty a moment ago. What runs keeps its slot.
 *
 * They drain together: what is told to one of them concerns the process. None takes anything while Redis may hold of another
 * one that this worker has drained.
 */
export interface Lane {
  /** 0 goes first. */
  readonly rank: number;
  /** Tasks that were taken and not begun. */
  readonly held: number;
  /** There are tasks in its queue, or may be. */
  readonly curious: boolean;
  /** It runs a suspect, or is about to: nothing may run beside that. */
  readonly apart: boolean;
  /** Its queue's controller asks this worker to drain. */
  readonly told: boolean;
  /** Redis may hold of its queue that this worker has drained. */
  readonly saidDrained: boolean;
  /** It holds nothing, has settled all, and nothing is on its way to it. */
  readonly empty: boolean;
  /** When it last found out what its queue holds, by performance.now(). */
  readonly lookedAt: number;
  /** Begins what it holds while slots are free. */
  fill(): void;
  /** Looks into its queue as soon as it can. */
  look(): void;
  /** Something changed that it may have waited for. */
  nudge(): void;
  /** Tasks are about to run that may stand in the way of its next turns. */
  guard(): void;
}

export interface Slots {
  /** Slots that can be used: all but those of tasks that outlived their epoch. */
  readonly usable: number;
  readonly total: number;
  /** Those of tasks that run, and of tasks that outlived their epoch. */
  readonly busy: number;
  readonly free: number;
  /** Tasks that run or wait for a slot, of all queues. */
  readonly holding: number;
  /** The controller of a queue asks this worker to drain. */
  readonly told: boolean;
  /** Whether all queues but this one are empty, and stay so while the worker drains. */
  othersAreEmpty(lane: Lane): boolean;
  /** Whether Redis may hold of another queue that this worker has drained. */
  saidDrainedBeside(lane: Lane): boolean;
  /** A queue takes part until the function that it gets is called. */
  join(lane: Lane): () => void;
  occupy(): void;
  /** A task ended: what waits for a slot begins, the highest rank first. */
  release(): void;
  /** Tasks outlive the epoch that they belong to: each holds its slot until it has ended. */
  outlive(tasks: readonly Promise<unknown>[]): void;
  /** Whether `lane` may take and begin tasks now. If it is to wait for others, they are asked to look, and it is nudged. */
  mayTake(lane: Lane): boolean;
  /** `lane` has looked: those below may go on. So may `all` others, where it is about draining. */
  looked(lane: Lane, all: boolean): void;
  /** Tasks were taken: every lane guards its lease. */
  taken(): void;
}

/** For so long an empty queue is believed to be empty still, ms. */
const FRESH_MS = 5;

export function createSlots(concurrency: number): Slots {
  let lanes: readonly Lane[] = [];
  let running = 0;
  let outliving = 0;

  const nudge = (which: (lane: Lane) => boolean): void => {
    for (const lane of lanes) if (which(lane)) lane.nudge();
  };

  const saidDrainedBeside = (lane: Lane): boolean =>
    lanes.some((other) => other.saidDrained && other !== lane);

  function release(): void {
    running--;
    for (const lane of lanes) lane.fill();
    // the slot may be of one whose task has just ended, and that is not the first to want it
    if (lanes.length > 1 && running + outliving < concurrency) lanes.find((lane) => lane.curious)?.look();
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
      let holding = running;
      for (const lane of lanes) holding += lane.held;
      return holding;
    },
    get told() {
      return lanes.some((lane) => lane.told);
    },
    othersAreEmpty: (lane) => lanes.every((other) => other === lane || other.empty),
    saidDrainedBeside,
    join: (lane) => {
      lanes = [...lanes, lane].toSorted((a, b) => a.rank - b.rank);
      return () => {
        lanes = lanes.filter((other) => other !== lane);
        nudge(() => true);
      };
    },
    occupy: () => void running++,
    release,
    outlive: (tasks) => {
      for (const task of tasks) {
        running--;
        outliving++;
        void task.finally(() => {
          outliving--;
          nudge(() => true);
        });
      }
    },
    mayTake: (lane) => {
      // asked for each task; most workers have one queue
      if (lanes.length === 1) return true;
      if (lanes.some((other) => other.apart && other !== lane) || saidDrainedBeside(lane)) return false;
      if (lane.rank === 0) return true;
      const above = lanes.filter((other) => other.rank < lane.rank);
      const since = performance.now() - FRESH_MS;
      const stale = above.filter((other) => other.curious || other.lookedAt < since);
      for (const other of stale) other.look();
      return stale.length === 0 && above.every((other) => other.held === 0);
    },
    looked: (lane, all) => nudge((other) => other.rank > lane.rank || (all && other !== lane)),
    taken: () => {
      for (const lane of lanes) lane.guard();
    },
  };
}
