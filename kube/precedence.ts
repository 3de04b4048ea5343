/**
 * Lets urgent calls go first: others do not begin while one is under way, as the API server, and etcd behind it, would work on both at
 * once. A call waits for no longer than `longestMs`, whatever the urgent ones do.
 */
import { timeout } from '../runtime/timers.ts';

export interface Precedence {
  /** An urgent call begins; to be called when it has ended. */
  begin(): () => void;
  /** Resolves when another one may begin. */
  turn(): Promise<void>;
}

export function createPrecedence(longestMs = 250): Precedence {
  const waiting = new Set<() => void>();
  let urgent = 0;
  return {
    begin: () => {
      urgent++;
      return () => {
        if (--urgent > 0) return;
        for (const goOn of waiting) goOn();
      };
    },
    turn: () =>
      new Promise((resolve) => {
        if (urgent === 0) return resolve();
        const timer = timeout(longestMs, goOn);
        waiting.add(goOn);
        function goOn(): void {
          timer.clear();
          waiting.delete(goOn);
          resolve();
        }
      }),
  };
}
