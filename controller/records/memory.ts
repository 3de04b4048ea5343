/**
 * What a pool has learned, on its way through Redis, so that the next leader goes on with it: a STRING beside the pool's
 * first queue. Text out of a memory, and a memory out of a text that an earlier controller may have left long ago. Pure.
 */
import type { Memory } from '../decide/decision.ts';
import { isMemory } from './memory-check.ts';
import { shiftMemory } from '../decide/clock-shift.ts';

/** Counts up when the form of a memory changes: another one is not read. */
const VERSION = 1;
/** A memory has about 10 KB; what is much longer is none of ours. */
export const MEMORY_BYTES = 65_536;
/** A longer gap than a change of leaders takes: what it needed is not known. */
const GAP_MS = 30_000;

/**
 * `undefined` when there is nothing worth keeping: only the target rule learns. `aheadMs`: by how much the wall clock is ahead
 * of the clock that the memory is on. In the text are moments since the epoch, which another controller understands.
 */
export function packMemory(memory: Memory, queues: readonly string[], aheadMs = 0): string | undefined {
  if (!memory.learned) return undefined;
  const text = JSON.stringify({ version: VERSION, queues, memory: shiftMemory(memory, aheadMs) });
  return text.length <= MEMORY_BYTES ? text : undefined;
}

/**
 * The memory to go on with at `now`, on whatever clock; `wall` is the same moment in ms since the epoch. `undefined` for a text
 * that does not parse, of another version, of other queues, whose counters are others, or with anything in it that is no memory.
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
  // replicas that were on their way came up unseen, so how long they took is not known
  const gone = { ...memory, learned: { ...memory.learned, starts: [], unfetchedSince: undefined } };
  const gap = wall - gone.learned.at;
  if (gap >= 0 && gap <= GAP_MS) return shiftMemory(gone, now - wall);
  // the window begins anew, as after a restart that remembers nothing
  const anew = { since: undefined, knownAt: undefined, needs: [] };
  // how long tasks ran in the gap is not known, nor, if a clock was set, how long it was
  const { at, curve } = gone.learned;
  const ahead = gap < 0;
  const learned = { ...gone.learned, inFlight: 0, curve: ahead ? [] : curve };
  // of a clock that was ahead only the distances between its times are believed
  return shiftMemory({ ...anew, learned }, now - (ahead ? at : wall));
}
