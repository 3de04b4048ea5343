/**
 * Chooses which waits to look up next, so that hundreds of thousands of them cost the server little and each has its turn.
 *
 * Tasks mostly finish in the order in which they were enqueued, and are mostly waited for in that order, too: the oldest waits
 * come next. So each batch begins with those, as many as results were found among lately; then come those never looked up, then
 * some of all others, in rotation. Pure.
 */

export interface WaitSet<T> extends Iterable<T> {
  readonly size: number;
  /** Whether some were not looked up since the last change. */
  readonly unasked: boolean;
  add(wait: T): void;
  /** Returns whether it was present. */
  delete(wait: T): boolean;
  /** Something changed, for an unknown wait: all must be looked up once more. */
  changed(): void;
  /** The next batch: `most` at most, without duplicates. `rest`: how many of all others, if there is room. */
  next(most: number, rest?: number): T[];
  /** Reports which of the last batch were found, by their positions in it. */
  found(places: readonly number[]): void;
}

const MIN_FRONT = 32;
const MAX_FRONT = 512;

export function createWaitSet<T>(): WaitSet<T> {
  const all = new Set<T>();
  /** Never looked up. */
  const fresh = new Set<T>();
  /**
   * All, whoever was asked last at the end. No iterator is kept over `all` instead: one that rests keeps every table that the
   * set has had since, and all that was ever in them.
   */
  const turns = new Set<T>();
  let unaskedCount = 0;
  let front = MIN_FRONT;
  let fromFront = 0;

  function takeFront(into: Set<T>, most: number): void {
    for (const wait of all) {
      if (into.size >= most) return;
      into.add(wait);
    }
  }

  function takeFresh(into: Set<T>, most: number): void {
    for (const wait of fresh) {
      if (into.size >= most) return;
      into.add(wait);
      fresh.delete(wait);
    }
  }

  function takeTurns(into: Set<T>, most: number): void {
    for (const wait of turns) {
      if (unaskedCount === 0 || into.size >= most) return;
      unaskedCount--;
      turns.delete(wait);
      turns.add(wait);
      into.add(wait);
    }
    unaskedCount = 0;
  }

  return {
    get size() {
      return all.size;
    },
    get unasked() {
      return fresh.size > 0 || unaskedCount > 0;
    },
    add: (wait) => {
      all.add(wait);
      fresh.add(wait);
      turns.add(wait);
    },
    delete: (wait) => {
      fresh.delete(wait);
      turns.delete(wait);
      return all.delete(wait);
    },
    changed: () => {
      unaskedCount = all.size;
    },
    next: (most, rest = 0) => {
      const asked = new Set<T>();
      takeFront(asked, Math.min(front, most));
      fromFront = asked.size;
      if (asked.size === all.size) unaskedCount = 0;
      takeFresh(asked, most);
      takeTurns(asked, Math.min(most, asked.size + Math.max(rest, 2 * front)));
      return [...asked];
    },
    found: (places) => {
      const last = places.findLast((place) => place < fromFront);
      const elsewhere = places.some((place) => place >= fromFront);
      if (elsewhere) front = Math.min(2 * front, MAX_FRONT);
      else if (last !== undefined) front = Math.min(Math.max(MIN_FRONT, 2 * (last + 1)), MAX_FRONT);
    },
    [Symbol.iterator]: () => all.values(),
  };
}
