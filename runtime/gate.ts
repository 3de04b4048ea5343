/** Lets at most `most` pieces of work be under way at a time; all others wait for their turn, in the order in which they came. */
export function createGate(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let working = 0;
  return async (work) => {
    if (working === most) await new Promise<void>((resolve) => waiting.push(resolve));
    else working++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      // who is next takes over the place
      if (next) next();
      else working--;
    }
  };
}
