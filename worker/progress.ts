/**
 * Takes handlers' progress reports to Redis: the latest of each task, all tasks of the worker together, at most four
 * times a second. What ended is forgotten there too. A report that cannot be written now is written later, or never:
 * nobody waits for it, and the task is none the worse.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../queue/keys.ts';
import { noteProgress } from '../queue/progress.ts';
import { timeout, type Timer } from '../runtime/timers.ts';

const EVERY_MS = 250;
/** Reports in one command. */
const AT_A_TIME = 1_000;
/** The largest report, bytes of JSON. */
const MAX_BYTES = 16 * 1024;

export interface ProgressOutbox extends Disposable {
  /** Throws `TypeError` for what JSON cannot say, `RangeError` for more than 16 KB of it. */
  report(id: string, value: unknown): void;
  /** The task has ended, however. */
  ended(id: string): void;
}

export interface ProgressOptions {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly worker: string;
  readonly epoch: number;
}

/** One for each epoch. Disposing drops what was not written. */
export function createProgressOutbox({ redis, keys, worker, epoch }: ProgressOptions): ProgressOutbox {
  const reports = new Map<string, string>();
  const ended = new Set<string>();
  /** Ids that Redis knows, or is about to. */
  const written = new Set<string>();
  let timer: Timer | undefined;
  let last = -Infinity;
  let writing = false;
  let over = false;

  function soon(): void {
    if (over || writing || timer !== undefined || reports.size + ended.size === 0) return;
    timer = timeout(last + EVERY_MS - performance.now(), () => void write()).unref();
  }

  async function write(): Promise<void> {
    timer = undefined;
    writing = true;
    last = performance.now();
    const fresh = new Map([...reports].slice(0, AT_A_TIME));
    const gone = new Set([...ended].slice(0, AT_A_TIME));
    for (const id of fresh.keys()) {
      reports.delete(id);
      written.add(id);
    }
    for (const id of gone) ended.delete(id);
    try {
      over ||= !(await noteProgress(redis, keys, { worker, epoch }, fresh, gone));
    } catch {
      // no memory, no connection: what is newer meanwhile wins, and what ended is not reported any more
      for (const id of gone) ended.add(id);
      for (const [id, json] of fresh) if (written.has(id) && !reports.has(id)) reports.set(id, json);
    } finally {
      writing = false;
      soon();
    }
  }

  return {
    report: (id, value) => {
      const json = JSON.stringify(value) as string | undefined;
      if (json === undefined) throw new TypeError(`progress cannot be ${typeof value}: report a JSON value`);
      if (Buffer.byteLength(json) > MAX_BYTES)
        throw new RangeError(`progress may have ${MAX_BYTES} bytes of JSON: report less, or where it is`);
      if (over) return;
      reports.set(id, json);
      ended.delete(id);
      soon();
    },
    ended: (id) => {
      reports.delete(id);
      if (!written.delete(id)) return;
      ended.add(id);
      soon();
    },
    [Symbol.dispose]: () => {
      over = true;
      timer?.clear();
    },
  };
}
