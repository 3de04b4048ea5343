/** A bell that wakes one sleeper. A ring while nobody sleeps is not lost: the next sleep ends at once. */
export interface Bell {
  ring(): void;
  /** Resolves at the next ring, or after `ms`. */
  rung(ms: number): Promise<void>;
}

/** Timers hold 31 bits; a sleeper that wakes too early just looks around once more. */
const LONGEST_MS = 2 ** 31 - 1;

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
          const timer = setTimeout(resolve, Math.min(ms, LONGEST_MS));
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        wake = undefined;
      }
      rang = false;
    },
  };
}
