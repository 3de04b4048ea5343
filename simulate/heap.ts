/**
 * Events by time: a binary heap of numbers, without an object for each event. Events of the same time come out in no
 * particular order.
 */
export interface EventHeap {
  /** The earliest time; `Infinity` if there are no events. */
  readonly next: number;
  push(at: number, value: number): void;
  /** Removes the earliest event and returns its value. Call it only if `next` is finite. */
  pop(): number;
}

export function createHeap(): EventHeap {
  const times: number[] = [];
  const values: number[] = [];

  function put(i: number, at: number, value: number): void {
    times[i] = at;
    values[i] = value;
  }

  return {
    get next() {
      return times[0] ?? Infinity;
    },
    push: (at, value) => {
      let i = times.length;
      while (i > 0) {
        const parent = (i - 1) >> 1;
        const above = times[parent] as number;
        if (above <= at) break;
        put(i, above, values[parent] as number);
        i = parent;
      }
      put(i, at, value);
    },
    pop: () => {
      const first = values[0] as number;
      const at = times.pop() as number;
      const value = values.pop() as number;
      const { length } = times;
      if (length === 0) return first;
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= length) break;
        if (child + 1 < length && (times[child + 1] as number) < (times[child] as number)) child++;
        const below = times[child] as number;
        if (below >= at) break;
        put(i, below, values[child] as number);
        i = child;
      }
      put(i, at, value);
      return first;
    },
  };
}
