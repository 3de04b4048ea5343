/**
 * Repeats a request until Redis answers it, or until a while after `hurry`, so that a worker whose Redis is unreachable still
 * ends.
 */
import { systemClock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { timeout } from '../../runtime/timers.ts';

export interface Resender {
  /**
   * Resolves to the answer, or to `undefined` when there was none and no time is left. Rejects with an error that is `final`,
   * which makes resending pointless. `failures`: the number of failures, this one included.
   */
  send<T>(
    request: () => Promise<T>,
    final?: (error: unknown, failures: number) => boolean,
  ): Promise<T | undefined>;
  /** Resolves when no time is left. */
  readonly expired: Promise<undefined>;
}

export interface ResenderOptions {
  readonly hurry: AbortSignal;
  /** Remaining time after `hurry`, ms. */
  readonly lastMs: number;
  /** Longest pause between two tries, ms. */
  readonly longestPauseMs: number;
  /** Called for each try that failed. */
  readonly onFailure: (error: unknown) => void;
  readonly log: Logger;
}

export function createResender({ hurry, lastMs, longestPauseMs, onFailure, log }: ResenderOptions): Resender {
  const expired = new Promise<undefined>((resolve) => {
    const giveUp = (): void => void timeout(lastMs, () => resolve(undefined)).unref();
    if (hurry.aborted) giveUp();
    else hurry.addEventListener('abort', giveUp, { once: true });
  });
  // one request at a time waits for an answer. Promise.race would retain a reaction on `expired` for each of them, and with it
  // the reply, while the worker lives.
  let isExpired = false;
  let giveUpWaiting: (() => void) | undefined;
  void expired.then(() => {
    isExpired = true;
    giveUpWaiting?.();
  });
  const orExpired = <T>(answer: Promise<T>): Promise<T | undefined> =>
    new Promise((resolve, reject) => {
      giveUpWaiting = () => resolve(undefined);
      answer.then(resolve, reject);
      if (isExpired) resolve(undefined);
    });
  return {
    expired,
    send: async (request, final = () => false) => {
      for (let failures = 0; ; failures++) {
        try {
          const reply = await orExpired(request());
          if (reply !== undefined && failures > 0) log.info(`turns succeed again after ${failures} failures`);
          return reply;
        } catch (error) {
          onFailure(error);
          if (final(error, failures + 1)) throw error;
          if (hurry.aborted) return undefined;
          if (failures % 20 === 0)
            log.error({ event: LogEvent.TurnFailed, err: error }, 'turn failed; retrying');
          await systemClock.sleep(Math.min(100 * 2 ** Math.min(failures, 5), longestPauseMs), hurry);
        }
      }
    },
  };
}
