/**
 * Ends the process if synchronous work does not end: it would block the event loop, so no pool would be scaled, without any
 * report. A standby takes over, or the container restarts, and the journal (journal.ts) has the pool.
 *
 * Node can interrupt a script after a timeout, from a thread of its own, which it starts and joins with each call. That costs no
 * memory, but 160 µs, and on a machine without a free processor it blocks the event loop for milliseconds. So only the first calls
 * for a pool are watched, which are the first to process what was stored of it and what is in its Redis, and none that has nothing
 * new to process. Work that hangs later is ended by the liveness probe, and watched after the restart.
 */
import { Script } from 'node:vm';

export interface Watchdog {
  /** Runs `work` for a pool. Does not return if that takes too long. */
  watch<T>(pool: string, work: () => T): T;
}

export interface WatchdogOptions {
  /** The process is about to end. */
  readonly onTimeout: (pool: string, afterMs: number) => void;
  readonly timeoutMs?: number;
}

const WORK_TIMEOUT_MS = 10_000;
const FIRST_CALLS = 8;
/** The global through which the script gets the work: it has access to globals only. */
const NAME = 'millraceWatched';

export function createWatchdog({ onTimeout, timeoutMs = WORK_TIMEOUT_MS }: WatchdogOptions): Watchdog {
  const calls = new Map<string, number>();
  const script = new Script(`${NAME}()`);
  const place = globalThis as unknown as Record<string, unknown>;

  function run<T>(pool: string, work: () => T): T {
    const before = place[NAME];
    place[NAME] = work;
    try {
      return script.runInThisContext({ timeout: timeoutMs }) as T;
    } catch (error) {
      if ((error as NodeJS.ErrnoException | undefined)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
        onTimeout(pool, timeoutMs);
        // exit code 134 differs from that of a kill from outside; and no code of ours runs before it is delivered
        process.kill(process.pid, 'SIGABRT');
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, timeoutMs);
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
