/**
 * Waiting for results. All waits of a queue share one KeyWatch on the result hash and the errors: one notice leads to
 * one HMGET for all ids that are waited for. A hash that others write to without pause would mean a notice for each
 * read, so reads keep a distance that grows while they find nothing and with the number of ids, up to MAX_GAP_MS; after
 * a pause of that length a notice is followed at once. Where the server does not track keys, the same reads are made on
 * a timer.
 */
import type { Redis } from 'ioredis';
import { timeout, type Timer } from '../runtime/timers.ts';
import { TaskCancelled } from './cancel.ts';
import type { RedisAddress } from './connection.ts';
import { parseHeader, type DeadHeader } from './dead.ts';
import type { QueueKeys } from './keys.ts';
import { WrongKeyType } from './sample.ts';
import { shortId } from './task.ts';
import { openKeyWatch, TrackingRefused, type KeyWatch } from './watch.ts';

const MIN_GAP_MS = 1;
const MAX_GAP_MS = 50;
/** How many ids are looked up per ms at most, so that those who wait leave the server to those who work. */
const IDS_PER_MS = 100;
/** Reads anyway after this long: a notice is only a hint. */
const SAFETY_MS = 2_000;
const POLL_MS = 25;

export interface ResultOptions {
  /** Give up after this long, ms. Without it, wait until there is a result. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly as?: 'text' | 'bytes' | 'json';
}

export interface Results extends AsyncDisposable {
  wait(id: string | Buffer, options?: ResultOptions): Promise<unknown>;
}

export class ResultTimeout extends Error {
  override name = 'ResultTimeout';
}

/** The task failed for good: it is among the dead letters. */
export class TaskFailed extends Error {
  override name = 'TaskFailed';
  readonly attempts: number;
  readonly worker: string;
  constructor(id: string | Buffer, header: DeadHeader) {
    super(`task ${shortId(id)} failed for good: ${header.error}`);
    this.attempts = header.attempts;
    this.worker = header.worker;
  }
}

function reasonOf(id: string | Buffer, header: DeadHeader): Error {
  return header.cancelled ? new TaskCancelled(id) : new TaskFailed(id, header);
}

interface Wait {
  readonly id: string | Buffer;
  settle(value: Buffer | Error): void;
}

export function openResults(address: RedisAddress, keys: QueueKeys, redis: Redis): Results {
  const waits = new Set<Wait>();
  let watch: Promise<KeyWatch | undefined> | undefined;
  let timer: Timer | undefined;
  let timerAt = Infinity;
  let gap = 0;
  let noticed = false; // something changed since the last read
  let immediate: NodeJS.Immediate | undefined;
  let lastRead = -Infinity;
  let reading = false;
  let again = false;
  let closed = false;

  /** Reads in `ms` at the latest. */
  function readIn(ms: number): void {
    const at = performance.now() + ms;
    if (closed || waits.size === 0 || at >= timerAt) return;
    timer?.clear();
    clearImmediate(immediate);
    timerAt = at;
    // a timer would take 1 ms at least
    if (ms > 0) timer = timeout(ms, () => void read());
    else immediate = setImmediate(() => void read());
  }

  /** Reads as soon as the distance to the last read allows. */
  function readSoon(): void {
    const distance = Math.min(Math.max(gap, waits.size / IDS_PER_MS), MAX_GAP_MS);
    readIn(Math.max(0, lastRead + distance - performance.now()));
  }

  /** Where tracking is refused it stays so; a server that was away is asked again at the next read. */
  async function openWatch(): Promise<KeyWatch | undefined> {
    try {
      return await openKeyWatch(address, () => {
        noticed = true;
        readSoon();
      });
    } catch (error) {
      if (!(error instanceof TrackingRefused)) watch = undefined;
      return undefined;
    }
  }

  async function read(): Promise<void> {
    timerAt = Infinity;
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    try {
      const tracking = await (watch ??= openWatch());
      const asked = [...waits];
      lastRead = performance.now();
      const afterNotice = noticed;
      noticed = false;
      if (asked.length > 0) {
        const found = await readOnce(tracking?.reader ?? redis, asked);
        // what we wait for comes later than we begin to wait: only a notice of what was not ours slows us down
        if (found > 0) gap = 0;
        else if (afterNotice) gap = Math.min(Math.max(MIN_GAP_MS, gap * 2), MAX_GAP_MS);
      }
      readIn(tracking?.armed ? SAFETY_MS : POLL_MS);
    } catch (error) {
      const { message } = error as Error;
      if (message.startsWith('WRONGTYPE')) fail(new WrongKeyType(keys.result, 'a hash', message));
      else if (message.startsWith('NOPERM')) fail(error as Error);
      readIn(MAX_GAP_MS); // the connection went away: it comes back by itself, and the wait has its own time limit
    } finally {
      reading = false;
      if (again) readSoon();
      again = false;
    }
  }

  function fail(error: Error): void {
    for (const waiter of waits) waiter.settle(error);
  }

  async function readOnce(reader: Redis, asked: readonly Wait[]): Promise<number> {
    const ids = asked.map((asker) => asker.id);
    const [values, errors] = await Promise.all([
      reader.hmgetBuffer(keys.result, ...ids),
      reader.hmgetBuffer(keys.errors, ...ids),
    ]);
    let found = 0;
    for (const [i, asker] of asked.entries()) {
      const value = values[i];
      const error = errors[i];
      if (value) asker.settle(value);
      else if (error) asker.settle(reasonOf(asker.id, parseHeader(error)));
      if (value ?? error) found++;
    }
    return found;
  }

  async function wait(id: string | Buffer, options: ResultOptions = {}): Promise<unknown> {
    if (closed) throw new Error('the queue is closed: open it again to wait for results');
    options.signal?.throwIfAborted();
    const value = await new Promise<Buffer>((resolve, reject) => {
      const entry: Wait = { id, settle };
      const late =
        options.timeoutMs !== undefined &&
        timeout(options.timeoutMs, () => {
          settle(
            new ResultTimeout(
              `no result of task ${shortId(id)} within ${options.timeoutMs} ms: it may still come`,
            ),
          );
        });
      const onAbort = (): void => settle(options.signal?.reason as Error);
      function settle(outcome: Buffer | Error): void {
        if (!waits.delete(entry)) return;
        if (late) late.clear();
        options.signal?.removeEventListener('abort', onAbort);
        if (Buffer.isBuffer(outcome)) resolve(outcome);
        else reject(outcome);
        if (waits.size === 0) {
          timer?.clear();
          clearImmediate(immediate);
          timerAt = Infinity;
        }
      }
      waits.add(entry);
      options.signal?.addEventListener('abort', onAbort, { once: true });
      readSoon();
    });
    if (options.as === 'bytes') return value;
    return options.as === 'json' ? (JSON.parse(value.toString()) as unknown) : value.toString();
  }

  return {
    wait,
    [Symbol.asyncDispose]: async () => {
      closed = true;
      timer?.clear();
      clearImmediate(immediate);
      fail(new Error('the queue was closed while waiting for a result'));
      await (await watch)?.[Symbol.asyncDispose]();
    },
  };
}
