import { timeout, type Timer } from '../../runtime/timers.ts';

/** One-shot timers by id; an id may have several at a time. Disposing cancels them all. */
export interface Timers extends Disposable {
  set(id: string, inMs: number): void;
}

export function createTimers(onTime: (id: string) => void): Timers {
  const timers = new Set<Timer>();
  return {
    set: (id, inMs) => {
      const timer = timeout(inMs, () => {
        timers.delete(timer);
        onTime(id);
      });
      timers.add(timer);
    },
    [Symbol.dispose]: () => {
      for (const timer of timers) timer.clear();
      timers.clear();
    },
  };
}
