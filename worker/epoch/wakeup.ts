import { timeout } from '../../runtime/timers.ts';

/** A bell that wakes one sleeper. A ring while nobody sleeps is not lost: the next sleep ends at once. */
export interface Bell {
  ring(): void;
  /** Resolves at the next ring, or after `ms`. */
  rung(ms: number): Promise<void>;
}

export function createBell(): Bell {
  let rang = false;
  let wake: (() => void) | undefined;
  return {
    ring: () => {
      rang = true;
      wake?.();
    },
    rung: async (ms) => {
      if (!rang) {
        await new Promise<void>((resolve) => {
          const timer = timeout(ms, resolve);
          wake = () => {
            timer.clear();
            resolve();
          };
        });
        wake = undefined;
      }
      rang = false;
    },
  };
}
