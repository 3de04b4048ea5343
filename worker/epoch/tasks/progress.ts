/**
 * Writes handlers' progress reports to Redis: the latest of each task, all tasks of the worker together, at most four times a
 * second. Those of ended tasks are removed there too. A report that cannot be written now is written later or never: nothing
 * waits for it, and the task is unaffected.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../../queue/keys.ts';
import { noteProgress } from '../../../queue/progress.ts';
import { timeout, type Timer } from '../../../runtime/timers.ts';

const EVERY_MS = 250;
/** Reports in one command. */
const AT_A_TIME = 1_000;
/** And at most this many bytes of ids and reports, unless a single one is larger: a huge request could be refused. */
const BYTES_AT_A_TIME = 256 * 1024;
/** The largest report, bytes of JSON. */
const MAX_REPORT_BYTES = 16 * 1024;

export interface ProgressOutbox extends Disposable {
  /** Throws `TypeError` for what JSON cannot express, `RangeError` for more than 16 KB of it. */
  report(id: string | Buffer, value: unknown): void;
  /** The task has ended, however. */
  ended(id: string | Buffer): void;
}

export interface ProgressOptions {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly worker: string;
  readonly epoch: number;
}

/** One for each epoch. Disposing drops what was not written. */
export function createProgressOutbox({ redis, keys, worker, epoch }: ProgressOptions): ProgressOutbox {
  // by a key that is unique among ids
  const reports = new Map<string, Report>();
  const ended = new Map<string, string | Buffer>();
  /** Ids whose reports are in Redis, or on their way there. */
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
    const fresh = upTo(reports, ({ id, json }) => id.length + json.length);
    const gone = upTo(ended, (id) => id.length);
    for (const name of fresh.keys()) {
      reports.delete(name);
      written.add(name);
    }
    for (const name of gone.keys()) ended.delete(name);
    try {
      over ||= !(await noteProgress(redis, keys, { worker, epoch }, [...fresh.values()], [...gone.values()]));
    } catch {
      // no memory, no connection: what is newer meanwhile wins, and what ended is not reported any more
      for (const [name, id] of gone) ended.set(name, id);
      for (const [name, report] of fresh)
        if (written.has(name) && !reports.has(name)) reports.set(name, report);
    } finally {
      writing = false;
      soon();
    }
  }

  return {
    report: (id, value) => {
      const json = JSON.stringify(value) as string | undefined;
      if (json === undefined) throw new TypeError(`progress cannot be ${typeof value}: report a JSON value`);
      if (Buffer.byteLength(json) > MAX_REPORT_BYTES)
        throw new RangeError(
          `progress may have ${MAX_REPORT_BYTES} bytes of JSON: report less, or a reference to it`,
        );
      if (over) return;
      const name = nameOf(id);
      reports.set(name, { id, json });
      ended.delete(name);
      soon();
    },
    ended: (id) => {
      // most handlers report nothing
      if (reports.size + written.size === 0) return;
      const name = nameOf(id);
      reports.delete(name);
      if (!written.delete(name)) return;
      ended.set(name, id);
      soon();
    },
    [Symbol.dispose]: () => {
      over = true;
      timer?.clear();
    },
  };
}

interface Report {
  readonly id: string | Buffer;
  readonly json: string;
}

/** Text and bytes have different names, whatever they contain. */
function nameOf(id: string | Buffer): string {
  return typeof id === 'string' ? `t${id}` : `b${id.toString('latin1')}`;
}

/** The first entries, as many as go into one command. */
function upTo<T>(all: ReadonlyMap<string, T>, sizeOf: (value: T) => number): Map<string, T> {
  const some = new Map<string, T>();
  let bytes = 0;
  for (const [name, value] of all) {
    bytes += sizeOf(value);
    if (some.size > 0 && (bytes > BYTES_AT_A_TIME || some.size === AT_A_TIME)) break;
    some.set(name, value);
  }
  return some;
}
