import { timeout } from '../../runtime/timers.ts';

/** Wakes one sleeper. A wake-up while nobody sleeps is not lost: the next wait ends immediately. */
export interface Wakeup {
  wake(): void;
  /** Resolves at the next wake-up, or after `ms`. */
  wait(ms: number): Promise<void>;
}

export function createWakeup(): Wakeup {
  let pending = false;
  let endWait: (() => void) | undefined;
  return {
    wake: () => {
      pending = true;
      endWait?.();
    },
    wait: async (ms) => {
      if (!pending) {
        await new Promise<void>((resolve) => {
          const timer = timeout(ms, resolve);
          endWait = () => {
            timer.clear();
            resolve();
          };
        });
        endWait = undefined;
      }
      pending = false;
    },
  };
}
