/**
 * Gives memory back to the system while the worker has nothing to do. V8 does that 8 s after a start, but after a burst of tasks it may wait
 * for ever: in V8 13, a process that has allocated nothing in C++ for 100 s, as most of Node's, counts as one that allocates fast.
 */
import { setFlagsFromString } from 'node:v8';
import { constants, createContext, runInContext, Script } from 'node:vm';
import { interval } from '../../runtime/timers.ts';

const TICK_MS = 1_000;
/** A tick is quiet if no task runs and the process, with all its threads, has computed for no longer than this since the one before. */
const QUIET_MS = 20;
/** The worker is idle after as many quiet ticks. */
const IDLE_TICKS = 2;
/** From one collection to the next, if the worker has done something in between, ms. */
const PAUSE_MS = 30_000;
/** … and if it has not: its turns leave garbage as well. */
const IDLE_PAUSE_MS = 300_000;
/** A collection stops the worker for 1.5 ms for each megabyte that is in use: at most 60 ms. A larger heap is left to V8. */
const SMALL_HEAP_BYTES = 32 * 2 ** 20;

export interface Activity {
  /** Tasks that run. */
  readonly tasks: number;
  /** Processor time that the process has used, ms. */
  readonly computedMs: number;
}

/** Begins; ends when it is disposed. */
export function giveMemoryBack(activity: () => Activity): Disposable {
  const due = idleCollections(activity());
  return interval(TICK_MS, () => {
    if (due(activity(), performance.now())) collect();
  }).unref();
}

/** Tells at each tick whether to collect now. */
export function idleCollections(start: Activity): (activity: Activity, now: number) => boolean {
  let { computedMs } = start;
  let quietTicks = 0;
  let active = true;
  let collectedAt = -Infinity;
  let justCollected = false;
  return (activity, now) => {
    // what a collection takes is no activity
    const isQuiet = activity.tasks === 0 && (justCollected || activity.computedMs - computedMs <= QUIET_MS);
    ({ computedMs } = activity);
    justCollected = false;
    if (!isQuiet) {
      quietTicks = 0;
      active = true;
      return false;
    }
    quietTicks++;
    if (quietTicks < IDLE_TICKS || now - collectedAt < (active ? PAUSE_MS : IDLE_PAUSE_MS)) return false;
    collectedAt = now;
    active = false;
    justCollected = true;
    return true;
  };
}

function collect(): void {
  if (process.memoryUsage().heapUsed <= SMALL_HEAP_BYTES) return collectGarbage();
  // an object in C++, for which V8 sees that few are allocated; it then collects step by step
  void new Script('0');
}

/** Collects all garbage and returns its memory to the system, which V8 does only if it is told that it has no other choice. */
export function collectGarbage(): void {
  // a flag at the start would make V8 reject the compiled code of Node's own modules: 8 ms of each start
  setFlagsFromString('--expose-gc');
  const gc = runInContext('gc', createContext(constants.DONT_CONTEXTIFY)) as NodeJS.GCFunction;
  setFlagsFromString('--no-expose-gc');
  gc({ type: 'major', flavor: 'last-resort', execution: 'sync' });
}
