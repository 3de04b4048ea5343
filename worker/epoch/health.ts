/**
 * Whether a worker does its work: while it lives, a turn of each queue is answered at least once per lease.
 *
 * Without one for longer than that it is not ready. Whether it is *healthy* is another question, as an orchestrator restarts
 * what is not: that cuts off its tasks, and repeats what finished and is not written yet. While Redis does not answer (or
 * answers that it cannot write now), a restart fixes nothing and would hit all workers at the same time; so a worker that holds
 * tasks stays healthy then. One that holds none loses nothing by it, and what a restart can fix (a changed password, a name that
 * resolves to another server) is fixed; after it the worker has no lease that could be over, so that it is not restarted again
 * and again. If Redis answers and yet makes no turns for this worker, it is unhealthy in any case.
 *
 * Time counts only while the event loop runs: a handler that computes for minutes makes no turn meanwhile, and needs none
 * (lease/lease.ts).
 */
import { formatDuration } from '../../runtime/duration.ts';
import { interval } from '../../runtime/timers.ts';
import { describeError } from '../../runtime/describe-error.ts';
import { turnRefusalOf } from '../turn/refusal.ts';

export interface WorkerHealth extends Disposable {
  /**
   * Registered, or a turn was answered: `holds` tasks are not settled. `withinMs`: when the next one is awaited, if not within
   * the lease of turns.
   */
  turned(queue: string, holds: number, withinMs?: number): void;
  /** A turn failed. */
  failed(queue: string, error: unknown): void;
  /** The worker has left this queue. */
  left(queue: string): void;
  /** Sets how to ping the server; called while turns are missing. */
  reach(ping: () => Promise<unknown>): void;
  /** Why it cannot do its work right now, or `undefined`. */
  unready(): string | undefined;
  /** Why it should be restarted, or `undefined`. */
  unhealthy(): string | undefined;
}

interface QueueHealth {
  readonly holds: number;
  readonly withinMs: number;
  silentMs: number;
  error: unknown;
}

const TICK_MS = 500;
/** A tick that comes later than this found the event loop blocked, ms. */
const LONGEST_TICK_MS = 2 * TICK_MS;

/** `now`: monotonic, ms. `every` calls back until it is disposed. */
export function createWorkerHealth(
  leaseMs: number,
  now = (): number => performance.now(),
  every: (ms: number, callback: () => void) => Disposable = (ms, callback) => interval(ms, callback).unref(),
): WorkerHealth {
  const queues = new Map<string, QueueHealth>();
  let ping: (() => Promise<unknown>) | undefined;
  let asking = false;
  let answers = false;
  let last = now();

  async function ask(): Promise<void> {
    if (asking || !ping) return;
    asking = true;
    answers = false;
    try {
      await ping();
      answers = true;
    } catch (error) {
      answers = turnRefusalOf(error)?.kind === 'rejected';
    } finally {
      asking = false;
    }
  }

  function tick(): void {
    const passed = Math.min(now() - last, LONGEST_TICK_MS);
    last = now();
    for (const queue of queues.values()) queue.silentMs += passed;
    if (overdue()) void ask();
  }

  function overdue(): [string, QueueHealth] | undefined {
    return [...queues].find(([, { silentMs, withinMs }]) => silentMs > withinMs);
  }

  function unready(): string | undefined {
    const found = overdue();
    if (!found) return undefined;
    const [name, { silentMs, error }] = found;
    const why = error === undefined ? 'Redis does not answer' : describeError(error);
    return `no turn in queue "${name}" for ${formatDuration(Math.round(silentMs / 1_000) * 1_000)}: ${why}`;
  }

  const timer = every(TICK_MS, tick);
  return {
    turned: (queue, holds, withinMs = leaseMs) =>
      void queues.set(queue, { holds, withinMs, silentMs: 0, error: undefined }),
    failed: (queue, error) => {
      const known = queues.get(queue);
      if (known) known.error = error;
    },
    left: (queue) => void queues.delete(queue),
    reach: (how) => (ping = how),
    unready,
    unhealthy: () => {
      const silent = [...queues.values()].filter(({ silentMs, withinMs }) => silentMs > withinMs);
      const own = silent.some(({ error }) => turnRefusalOf(error)?.kind !== 'state');
      const holds = [...queues.values()].some((queue) => queue.holds > 0);
      return silent.length > 0 && (!holds || (answers && own)) ? unready() : undefined;
    },
    [Symbol.dispose]: () => timer[Symbol.dispose](),
  };
}
