/** Waiting for what cannot be awaited: look again and again, until a limit. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Patience {
  /** ms. */
  readonly withinMs?: number;
  readonly everyMs?: number;
}

/**
 * Calls `look` until it does not throw, and resolves to what it returned; pass assertions. After `withinMs` it rejects
 * with what `look` threw last.
 */
export async function eventually<T>(
  look: () => T | Promise<T>,
  { withinMs = 5_000, everyMs = 10 }: Patience = {},
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(everyMs);
    }
  }
}

/** Holds that `look` does not throw for as long as `forMs`: for what must not happen. */
export async function throughout(forMs: number, look: () => unknown): Promise<void> {
  const deadline = performance.now() + forMs;
  while (performance.now() < deadline) {
    await look();
    await delay(10);
  }
}
