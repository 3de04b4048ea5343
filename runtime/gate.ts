/** Runs the work as soon as it may. */
export type Limiter = <T>(work: () => Promise<T>) => Promise<T>;

/** Limits concurrency to `most`; further work waits, first come, first served. */
export function createGate(most: number): Limiter {
  const waiting: (() => void)[] = [];
  let working = 0;
  return async (work) => {
    if (working === most) await new Promise<void>((resolve) => waiting.push(resolve));
    else working++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      // the next in line takes over the place
      if (next) next();
      else working--;
    }
  };
}
