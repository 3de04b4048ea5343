/**
 * Timers for any length of time. Those of Node hold 31 bits of milliseconds and take a longer one for 1 ms, so that the
 * most patient limit would be the shortest. A long one is slept in pieces, up to a moment by the monotonic clock. All of
 * our code sets its timers here; a lint rule sees to it.
 */

/** The longest piece, ms: what a timer of Node holds, 24.8 days. */
const LONGEST_MS = 2 ** 31 - 1;

export interface Timer extends Disposable {
  /** Cancels it. Harmless after it has fired, and if repeated. */
  clear(): void;
  /** Does not keep the process alive. Returns itself. */
  unref(): this;
}

/**
 * Calls back once, after `ms`: in a moment for 0 or less, never for Infinity. `pieceMs` is for tests.
 *
 * Throws `RangeError` when `ms` is NaN
 */
export function timeout(ms: number, callback: () => void, pieceMs = LONGEST_MS): Timer {
  checkLength(ms);
  const end = performance.now() + ms;
  let handle = arm(Math.max(0, ms));
  let referenced = true;

  function arm(left: number): NodeJS.Timeout {
    return left > pieceMs ? setTimeout(goOn, pieceMs) : setTimeout(callback, left);
  }
  function goOn(): void {
    handle = arm(Math.max(0, end - performance.now()));
    if (!referenced) handle.unref();
  }
  function clear(): void {
    clearTimeout(handle);
  }
  return {
    clear,
    unref() {
      referenced = false;
      handle.unref();
      return this;
    },
    [Symbol.dispose]: clear,
  };
}

/**
 * Calls back every `ms` until it is cleared, the first time after the first `ms`; at least every 24.8 days.
 *
 * Throws `RangeError` when `ms` is NaN
 */
export function interval(ms: number, callback: () => void): Timer {
  checkLength(ms);
  const handle = setInterval(callback, Math.max(0, Math.min(ms, LONGEST_MS)));
  const clear = (): void => clearInterval(handle);
  return {
    clear,
    unref() {
      handle.unref();
      return this;
    },
    [Symbol.dispose]: clear,
  };
}

/**
 * Resolves after `ms`, or immediately (without an error) when the signal aborts; leaves neither timer nor listener behind.
 *
 * Throws `RangeError` when `ms` is NaN
 */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = timeout(ms, done);
    signal?.addEventListener('abort', done, { once: true });
    function done(): void {
      timer.clear();
      signal?.removeEventListener('abort', done);
      resolve();
    }
  });
}

/** Node treats NaN as 1 ms: a loop that sleeps for NaN would spin. */
function checkLength(ms: number): void {
  if (Number.isNaN(ms)) throw new RangeError('a timer of NaN ms: what it was computed from is not a number');
}
