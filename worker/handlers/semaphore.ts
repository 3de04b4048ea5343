/** A counting semaphore, first come, first served. */

export interface Semaphore {
  /** Waits for a permit; disposing of it releases it. Rejects with the signal's reason when that is aborted. */
  acquire(signal: AbortSignal): Promise<AsyncDisposable>;
}

export function createSemaphore(count: number): Semaphore {
  let free = count;
  const waiting: (() => void)[] = [];

  const release = (): Promise<void> => {
    // it goes to the next in line without becoming free in between
    const next = waiting.shift();
    if (next) next();
    else free += 1;
    return Promise.resolve();
  };

  return {
    async acquire(signal) {
      signal.throwIfAborted();
      if (free > 0) free -= 1;
      else await queued(waiting, signal);
      return { [Symbol.asyncDispose]: release };
    },
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
