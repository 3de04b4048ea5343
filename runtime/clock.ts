/** Time as an argument: programs pass the real clock, tests pass one that they turn by hand. */
import { sleep } from './timers.ts';

export interface Clock {
  /** Wall time, ms since the epoch: for what people read and what outlives a process. It may be set, forwards and back. */
  now(): number;
  /** Monotonic, ms since some moment: for every duration. No step of the wall clock moves it. */
  elapsed(): number;
  /** Resolves after `ms` of any length, or immediately (without an error) when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  sleep,
};
