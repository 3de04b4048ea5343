/** A counting semaphore, first come, first served. */

export interface Semaphore {
  /** Waits for a permit; disposing of it releases it. Rejects with the signal's reason when that is aborted. */
  acquire(signal: AbortSignal): Promise<AsyncDisposable>;
  /** Takes a permit if one is free now, and returns whether it was. `release` gives it back. */
  tryAcquire(): boolean;
  release(): void;
}

export function createSemaphore(count: number): Semaphore {
  let free = count;
  const waiting: (() => void)[] = [];

  const release = (): void => {
    // it goes to the next in line without becoming free in between
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  };

  return {
    async acquire(signal) {
      signal.throwIfAborted();
      if (free > 0) free -= 1;
      else await queued(waiting, signal);
      return { [Symbol.asyncDispose]: () => Promise.resolve(release()) };
    },
    tryAcquire: () => {
      if (free === 0) return false;
      free -= 1;
      return true;
    },
    release,
  };
}

function queued(waiting: (() => void)[], signal: AbortSignal): Promise<void> {
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
