/**
 * Waiting for results. All waits of a queue share one KeyWatch on the result hash and the errors: a notice triggers one HMGET for
 * the likeliest ids (waiting.ts), and the others follow until each was looked up. Lookups in vain keep the server from its work,
 * so each is followed by a pause in proportion, and a hash that others write to incessantly is read at intervals that grow up to
 * MAX_GAP_MS while nothing is found; after a pause of that length a notice is followed immediately. If the server does not track
 * keys, the same reads are made on a timer.
 */
import type { Redis } from 'ioredis';
import { replyCode } from '../connection/reply-code.ts';
import { timeout, type Timer } from '../../runtime/timers.ts';
import { TaskCancelled } from '../cancel.ts';
import type { RedisAddress } from '../connection/connection.ts';
import { parseHeader, type DeadHeader } from '../dead-letter-format.ts';
import type { QueueKeys } from '../keys.ts';
import { troubleOfRedis } from '../connection/redis-errors.ts';
import { WrongKeyType } from '../pool/sample.ts';
import { shortId } from '../task.ts';
import { createWaitSet } from './waiting.ts';
import { openKeyWatch, TrackingRefused, type KeyWatch } from '../watch.ts';
import { RedisTimeout, within } from '../connection/within.ts';

const MIN_GAP_MS = 1;
const MAX_GAP_MS = 50;
/** Ids that may be looked up in vain per ms, so that waiting takes no more than some 5 % of the server. */
const VAIN_PER_MS = 20;
/** Lookups in vain that one result found makes up for. */
const FOUND_PAYS = 8;
/** With more waits than this, a read that finds fewer results than `FEW` was too early: it looks up all for the sake of one. */
const MANY = 32;
const FEW = 16;
const PACED_MS = 10;
/** Ids in one command at most; fewer when results are long. */
const MOST_IDS = 1_000;
const FIRST_IDS = 64;
const MOST_BYTES = 8 << 20;
/** Read after this long even without a notice, which is only a hint. */
const SAFETY_MS = 2_000;
/** Such a read looks up all ids if that takes no more than this share of the time until the next. */
const SAFETY_SHARE = 0.1;
/** A read is repeated if less than `LEAST_BYTES` of its reply arrive in this time. */
const READ_TIMEOUT_MS = 5_000;
const LEAST_BYTES = 1 << 12;
const POLL_MS = 25;

export interface ResultOptions {
  /** Give up after this long, ms; by default, wait until there is a result. */
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

/** A waiting caller. */
interface Waiter {
  readonly id: string | Buffer;
  settle(value: Buffer | Error): void;
}

export function openResults(address: RedisAddress, keys: QueueKeys, redis: Redis): Results {
  const waits = createWaitSet<Waiter>();
  let watch: Promise<KeyWatch | undefined> | undefined;
  let timer: Timer | undefined;
  let timerAt = Infinity;
  let gap = 0;
  let debt = 0;
  let most = FIRST_IDS;
  let noticed = false; // something changed since the last read
  let immediate: NodeJS.Immediate | undefined;
  let lastRead = -Infinity;
  let lastOfAll = -Infinity;
  let reading = false;
  let again = false;
  let closed = false;

  /** Schedules a read within `ms`. */
  function readIn(ms: number): void {
    const at = performance.now() + ms;
    if (closed || waits.size === 0 || at >= timerAt) return;
    timer?.clear();
    clearImmediate(immediate);
    timerAt = at;
    // a timer takes at least 1 ms
    if (ms > 0) timer = timeout(ms, () => void read());
    else immediate = setImmediate(() => void read());
  }

  /** Schedules a read as soon as the interval since the last one allows. */
  function readSoon(): void {
    const distance = Math.min(Math.max(gap, debt), MAX_GAP_MS);
    readIn(Math.max(0, lastRead + distance - performance.now()));
  }

  /** A refusal of tracking is final; a server that was down is tried again at the next read. */
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

  /** A reader that gets no reply, and does not notice, must not hold up all waits: the next read opens another. */
  function dropWatch(): void {
    const old = watch;
    watch = undefined;
    void old?.then((tracking) => tracking?.[Symbol.asyncDispose]()).catch(() => undefined);
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
      lastRead = performance.now();
      const afterNotice = noticed;
      const forAllMs = waits.size / VAIN_PER_MS / SAFETY_SHARE;
      if (noticed || !tracking?.armed || lastRead - lastOfAll >= Math.max(SAFETY_MS, forAllMs)) {
        waits.changed();
        lastOfAll = lastRead;
      }
      noticed = false;
      const asked = waits.next(most, gap * VAIN_PER_MS);
      if (asked.length > 0) {
        const found = await (tracking ? answered(tracking.reader, asked) : readOnce(redis, asked));
        debt = Math.max(0, asked.length - FOUND_PAYS * found) / VAIN_PER_MS;
        // results arrive after their waits begin: only a notice about something else slows reads down
        if (found > 0) gap = waits.size > MANY ? paced(gap, found) : 0;
        else if (afterNotice) gap = Math.min(Math.max(MIN_GAP_MS, gap * 2), MAX_GAP_MS);
      }
      if (waits.unasked) readSoon();
      else readIn(tracking?.armed ? SAFETY_MS : POLL_MS);
    } catch (error) {
      waits.changed();
      if (error instanceof RedisTimeout) dropWatch();
      if (replyCode(error) === 'WRONGTYPE')
        fail(new WrongKeyType(keys.result, 'a hash', (error as Error).message));
      else if (isFinal(error, address) || error instanceof RangeError || error instanceof TypeError)
        fail(error as Error);
      readIn(MAX_GAP_MS); // the connection was lost: it reconnects by itself, and each wait has its own timeout
    } finally {
      reading = false;
      if (again) readSoon();
      again = false;
    }
  }

