/**
 * Turns for what many pools want to write and nobody waits for: a pool gets one every so often, and all of them together no more
 * than so many a second. The fewer pools there are, the sooner each has its turn.
 */
export interface Turns {
  /** When who had its last turn at `last` gets the next one, ms. It is kept for it: ask once, and come back then. */
  next(last: number, now: number): number;
}

/** `everyMs`: between two turns of one; `gapMs`: between two turns of anybody. */
export function createTurns(everyMs: number, gapMs: number): Turns {
  let free = -Infinity;
  return {
    next: (last, now) => {
      const turn = Math.max(last + everyMs, free, now);
      free = Math.max(free, now) + gapMs;
      return turn;
    },
  };
}
