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
import { resultErrorOf } from './result-errors.ts';
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

/** A hash and its server. */
export interface HashPlace {
  readonly key: string;
  readonly address: RedisAddress;
  /** For reads where the server does not track keys. */
  readonly redis: Redis;
}

export interface ResultReaderOptions {
  readonly values: HashPlace;
  /** On the same server, with the same `redis`, unless they are in a Redis Cluster. */
  readonly errors: HashPlace;
  readonly waits: WaitSet<Waiter>;
}

/** The watches of both hashes: one, where they are on one server. */
interface Watches {
  readonly values: KeyWatch;
  readonly errors: KeyWatch;
}

/** Disposing it ends the reads and closes its connections. */
export interface ResultReader extends AsyncDisposable {
  /** Schedules a read as soon as the interval since the last one allows. */
  readSoon(): void;
  /** No waits are left: nothing is read until `readSoon`. */
  rest(): void;
}

export function createResultReader({ values, errors, waits }: ResultReaderOptions): ResultReader {
  let watch: Promise<Watches | undefined> | undefined;
  let timer: Timer | undefined;
  let timerAt = Infinity;
  let immediate: NodeJS.Immediate | undefined;
  let pace = initialPace;
  let noticed = false; // something changed since the last read
  let lastRead = -Infinity;
  let lastOfAll = -Infinity;
  /** In a cluster, a slot is moving: its keys are read from two nodes, and no change is reported. */
  let moving = false;
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
  async function openWatch(): Promise<Watches | undefined> {
    const onChange = (): void => {
      noticed = true;
      readSoon();
    };
    await using stack = new AsyncDisposableStack();
    try {
      const ofValues = stack.use(await openKeyWatch(values.address, onChange));
      const isApart = errors.redis !== values.redis;
      const ofErrors = isApart ? stack.use(await openKeyWatch(errors.address, onChange)) : ofValues;
      stack.move();
      return { values: ofValues, errors: ofErrors };
    } catch (error) {
      if (!(error instanceof TrackingRefused)) watch = undefined;
      return undefined;
    }
  }

  /** A reader that gets no reply, and does not notice, must not hold up all waits: the next read opens another. */
  function dropWatch(): void {
    const old = watch;
    watch = undefined;
    void old?.then(closeWatches).catch(() => undefined);
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
      else readIn(isArmed(tracking) && !moving ? SAFETY_MS : POLL_MS);
    } catch (error) {
      onFailure(error);
      readIn(MAX_GAP_MS); // the connection was lost: it reconnects by itself, and each wait has its own timeout
    } finally {
      reading = false;
      if (again) readSoon();
      again = false;
    }
  }

  async function lookUpNext(tracking: Watches | undefined): Promise<void> {
    lastRead = performance.now();
    const afterNotice = noticed;
    if (noticed || moving || !isArmed(tracking) || lastRead - lastOfAll >= safetyMs(waits.size)) {
      waits.changed();
      lastOfAll = lastRead;
    }
    noticed = false;
    const asked = waits.next(pace.mostIds, vainIds(pace));
    if (asked.length === 0) return;
    const found = await (tracking ? armed(tracking, asked) : readOnce(values.redis, errors.redis, asked));
    pace = spaced(pace, { asked: asked.length, found, waits: waits.size, noticed: afterNotice });
  }

  /** A watch stays at its server; the other connections follow a key that has moved already. */
  async function armed(watches: Watches, asked: readonly Waiter[]): Promise<number> {
    try {
      const found = await answered(watches, asked);
      moving = false;
      return found;
    } catch (error) {
      if (replyCode(error) !== 'ASK') throw error;
      moving = true;
      return await readOnce(values.redis, errors.redis, asked);
    }
  }

  /** What no other read would change fails all waits. */
  function onFailure(error: unknown): void {
    waits.changed();
    if (error instanceof RedisTimeout) dropWatch();
    const wrongType = replyCode(error) === 'WRONGTYPE';
    if (!wrongType && !isFinal(error, values.address)) return;
    const reason = error as Error;
    const final = wrongType ? new WrongKeyType(values.key, 'a hash', reason.message) : reason;
    for (const waiter of waits) waiter.settle(final);
  }

  /** Throws `RedisTimeout` when the reply makes no progress; a long one may take longer. */
  async function answered(watches: Watches, asked: readonly Waiter[]): Promise<number> {
    const { reader } = watches.values;
    const answer = readOnce(reader, watches.errors.reader, asked);
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
  async function readOnce(ofValues: Redis, ofErrors: Redis, asked: readonly Waiter[]): Promise<number> {
    const ids = asked.map((asker) => asker.id);
    const [results, failures] = await Promise.all([
      ofValues.hmgetBuffer(values.key, ...ids),
      ofErrors.hmgetBuffer(errors.key, ...ids),
    ]);
    const found: number[] = [];
    let bytes = 0;
    for (const [i, asker] of asked.entries()) {
      const value = results[i];
      const error = failures[i];
      if (value) asker.settle(value);
      else if (error) asker.settle(resultErrorOf(asker.id, parseHeader(error)));
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
      await closeWatches(await watch);
    },
  };
}

function isArmed(watches: Watches | undefined): boolean {
  return watches !== undefined && watches.values.armed && watches.errors.armed;
}

async function closeWatches(watches: Watches | undefined): Promise<void> {
  await Promise.all(
    Array.from(new Set(watches && Object.values(watches)), (one: KeyWatch) => one[Symbol.asyncDispose]()),
  );
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
