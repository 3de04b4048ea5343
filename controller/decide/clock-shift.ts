/**
 * Moves a memory to another clock. All times in it are moments, so it is correct again once each is shifted by the difference
 * between the two clocks. Pure.
 */
import type { Memory } from './decision.ts';
import type { Learned } from './target-wait/learned.ts';
import type { Replay } from './target-wait/replay-state.ts';

/** Every moment of `memory` that durations are reckoned from, `byMs` later. Hours of the day (target-wait/forecast.ts) stay. */
export function shiftMemory(memory: Memory, byMs: number): Memory {
  if (byMs === 0) return memory;
  const { since, knownAt, needs, changes, starting, learned } = memory;
  return {
    ...memory,
    since: later(since, byMs),
    knownAt: later(knownAt, byMs),
    needs: allLater(needs, byMs),
    ...(changes && { changes: allLater(changes, byMs) }),
    ...(starting && { starting: { ...starting, starts: allLater(starting.starts, byMs) } }),
    ...(learned && { learned: shiftLearned(learned, byMs) }),
  };
}

/**
 * The memory at `now`: if the clock was set back, the memory is shifted along, as if no time had passed since the last sample. A
 * clock that was set forward cannot be distinguished from a long time without a sample.
 */
export function notAhead(memory: Memory, now: number): Memory {
  const { since, knownAt, learned } = memory;
  const last = Math.max(since ?? now, knownAt ?? now, learned?.at ?? now);
  return last > now ? shiftMemory(memory, now - last) : memory;
}

function shiftLearned(learned: Learned, byMs: number): Learned {
  const { at, curve, idle, starts, replays, unfetchedSince } = learned;
  return {
    ...learned,
    at: at + byMs,
    curve: allLater(curve, byMs),
    idle: { ...idle, needs: allLater(idle.needs, byMs) },
    starts: allLater(starts, byMs),
    ...(replays && {
      replays: {
        ...replays,
        long: shiftReplay(replays.long, byMs),
        short: shiftReplay(replays.short, byMs),
      },
    }),
    unfetchedSince: later(unfetchedSince, byMs),
  };
}

function shiftReplay(replay: Replay, byMs: number): Replay {
  return { ...replay, starts: allLater(replay.starts, byMs), needs: allLater(replay.needs, byMs) };
}

function later(at: number | undefined, byMs: number): number | undefined {
  return at === undefined ? undefined : at + byMs;
}

function allLater<T extends { readonly at: number }>(moments: readonly T[], byMs: number): T[] {
  return moments.map((one) => ({ ...one, at: one.at + byMs }));
}
