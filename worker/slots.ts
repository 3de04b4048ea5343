/**
 * The slots of a worker, shared by its queues in strict priority: a queue neither takes nor begins a task until all above it
 * were found empty since it asked. They are asked together, so that it costs the lowest of any number of queues one round
 * trip to be sure and one to take, however long that is. What runs keeps its slot.
 *
 * A suspect (turn.lua) runs beside nothing but its fellows and what is more urgent: queues below wait, queues above go on,
 * once Redis knows that it has company. One queue at a time may be given suspects, and only while the others hold nothing, so
 * that no two wait for each other.
 *
 * They drain together: what is told to one of them concerns the process. None takes anything while Redis may hold of another
 * one that this worker has drained.
 */
export interface Lane {
  /** 0 goes first. */
  readonly rank: number;
  /** Tasks that were taken and not begun. */
  readonly held: number;
  readonly running: number;
  /** There are tasks in its queue, or may be. */
  readonly curious: boolean;
  /** It holds suspects, or takes nothing until the worker is empty for some: the queues below wait. */
  readonly apart: boolean;
  /** Suspects of its queue run, and Redis does not know yet that anything runs beside them. */
  readonly solitary: boolean;
  /** A turn is on its way that may bring tasks. */
  readonly taking: boolean;
  /** How long until all that it holds has ended, as far as it can tell, ms. */
  readonly emptyInMs: number;
  /** The window in which what was found empty is believed to be so for tasks that were taken meanwhile, ms. */
  readonly windowMs: number;
  /** Its queue's controller asks this worker to drain. */
  readonly told: boolean;
  /** Redis may hold of its queue that this worker has drained. */
  readonly saidDrained: boolean;
  /** It holds nothing, has settled all, and nothing is on its way to it. */
  readonly empty: boolean;
  /** When it last found out what its queue holds, by performance.now(); infinite while nothing can be taken from it. */
  readonly lookedAt: number;
  /** When it asked Redis for that. */
  readonly lookSentAt: number;
  /** Begins what it holds while slots are free. */
  fill(): void;
  /** Takes from its queue as soon as it may. */
  ask(): void;
  /** Finds out what its queue holds, now, whether or not it may take from it. */
  look(): void;
  /** Tells Redis that something is about to run beside its suspects. */
  accompany(): void;
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
  /** How many tasks all queues but this one hold. */
  beside(lane: Lane): number;
  /** Whether this queue may be given suspects: the others hold nothing, and nothing is on its way to them. */
  mayTakeSuspects(lane: Lane): boolean;
  /** How long until the worker holds nothing, as far as it can tell, ms. */
  readonly emptyInMs: number;
  /** Whether `lane` may take and begin tasks now. If it is to wait for others, they are asked to look, and it is nudged. */
  mayTake(lane: Lane): boolean;
  /** Whether it must wait until the suspects of a queue above have had their turn. */
  mustWait(lane: Lane): boolean;
  /** The same as `mayTake`, and nobody is asked. */
  isFree(lane: Lane): boolean;
  /** Tasks have come of a turn that `lane` was free to make: it may begin some of them. */
  took(lane: Lane): void;
  /** `lane` has looked: those below may go on. So may `all` others, where it is about draining or about suspects. */
  looked(lane: Lane, all: boolean): void;
  /** Tasks were taken: every lane guards its lease. */
  taken(): void;
}

/** For so long an empty queue is believed to be empty still without another look, ms. */
export const FRESH_MS = 5;

/** What a queue knows of those above it. */
interface Permit {
  /** Since when it waits for their looks. */
  askedAt: number | undefined;
  /** Until then it may go on without. */
  until: number;
}

export function createSlots(concurrency: number): Slots {
  let lanes: readonly Lane[] = [];
  let running = 0;
  let outliving = 0;
  const permits = new WeakMap<Lane, Permit>();

  const permitOf = (lane: Lane): Permit => {
    const known = permits.get(lane) ?? { askedAt: undefined, until: -Infinity };
    permits.set(lane, known);
    return known;
  };

  const nudge = (which: (lane: Lane) => boolean): void => {
    for (const lane of lanes) if (which(lane)) lane.nudge();
  };

  const saidDrainedBeside = (lane: Lane): boolean =>
    lanes.some((other) => other.saidDrained && other !== lane);

  function release(): void {
    running--;
    for (const lane of lanes) lane.fill();
    if (lanes.length > 1) nudge((lane) => lane.apart);
    // the slot may be of one whose task has just ended, and that is not the first to want it
    if (lanes.length > 1 && running + outliving < concurrency) lanes.find((lane) => lane.curious)?.ask();
  }

  const beside = (lane: Lane): number =>
    lanes.reduce((sum, other) => (other === lane ? sum : sum + other.running + other.held), 0);

  const mustWait = (lane: Lane): boolean => lanes.some((other) => other.apart && other.rank < lane.rank);

  /** Whether suspects of a queue below run, of which it is not known yet that they have company. */
  function isAnnounced(lane: Lane, asks: boolean): boolean {
    const below = lanes.filter((other) => other.rank > lane.rank && other.solitary);
    if (asks) for (const other of below) other.accompany();
    return below.length === 0;
  }

  function isFree(lane: Lane, asks: boolean): boolean {
    // asked for each task; most workers have one queue
    if (lanes.length === 1) return true;
    if (saidDrainedBeside(lane) || mustWait(lane) || !isAnnounced(lane, asks)) return false;
    if (lane.rank === 0) return true;
    const above = lanes.filter((other) => other.rank < lane.rank);
    const permit = permitOf(lane);
    if (above.some((other) => other.curious || other.held > 0)) {
      // what was found before says nothing when these are through
      permit.askedAt = undefined;
      if (asks) for (const other of above) if (other.curious) other.ask();
      return false;
    }
    const now = performance.now();
    if (now < permit.until || above.every((other) => other.lookedAt >= now - FRESH_MS)) return true;
    const { askedAt } = permit;
    const unseen = above.filter((other) => askedAt === undefined || other.lookSentAt < askedAt);
    if (askedAt !== undefined && unseen.length === 0) {
      permit.until = now + FRESH_MS;
      permit.askedAt = undefined;
      return true;
    }
    if (asks && askedAt === undefined) {
      permit.askedAt = now;
      for (const other of unseen) other.look();
    }
    return false;
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
    beside,
    mustWait,
    mayTakeSuspects: (lane) => beside(lane) === 0 && !lanes.some((other) => other.taking && other !== lane),
    get emptyInMs() {
      return Math.max(...lanes.map((lane) => lane.emptyInMs));
    },
    mayTake: (lane) => isFree(lane, true),
    isFree: (lane) => isFree(lane, false),
    took: (lane) => {
      permitOf(lane).until = performance.now() + lane.windowMs;
    },
    looked: (lane, all) => nudge((other) => other !== lane && (all || other.apart || other.rank > lane.rank)),
    taken: () => {
      for (const lane of lanes) lane.guard();
    },
  };
}
