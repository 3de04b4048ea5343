/**
 * Background work for many keys in small batches, so that urgent work finds its way in between: neither the event loop nor
 * Redis is held up for longer than a batch takes. A key is queued once however often it is added. Keys run in the order in
 * which they were added.
 *
 * A slow batch (no server answers) does not block the next one: that begins after `timeoutMs` anyway.
 */
import { setImmediate } from 'node:timers/promises';
import { systemClock } from '../../runtime/clock.ts';

export interface Batches extends Disposable {
  add(keys: Iterable<string>): void;
  /** Removes the key from the queue: it was run otherwise, or is gone. */
  drop(key: string): void;
}

export interface BatchesOptions {
  /** Never rejects. */
  readonly run: (key: string) => Promise<void>;
  /** Keys per batch. */
  readonly size?: number;
  readonly timeoutMs?: number;
}

export function createBatches({ run, size = 32, timeoutMs = 100 }: BatchesOptions): Batches {
  const waiting = new Set<string>();
  let flowing = false;

  async function flow(): Promise<void> {
    if (flowing) return;
    flowing = true;
    while (waiting.size > 0) {
      const now: string[] = [];
      for (const key of waiting) {
        if (now.length === size) break;
        waiting.delete(key);
        now.push(key);
      }
      const done = new AbortController();
      const all = Promise.all(now.map(run)).then(() => done.abort());
      await Promise.race([all, systemClock.sleep(timeoutMs, done.signal)]);
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
