/** A watchdog for streams that may stay open but fall silent. */
import type { Clock } from '../runtime/clock.ts';

/** Nothing was received for too long: the connection, or the server behind it, is dead or frozen. */
export class Silent extends Error {
  override readonly name = 'Silent';
}

export interface SilenceWatchdog extends Disposable {
  /** Aborts with the parent, or with `Silent` as its reason. */
  readonly signal: AbortSignal;
  /** To be called whenever something is received. */
  heard(): void;
}

const CHECKS = 4;

/**
 * A watchdog that fires if `heard` is not called within `silenceMs`, at most a quarter of that later. It checks four times in that
 * time instead of setting a timer for each call, of which there may be thousands a second.
 */
export function watchSilence(clock: Clock, silenceMs: number, parent: AbortSignal): SilenceWatchdog {
  const controller = new AbortController();
  const { signal } = controller;
  const forward = (): void => controller.abort(parent.reason);
  parent.addEventListener('abort', forward, { once: true });
  if (parent.aborted) forward();
  let quiet = 0;

  async function watch(): Promise<void> {
    // The first check may come just after a call of `heard`, so only the checks after it count in full.
    while (quiet <= CHECKS) {
      await clock.sleep(silenceMs / CHECKS, signal);
      if (signal.aborted) return;
      quiet++;
    }
    controller.abort(new Silent(`nothing received for ${silenceMs / 1000} s: the watch is aborted`));
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
