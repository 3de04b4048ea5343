/**
 * Serializes the memory of a pool, so that the next leader can continue with it: a STRING stored beside the pool's first queue.
 * The text may have been written by an earlier controller, long ago. Pure.
 */
import type { Memory } from '../decide/decision.ts';
import { isMemory } from './memory-check.ts';
import { shiftMemory } from '../decide/clock-shift.ts';

/** Incremented when the format of a memory changes: other versions are not read. */
const VERSION = 1;
/** A memory has about 10 KB; a much longer text was not written by us. */
export const MEMORY_BYTES = 65_536;
/** A longer gap than a change of leaders takes: what the pool needed in it is unknown. */
const GAP_MS = 30_000;

/**
 * `undefined` if there is nothing worth storing: only the target rule learns. `aheadMs`: how far the wall clock is ahead of the
 * memory's clock. Times in the text are since the epoch, so that another controller can use them.
 */
export function packMemory(memory: Memory, queues: readonly string[], aheadMs = 0): string | undefined {
  if (!memory.learned) return undefined;
  const text = JSON.stringify({ version: VERSION, queues, memory: shiftMemory(memory, aheadMs) });
  return text.length <= MEMORY_BYTES ? text : undefined;
}

/**
 * The memory to continue with at `now`, by any clock; `wall` is the same moment in ms since the epoch. `undefined` for a text
 * that cannot be parsed, is of another version or of other queues (with other counters), or does not pass the checks of a
 * memory.
 */
export function unpackMemory(
  text: string,
  queues: readonly string[],
  now: number,
  wall = now,
): Memory | undefined {
  if (text.length > MEMORY_BYTES) return undefined;
  let kept: { version?: unknown; queues?: unknown; memory?: unknown } | null;
  try {
    kept = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (kept?.version !== VERSION || JSON.stringify(kept.queues) !== JSON.stringify(queues)) return undefined;
  const { memory } = kept;
  if (!isMemory(memory)) return undefined;
  // replicas that were starting became ready unobserved, so their start time is unknown
  const gone = { ...memory, learned: { ...memory.learned, starts: [], unfetchedSince: undefined } };
  const gap = wall - gone.learned.at;
  if (gap >= 0 && gap <= GAP_MS) return shiftMemory(gone, now - wall);
  // the window restarts, as after a restart without a memory
  const anew = { since: undefined, knownAt: undefined, needs: [] };
  // how long tasks ran in the gap is unknown, and so is its length if a clock was set
  const { at, curve } = gone.learned;
  const ahead = gap < 0;
  const learned = { ...gone.learned, inFlight: 0, curve: ahead ? [] : curve };
  // if the clock was ahead, only the differences between its times are used
  return shiftMemory({ ...anew, learned }, now - (ahead ? at : wall));
}
