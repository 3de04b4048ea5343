/**
 * Ends the process when a piece of work that waits for nothing does not come to its end: nothing is scaled then, for no pool, and
 * nobody is told. A standby takes over, or the container is started again, and the journal (journal.ts) says which pool it was.
 *
 * Node can break off a script after a time from a thread of its own, which costs no memory but some 100 µs a call. So the first calls
 * for a pool are watched, in which what was kept of it and what is in its Redis is met for the first time; what hangs later is ended by
 * the liveness probe, and watched after the restart.
 */
import { Script } from 'node:vm';

export interface Watchdog {
  /** Runs `work` for a pool. Does not return when that takes too long. */
  watch<T>(pool: string, work: () => T): T;
}

export interface WatchdogOptions {
  /** The process is about to end. */
  readonly onBite: (pool: string, afterMs: number) => void;
  readonly limitMs?: number;
}

const LIMIT_MS = 10_000;
const FIRST_CALLS = 8;
/** Where the script finds the work: it sees what is global, and nothing else. */
const NAME = 'millraceWatched';

export function createWatchdog({ onBite, limitMs = LIMIT_MS }: WatchdogOptions): Watchdog {
  const calls = new Map<string, number>();
  const script = new Script(`${NAME}()`);
  const place = globalThis as unknown as Record<string, unknown>;

  function run<T>(pool: string, work: () => T): T {
    const before = place[NAME];
    place[NAME] = work;
    try {
      return script.runInThisContext({ timeout: limitMs }) as T;
    } catch (error) {
      if ((error as NodeJS.ErrnoException | undefined)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
        onBite(pool, limitMs);
        // its code, 134, is none of a kill from outside; and nothing of ours runs before it comes
        process.kill(process.pid, 'SIGABRT');
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, limitMs);
      }
      throw error;
    } finally {
      place[NAME] = before;
    }
  }

  return {
    watch: (pool, work) => {
      const count = calls.get(pool) ?? 0;
      if (count >= FIRST_CALLS) return work();
      calls.set(pool, count + 1);
      return run(pool, work);
    },
  };
}