  function fail(error: Error): void {
    for (const waiter of waits) waiter.settle(error);
  }

  /** Throws `RedisTimeout` when the reply makes no progress; a long one may take longer. */
  async function answered(reader: Redis, asked: readonly Waiter[]): Promise<number> {
    const answer = readOnce(reader, asked);
    for (;;) {
      const before = reader.stream?.bytesRead ?? 0;
      try {
        return await within(READ_TIMEOUT_MS, answer, 'HMGET');
      } catch (error) {
        const came = (reader.stream?.bytesRead ?? 0) - before;
        // replies to pings still arrive on a connection that has lost this one
        if (!(error instanceof RedisTimeout) || came < LEAST_BYTES) throw error;
      }
    }
  }

  async function readOnce(reader: Redis, asked: readonly Waiter[]): Promise<number> {
    const ids = asked.map((asker) => asker.id);
    const [values, errors] = await Promise.all([
      reader.hmgetBuffer(keys.result, ...ids),
      reader.hmgetBuffer(keys.errors, ...ids),
    ]);
    const found: number[] = [];
    let bytes = 0;
    for (const [i, asker] of asked.entries()) {
      const value = values[i];
      const error = errors[i];
      if (value) asker.settle(value);
      else if (error) asker.settle(reasonOf(asker.id, parseHeader(error)));
      if (value ?? error) found.push(i);
      bytes += value?.length ?? 0;
    }
    waits.found(found);
    // a batch whose results are all present must fit into memory
    const fits = Math.floor((MOST_BYTES * found.length) / Math.max(bytes, 1));
    most = Math.max(1, Math.min(MOST_IDS, 2 * most, found.length > 0 ? fits : Infinity));
    return found.length;
  }

  function wait(id: string | Buffer, options: ResultOptions = {}): Promise<unknown> {
    const { signal, timeoutMs, as } = options;
    return new Promise((resolve, reject) => {
      if (closed) throw new Error('the queue is closed: open it again to wait for results');
      signal?.throwIfAborted();
      const onAbort = signal && ((): void => entry.settle(signal.reason as Error));
      const late =
        timeoutMs === undefined ? undefined : timeout(timeoutMs, () => entry.settle(tooLate(id, timeoutMs)));
      const entry: Waiter = {
        id,
        settle: (outcome) => {
          if (!waits.delete(entry)) return;
          late?.clear();
          if (onAbort) signal.removeEventListener('abort', onAbort);
          if (!Buffer.isBuffer(outcome)) reject(outcome);
          else if (as === 'json') resolve(parseJson(outcome));
          else resolve(as === 'bytes' ? outcome : outcome.toString());
          if (waits.size === 0) rest();
        },
      };
      waits.add(entry);
      if (onAbort) signal.addEventListener('abort', onAbort, { once: true });
      readSoon();
    });
  }

  /** No waits are left. */
  function rest(): void {
    timer?.clear();
    clearImmediate(immediate);
    timerAt = Infinity;
  }

  return {
    wait,
    [Symbol.asyncDispose]: async () => {
      closed = true;
      rest();
      fail(new Error('the queue was closed while waiting for a result'));
      await (await watch)?.[Symbol.asyncDispose]();
    },
  };
}

function tooLate(id: string | Buffer, ms: number): ResultTimeout {
  return new ResultTimeout(`no result of task ${shortId(id)} within ${ms} ms: it may still come`);
}

async function parseJson(value: Buffer): Promise<unknown> {
  return JSON.parse(value.toString()) as unknown;
}

/** The interval to the next read, ms, after one that found some results among many waits. */
function paced(gap: number, found: number): number {
  if (found < FEW) return Math.min(Math.max(MIN_GAP_MS, gap * 2), PACED_MS);
  return gap > MIN_GAP_MS ? gap / 2 : 0;
}

/** Not a connection error, which passes, but a refusal that somebody must fix. */
function isFinal(error: unknown, address: RedisAddress): boolean {
  return (
    replyCode(error) === 'NOPERM' ||
    ['credentials', 'database', 'cluster'].includes(troubleOfRedis(error, address))
  );
}
