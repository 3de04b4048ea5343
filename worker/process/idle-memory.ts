/**
 * Gives memory back to the system while the worker has nothing to do. V8 does that 8 s after a start, but after a burst of tasks it may wait
 * for ever: in V8 13, a process that has allocated nothing in C++ for 100 s, as most of Node's, counts as one that allocates fast.
 *
 * A start leaves 0.8 MB of code that never runs again. V8 drops what has not run since an earlier collection, so a worker that has had no
 * task yet soon collects a second time. What its first task needs of that is compiled then, in 1.5 ms.
 */
import { setFlagsFromString } from 'node:v8';
import { constants, createContext, runInContext, Script } from 'node:vm';
import { interval } from '../../runtime/timers.ts';

const TICK_MS = 1_000;
/** The worker is idle at a tick if no task runs, and the process computed for no longer than this since the one before, in all its threads. */
const IDLE_COMPUTES_MS = 20;
/** From one collection to the next, if the worker was not idle in between, ms. */
const PAUSE_MS = 30_000;
/** … and if it was: its turns leave garbage as well. */
const IDLE_PAUSE_MS = 300_000;
/** From the first collection to the one of code: longer than a turn takes to come round. */
const CODE_PAUSE_MS = 1_500;
/** A collection stops the worker for 1.5 ms for each megabyte that is in use: at most 60 ms. A larger heap is left to V8. */
const SMALL_HEAP_BYTES = 32 * 2 ** 20;

export interface Activity {
  /** Tasks that run. */
  readonly tasks: number;
  /** Processor time that the process has used, ms. */
  readonly computedMs: number;
}

/** `garbage-and-code`: with the code that has not run since the collection before. */
export type Collection = 'garbage' | 'garbage-and-code';

/** Begins; ends when it is disposed. */
export function giveMemoryBack(activity: () => Activity): Disposable {
  const due = idleCollections(activity());
  return interval(TICK_MS, () => {
    const collection = due(activity(), performance.now());
    if (collection) collectIfSmall(collection);
  }).unref();
}

/** Tells at each tick what is due. */
export function idleCollections(
  start: Activity,
): (activity: Activity, now: number) => Collection | undefined {
  let { computedMs } = start;
  let worked = false;
  let active = false;
  let last: { readonly at: number; readonly isFirst: boolean } | undefined;
  let justCollected = false;
  return ({ tasks, computedMs: total }, now) => {
    // what a collection computes is no activity
    const isIdle = tasks === 0 && (justCollected || total - computedMs <= IDLE_COMPUTES_MS);
    computedMs = total;
    justCollected = false;
    if (!isIdle) {
      active = true;
      // a handler that returns immediately is in no slot when this looks
      worked ||= tasks > 0 || last !== undefined;
      return undefined;
    }
    const withCode = last?.isFirst === true && !worked;
    const pauseMs = withCode ? CODE_PAUSE_MS : active ? PAUSE_MS : IDLE_PAUSE_MS;
    if (last && now - last.at < pauseMs) return undefined;
    last = { at: now, isFirst: !last };
    active = false;
    justCollected = true;
    return withCode ? 'garbage-and-code' : 'garbage';
  };
}

function collectIfSmall(collection: Collection): void {
  if (process.memoryUsage().heapUsed <= SMALL_HEAP_BYTES) collect(collection);
  // an object in C++, for which V8 sees that few are allocated; it then collects step by step
  else void new Script('0');
}

/** Returns the memory of what is collected to the system, which V8 does only if it is told that it has no other choice. */
export function collect(collection: Collection): void {
  // flags at the start would make V8 reject the compiled code of Node's own modules: 8 ms of each start
  setFlagsFromString('--expose-gc');
  // V8 makes two collections each time; code that has run since the last two is not yet that old at the second one
  if (collection === 'garbage-and-code') setFlagsFromString('--bytecode-old-age=2');
  const context = createContext(constants.DONT_CONTEXTIFY);
  // an engine without it must not end the worker
  const gc = runInContext('globalThis.gc', context) as NodeJS.GCFunction | undefined;
  gc?.({ type: 'major', flavor: 'last-resort', execution: 'sync' });
  if (collection === 'garbage-and-code') setFlagsFromString('--bytecode-old-age=6');
  setFlagsFromString('--no-expose-gc');
}
