/** The watchdog of a stream that may stay open and say nothing any more. */
import type { Clock } from '../runtime/clock.ts';

/** Nothing came for too long: the connection, or the server behind it, is dead or frozen. */
export class Silent extends Error {
  override readonly name = 'Silent';
}

export interface Watchdog extends Disposable {
  /** Aborts with the parent, or with `Silent` as its reason. */
  readonly signal: AbortSignal;
  /** Say so for each sign of life. */
  heard(): void;
}

const looks = 4;

/**
 * A watchdog that bites when `heard` has not been called for `silence` ms, and at most a quarter of that later. It looks four times
 * in that time instead of setting a timer for each sign of life, of which there may be thousands a second.
 */
export function watchSilence(clock: Clock, silence: number, parent: AbortSignal): Watchdog {
  const controller = new AbortController();
  const { signal } = controller;
  const forward = (): void => controller.abort(parent.reason);
  parent.addEventListener('abort', forward, { once: true });
  if (parent.aborted) forward();
  let quiet = 0;

  async function watch(): Promise<void> {
    // The first look may come just after a sign of life, so only the looks after it count in full.
    while (quiet <= looks) {
      await clock.sleep(silence / looks, signal);
      if (signal.aborted) return;
      quiet++;
    }
    controller.abort(new Silent(`nothing heard for ${silence / 1000} s: the watch is given up`));
  }

  void watch();
  return {
    signal,
    heard: () => (quiet = 0),
    [Symbol.dispose]() {
      parent.removeEventListener('abort', forward);
      controller.abort();
    },
  };
}
