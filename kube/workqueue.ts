/**
 * A queue of keys for a level-based reconciler, after client-go's: a key is in it once however often it is added, is
 * never worked on twice at a time, and one that is added while it is worked on comes again afterwards. A key that
 * fails comes back after a growing delay; one that succeeds may ask to come back later.
 *
 * An urgent key overtakes all that are not, and does not wait for one of them to end either: some places are reserved for urgent
 * keys. A key that is added again, urgent or not, stays as urgent as it was. Between keys that are not urgent, what the process has
 * received is handled: work that waits for nothing would otherwise go on until none is left, and what makes a key urgent would wait.
 * A key that was added for the end is taken when no other waits, unless it is added otherwise.
 */
import type { Clock } from '../runtime/clock.ts';

type Rank = 'urgent' | 'last' | undefined;

export interface WorkQueue {
  add(key: string, rank?: Rank): void;
  addAfter(key: string, ms: number): void;
  /** Keys that are waiting. */
  readonly depth: number;
  /** Of them, those that were not added for the end. */
  readonly backlog: number;
  /** Works until the signal aborts; resolves when all started work has ended. */
  run(signal: AbortSignal): Promise<void>;
}

export interface WorkQueueOptions {
  /** Returns the delay in ms after which the key comes back, or nothing. A key whose work throws comes back after a backoff. */
  readonly work: (key: string) => Promise<number | undefined>;
  readonly onError: (key: string, error: unknown, retryInMs: number) => void;
  readonly concurrency: number;
  /** Additional concurrency for urgent keys. */
  readonly reserve?: number;
  readonly clock: Clock;
  readonly backoff?: { readonly initialMs: number; readonly maxMs: number };
}

export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const { work, onError, clock, concurrency, reserve = 0 } = options;
  const { initialMs, maxMs } = options.backoff ?? { initialMs: 100, maxMs: 60_000 };
  const waiting = createWaitingKeys();
  const later = createLaterKeys(clock, (key) => add(key));
  const active = new Set<string>();
  const again = new Map<string, Rank>();
  const failures = new Map<string, number>();
  const workers = new Set<Promise<void>>();
  let running: AbortSignal | undefined;
  let resting = false;

  function add(key: string, rank?: Rank): void {
    if (active.has(key)) again.set(key, again.has(key) ? sooner(again.get(key), rank) : rank);
    else waiting.add(key, rank);
    pump();
  }

  function addAfter(key: string, ms: number): void {
    if (!running?.aborted) later.add(key, ms);
  }

  function pump(): void {
    while (running && !running.aborted) {
      const { isUrgent } = waiting;
      if (active.size >= concurrency + (isUrgent ? reserve : 0) || (resting && !isUrgent)) return;
      const key = waiting.take();
      if (key === undefined) return;
      active.add(key);
      const worker = workOn(key).finally(() => {
        active.delete(key);
        workers.delete(worker);
        const rank = again.get(key);
        if (again.delete(key)) waiting.add(key, rank);
        goOn();
      });
      workers.add(worker);
    }
  }

  /** After a key: urgent ones go on immediately, others when the process has handled what it has received. */
  function goOn(): void {
    if (!resting) {
      resting = true;
      setImmediate(() => {
        resting = false;
        pump();
      });
    }
    pump();
  }

  async function workOn(key: string): Promise<void> {
    try {
      const comeBack = await work(key);
      failures.delete(key);
      if (comeBack !== undefined) addAfter(key, comeBack);
    } catch (error) {
      const count = failures.get(key) ?? 0;
      failures.set(key, count + 1);
      const delay = Math.min(initialMs * 2 ** Math.min(count, 20), maxMs);
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
    get backlog() {
      return waiting.backlog;
    },
    run: async (signal) => {
      running = signal;
      pump();
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      later.clear();
      await Promise.all(workers);
    },
  };
}

function sooner(one: Rank, other: Rank): Rank {
  if (one === 'urgent' || other === 'urgent') return 'urgent';
  return one === 'last' ? other : one;
}

/** Keys that wait to be worked on, each once; urgent ones first. */
interface WaitingKeys extends Pick<WorkQueue, 'backlog'> {
  readonly size: number;
  /** Whether the next one is urgent. */
  readonly isUrgent: boolean;
  add(key: string, rank: Rank): void;
  take(): string | undefined;
}

function createWaitingKeys(): WaitingKeys {
  const urgentOnes = new Set<string>();
  const others = new Set<string>();
  const lastOnes = new Set<string>();
  /** The first ones first. */
  const all = [urgentOnes, others, lastOnes];
  return {
    get size() {
      return urgentOnes.size + others.size + lastOnes.size;
    },
    get backlog() {
      return urgentOnes.size + others.size;
    },
    get isUrgent() {
      return urgentOnes.size > 0;
    },
    add: (key, rank) => {
      const to = rank === 'urgent' ? urgentOnes : rank === 'last' ? lastOnes : others;
      const from = all.find((keys) => keys.has(key));
      if (from && all.indexOf(from) <= all.indexOf(to)) return;
      from?.delete(key);
      to.add(key);
    },
    take: () => {
      const from = all.find((keys) => keys.size > 0);
      const [key] = from ?? [];
      if (key !== undefined) from?.delete(key);
      return key;
    },
  };
}

/** Keys that come later: of several times for one key, the nearest wins. */
interface LaterKeys {
  add(key: string, ms: number): void;
  clear(): void;
}

function createLaterKeys(clock: Clock, onDue: (key: string) => void): LaterKeys {
  const later = new Map<string, { at: number; cancel: AbortController }>();
  return {
    add: (key, ms) => {
      const at = clock.elapsed() + ms;
      const planned = later.get(key);
      if (planned && planned.at <= at) return;
      planned?.cancel.abort();
      const cancel = new AbortController();
      later.set(key, { at, cancel });
      void clock.sleep(ms, cancel.signal).then(() => {
        if (cancel.signal.aborted) return;
        later.delete(key);
        onDue(key);
      });
    },
    clear: () => {
      for (const { cancel } of later.values()) cancel.abort();
      later.clear();
    },
  };
}
