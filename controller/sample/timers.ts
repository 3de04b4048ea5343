import { timeout, type Timer } from '../../runtime/timers.ts';

/** Calls back with an id at the moment that was asked for; several moments of an id are several calls. Disposed, it is silent. */
export interface Alarms extends Disposable {
  set(id: string, inMs: number): void;
}

export function createAlarms(ring: (id: string) => void): Alarms {
  const timers = new Set<Timer>();
  return {
    set: (id, inMs) => {
      const timer = timeout(inMs, () => {
        timers.delete(timer);
        ring(id);
      });
      timers.add(timer);
    },
    [Symbol.dispose]: () => {
      for (const timer of timers) timer.clear();
      timers.clear();
    },
  };
}
