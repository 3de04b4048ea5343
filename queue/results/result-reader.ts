/**
 * Reads the results that are waited for: after each notice of a change, and in any case every SAFETY_MS. If the server does not
 * track keys, the same reads are made on a timer.
 */
import type { Redis } from 'ioredis';
import type { RedisAddress } from '../connection/connection.ts';
import { troubleOfRedis } from '../connection/redis-errors.ts';
import { replyCode } from '../connection/reply-code.ts';
import { RedisTimeout, within } from '../connection/within.ts';
import { parseHeader } from '../dead-letter-format.ts';
import type { QueueKeys } from '../keys.ts';
import { WrongKeyType } from '../pool/sample.ts';
import { openKeyWatch, TrackingRefused, type KeyWatch } from '../watch.ts';
import { timeout, type Timer } from '../../runtime/timers.ts';
import {
  initialPace,
  MAX_GAP_MS,
  pauseAfter,
  SAFETY_MS,
  safetyMs,
  sized,
  spaced,
  vainIds,
} from './read-pace.ts';
import { errorOf } from './result-errors.ts';
import type { WaitSet } from './waiting.ts';

/** A read is repeated if less than `LEAST_BYTES` of its reply arrive in this time. */
const READ_TIMEOUT_MS = 5_000;
const LEAST_BYTES = 1 << 12;
const POLL_MS = 25;

/** A waiting caller. */
export interface Waiter {
  readonly id: string | Buffer;
  settle(value: Buffer | Error): void;
}

export interface ResultReaderOptions {
  readonly address: RedisAddress;
  readonly keys: QueueKeys;
  /** For reads where the server does not track keys. */
  readonly redis: Redis;
  readonly waits: WaitSet<Waiter>;
}

/** Disposing it ends the reads and closes its connections. */
export interface ResultReader extends AsyncDisposable {
  /** Schedules a read as soon as the interval since the last one allows. */
  readSoon(): void;
  /** No waits are left: nothing is read until `readSoon`. */
  rest(): void;
}

export function createResultReader({ address, keys, redis, waits }: ResultReaderOptions): ResultReader {
  let watch: Promise<KeyWatch | undefined> | undefined;
  let timer: Timer | undefined;
  let timerAt = Infinity;
  let immediate: NodeJS.Immediate | undefined;
  let pace = initialPace;
  let noticed = false; // something changed since the last read
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

  function readSoon(): void {
    readIn(Math.max(0, lastRead + pauseAfter(pace) - performance.now()));
  }

  function rest(): void {
    timer?.clear();
    clearImmediate(immediate);
    timerAt = Infinity;
  }

  /** A refusal of tracking is final; after any other failure the next read retries. */
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
      await lookUpNext(tracking);
      if (waits.unasked) readSoon();
      else readIn(tracking?.armed ? SAFETY_MS : POLL_MS);
    } catch (error) {
      onFailure(error);
      readIn(MAX_GAP_MS); // the connection was lost: it reconnects by itself, and each wait has its own timeout
    } finally {
      reading = false;
      if (again) readSoon();
      again = false;
    }
  }

  async function lookUpNext(tracking: KeyWatch | undefined): Promise<void> {
    lastRead = performance.now();
    const afterNotice = noticed;
    if (noticed || !tracking?.armed || lastRead - lastOfAll >= safetyMs(waits.size)) {
      waits.changed();
      lastOfAll = lastRead;
    }
    noticed = false;
    const asked = waits.next(pace.mostIds, vainIds(pace));
    if (asked.length === 0) return;
    const found = await (tracking ? answered(tracking.reader, asked) : readOnce(redis, asked));
    pace = spaced(pace, { asked: asked.length, found, waits: waits.size, noticed: afterNotice });
  }

  /** What no other read would change fails all waits. */
  function onFailure(error: unknown): void {
    waits.changed();
    if (error instanceof RedisTimeout) dropWatch();
    const wrongType = replyCode(error) === 'WRONGTYPE';
    if (!wrongType && !isFinal(error, address)) return;
    const reason = error as Error;
    const final = wrongType ? new WrongKeyType(keys.result, 'a hash', reason.message) : reason;
    for (const waiter of waits) waiter.settle(final);
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

  /** Settles what was found, and resolves to the number. */
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
      else if (error) asker.settle(errorOf(asker.id, parseHeader(error)));
      if (value ?? error) found.push(i);
      bytes += value?.length ?? 0;
    }
    waits.found(found);
    pace = sized(pace, found.length, bytes);
    return found.length;
  }

  return {
    readSoon,
    rest,
    [Symbol.asyncDispose]: async () => {
      closed = true;
      rest();
      await (await watch)?.[Symbol.asyncDispose]();
    },
  };
}

/** Not a connection error, which passes, but a refusal that somebody must fix, or an id or an address that cannot be one. */
function isFinal(error: unknown, address: RedisAddress): boolean {
  return (
    error instanceof RangeError ||
    error instanceof TypeError ||
    replyCode(error) === 'NOPERM' ||
    ['credentials', 'database', 'cluster'].includes(troubleOfRedis(error, address))
  );
}
