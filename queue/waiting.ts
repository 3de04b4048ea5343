/**
 * Which of many waits are asked about next, so that hundreds of thousands of them cost the server little and each has its turn.
 *
 * Tasks are mostly done in the order in which they were enqueued, and mostly waited for in that order, too: what is waited for
 * longest comes next. So each portion begins with those, as many as results were found among lately; then come those that
 * nobody has asked about yet, then some of all others, by turns. Pure.
 */

export interface WaitSet<T> extends Iterable<T> {
  readonly size: number;
  /** Whether some were not asked about since the last change. */
  readonly unasked: boolean;
  add(wait: T): void;
  /** Resolves to whether it was there. */
  delete(wait: T): boolean;
  /** Something changed, and nobody knows for whom: all are to be asked about once more. */
  changed(): void;
  /** Those to ask about now: `most` at most, none of them twice. `rest`: of all others so many, where there is room. */
  next(most: number, rest?: number): T[];
  /** What came of the last portion: which of it were found, by their place in it. */
  found(places: readonly number[]): void;
}

const MIN_FRONT = 32;
const MAX_FRONT = 512;

export function createWaitSet<T>(): WaitSet<T> {
  const all = new Set<T>();
  let fresh: T[] = [];
  let freshAt = 0;
  // iterators of a Set go on through what is added and deleted meanwhile
  let turns = all.values();
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
    while (freshAt < fresh.length && into.size < most) {
      const wait = fresh[freshAt++] as T;
      if (all.has(wait)) into.add(wait);
    }
    if (freshAt === fresh.length) {
      fresh = [];
      freshAt = 0;
    }
  }

  function takeTurns(into: Set<T>, most: number): void {
    while (unaskedCount > 0 && into.size < most) {
      const { value, done } = turns.next();
      if (done) turns = all.values();
      else {
        unaskedCount--;
        into.add(value);
      }
      if (all.size === 0) unaskedCount = 0;
    }
  }

  return {
    get size() {
      return all.size;
    },
    get unasked() {
      return freshAt < fresh.length || unaskedCount > 0;
    },
    add: (wait) => {
      all.add(wait);
      fresh.push(wait);
    },
    delete: (wait) => all.delete(wait),
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
