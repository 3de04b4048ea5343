/**
 * Rate limiter for low-priority writes: at most one per pool per interval, and a global rate. The fewer pools there are, the
 * sooner each may write.
 */
export interface RateLimit {
  /** When a pool that wrote at `last` may write again, ms. The call reserves that slot. */
  next(last: number, now: number): number;
}

/** Minimum intervals: `everyMs` between two writes of one pool, `gapMs` between any two writes. */
export function createRateLimit(everyMs: number, gapMs: number): RateLimit {
  let free = -Infinity;
  return {
    next: (last, now) => {
      const slot = Math.max(last + everyMs, free, now);
      free = Math.max(free, now) + gapMs;
      return slot;
    },
  };
}
