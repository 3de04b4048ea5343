/**
 * A queue of keys for a level-based reconciler, after client-go's: a key is in it once however often it is added, is
 * never worked on twice at a time, and one that is added while it is worked on comes again afterwards. A key that
 * fails comes back after a growing delay; one that succeeds may ask to come back later.
 */
import type { Clock } from '../runtime/clock.ts';

export interface WorkQueue {
  add(key: string): void;
  addAfter(key: string, ms: number): void;
  /** Keys that wait now. */
  readonly depth: number;
  /** Works until the signal aborts; resolves when what was begun has ended. */
  run(signal: AbortSignal): Promise<void>;
}

export interface WorkQueueOptions {
  /** Returns after how many ms the key is to come back, or nothing. What it throws delays the key. */
  readonly work: (key: string) => Promise<number | undefined>;
  readonly onError: (key: string, error: unknown, retryInMs: number) => void;
  readonly concurrency: number;
  readonly clock: Clock;
  readonly backoff?: { readonly initialMs: number; readonly maxMs: number };
}

export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const { work, onError, clock, backoff = { initialMs: 100, maxMs: 60_000 } } = options;
  const waiting = new Set<string>();
  const active = new Set<string>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  /** Keys that come later: the nearest time wins. */
  const later = new Map<string, { at: number; cancel: AbortController }>();
  const workers = new Set<Promise<void>>();
  let running: AbortSignal | undefined;

  function add(key: string): void {
    if (active.has(key)) again.add(key);
    else waiting.add(key);
    pump();
  }

  function addAfter(key: string, ms: number): void {
    if (running?.aborted) return;
    const at = clock.now() + ms;
    const planned = later.get(key);
    if (planned && planned.at <= at) return;
    planned?.cancel.abort();
    const cancel = new AbortController();
    later.set(key, { at, cancel });
    void clock.sleep(ms, cancel.signal).then(() => {
      if (cancel.signal.aborted) return;
      later.delete(key);
      add(key);
    });
  }

  function pump(): void {
    while (running && !running.aborted && active.size < options.concurrency && waiting.size > 0) {
      const key = waiting.values().next().value as string;
      waiting.delete(key);
      active.add(key);
      const worker = workOn(key).finally(() => {
        active.delete(key);
        workers.delete(worker);
        if (again.delete(key)) waiting.add(key);
        pump();
      });
      workers.add(worker);
    }
  }

  async function workOn(key: string): Promise<void> {
    try {
      const comeBack = await work(key);
      failures.delete(key);
      if (comeBack !== undefined) addAfter(key, comeBack);
    } catch (error) {
      const count = failures.get(key) ?? 0;
      failures.set(key, count + 1);
      const delay = Math.min(backoff.initialMs * 2 ** Math.min(count, 20), backoff.maxMs);
      onError(key, error, delay);
      addAfter(key, delay);
    }
  }

  return {
    add,
    addAfter,
    get depth() {
      return waiting.size;
    },
    run: async (signal) => {
      running = signal;
      pump();
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      for (const { cancel } of later.values()) cancel.abort();
      later.clear();
      await Promise.all(workers);
    },
  };
}
