/**
 * Does something for very many keys a few at a time, so that what is urgent finds its way in between: neither the event loop nor
 * Redis is held up for longer than a portion takes. A key is in it once however often it is added. Keys come in the order in
 * which they were added.
 *
 * A portion that takes long (nobody answers) does not hold up the next one for ever: that begins after `patienceMs` anyway.
 */
import { setImmediate } from 'node:timers/promises';
import { systemClock } from '../../runtime/clock.ts';

export interface Trickle extends Disposable {
  add(keys: Iterable<string>): void;
  /** The key has been seen to otherwise, or is gone. */
  drop(key: string): void;
}

export interface TrickleOptions {
  /** Never rejects. */
  readonly run: (key: string) => Promise<void>;
  readonly portion?: number;
  readonly patienceMs?: number;
}

export function createTrickle({ run, portion = 64, patienceMs = 100 }: TrickleOptions): Trickle {
  const waiting = new Set<string>();
  let flowing = false;

  async function flow(): Promise<void> {
    if (flowing) return;
    flowing = true;
    while (waiting.size > 0) {
      const now: string[] = [];
      for (const key of waiting) {
        if (now.length === portion) break;
        waiting.delete(key);
        now.push(key);
      }
      const done = new AbortController();
      const all = Promise.all(now.map(run)).then(() => done.abort());
      await Promise.race([all, systemClock.sleep(patienceMs, done.signal)]);
      await setImmediate();
    }
    flowing = false;
  }

  return {
    add: (keys) => {
      for (const key of keys) waiting.add(key);
      void flow();
    },
    drop: (key) => void waiting.delete(key),
    [Symbol.dispose]: () => waiting.clear(),
  };
}
