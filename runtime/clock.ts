/** Time as an argument: programs pass the real clock, tests one that they set. */
import { sleep } from './timers.ts';

export interface Clock {
  /** Wall time, ms since the epoch: for people, and for data that outlives the process. It may be set, forwards and back. */
  now(): number;
  /** Monotonic, ms since an arbitrary moment: for every duration. A change of the wall clock does not affect it. */
  elapsed(): number;
  /** Resolves after `ms` of any length, or immediately (without an error) when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  sleep,
};
