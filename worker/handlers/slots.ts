/** A fixed number of slots, handed out in the order in which they were asked for. */

export interface Slots {
  /** Waits for a free slot; disposing of it frees it. Rejects with the signal's reason when that is aborted. */
  take(signal: AbortSignal): Promise<AsyncDisposable>;
}

export function createSlots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];

  const release = (): Promise<void> => {
    // The slot goes to the next in line without becoming free in between.
    const next = waiting.shift();
    if (next) next();
    else free += 1;
    return Promise.resolve();
  };

  return {
    async take(signal) {
      signal.throwIfAborted();
      if (free > 0) free -= 1;
      else await turn(waiting, signal);
      return { [Symbol.asyncDispose]: release };
    },
  };
}

function turn(waiting: (() => void)[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const admit = (): void => {
      signal.removeEventListener('abort', leave);
      resolve();
    };
    const leave = (): void => {
      waiting.splice(waiting.indexOf(admit), 1);
      reject(signal.reason);
    };
    waiting.push(admit);
    signal.addEventListener('abort', leave, { once: true });
  });
}
