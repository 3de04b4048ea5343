/**
 * Reads the results that are waited for: after each notice of a change, and in any case every SAFETY_MS. If the server does not
 * track keys, the same reads are made on a timer.
 */
import type { RedisAddress } from '../connection/connection.ts';
import { troubleOfRedis } from '../connection/redis-errors.ts';
import { replyCode } from '../connection/reply-code.ts';
import { RedisTimeout } from '../connection/within.ts';
import { parseHeader } from '../dead-letter-format.ts';
import { WrongKeyType } from '../pool/sample.ts';
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
import { createHashWatches, type HashPlace, type Replies, type HashWatches } from './result-watches.ts';
import type { WaitSet } from './waiting.ts';

const POLL_MS = 25;

/** A waiting caller. */
export interface Waiter {
  readonly id: string | Buffer;
  settle(value: Buffer | Error): void;
}

export interface ResultReaderOptions {
  readonly values: HashPlace;
  /** On the same server, with the same `redis`, unless they are in a Redis Cluster. */
  readonly errors: HashPlace;
  readonly waits: WaitSet<Waiter>;
}

/** Disposing it ends the reads and closes its connections. */
export interface ResultReader extends AsyncDisposable {
  /** Schedules a read as soon as the interval since the last one allows. */
  readSoon(): void;
  /** No waits are left: nothing is read until `readSoon`. */
  rest(): void;
}

export function createResultReader({ values, errors, waits }: ResultReaderOptions): ResultReader {
  const schedule = createSchedule(() => void read());
  let pace = initialPace;
  let noticed = false; // something changed since the last read
  let lastRead = -Infinity;
  let lastOfAll = -Infinity;
  let reading = false;
  let again = false;
  const watches = createHashWatches(values, errors, () => {
    noticed = true;
    readSoon();
  });

  /** Schedules a read within `ms`. */
  function readIn(ms: number): void {
    if (waits.size > 0) schedule.in(ms);
  }

  function readSoon(): void {
    readIn(Math.max(0, lastRead + pauseAfter(pace) - performance.now()));
  }

  async function read(): Promise<void> {
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    try {
      const tracking = await watches.open();
      await lookUpNext(tracking);
      if (waits.unasked) readSoon();
      else readIn(watches.report(tracking) ? SAFETY_MS : POLL_MS);
    } catch (error) {
      onFailure(error);
      readIn(MAX_GAP_MS); // the connection was lost: it reconnects by itself, and each wait has its own timeout
    } finally {
      reading = false;
      if (again) readSoon();
      again = false;
    }
  }

  async function lookUpNext(tracking: HashWatches | undefined): Promise<void> {
    lastRead = performance.now();
    const afterNotice = noticed;
    if (noticed || !watches.report(tracking) || lastRead - lastOfAll >= safetyMs(waits.size)) {
      waits.changed();
      lastOfAll = lastRead;
    }
    noticed = false;
    const asked = waits.next(pace.mostIds, vainIds(pace));
    if (asked.length === 0) return;
    const ids = asked.map((asker) => asker.id);
    const { found, bytes } = settle(asked, await watches.read(tracking, ids));
    waits.found(found);
    pace = sized(pace, found.length, bytes);
    pace = spaced(pace, {
      asked: asked.length,
      found: found.length,
      waits: waits.size,
      noticed: afterNotice,
    });
  }

  /** What no other read would change fails all waits. */
  function onFailure(error: unknown): void {
    waits.changed();
    // a reader that gets no reply, and does not notice, must not hold up all waits: the next read opens another
    if (error instanceof RedisTimeout) watches.drop();
    const wrongType = replyCode(error) === 'WRONGTYPE';
    if (!wrongType && !isFinal(error, values.address)) return;
    const reason = error as Error;
    const final = wrongType ? new WrongKeyType(values.key, 'a hash', reason.message) : reason;
    for (const waiter of waits) waiter.settle(final);
  }

  return {
    readSoon,
    rest: schedule.rest,
    [Symbol.asyncDispose]: async () => {
      schedule.end();
      await watches[Symbol.asyncDispose]();
    },
  };
}

/** When the next read is: of several times, the earliest. */
interface Schedule {
  in(ms: number): void;
  /** Nothing is scheduled any more, until `in`. */
  rest(this: void): void;
  /** Nothing is ever scheduled again. */
  end(): void;
}

function createSchedule(run: () => void): Schedule {
  let timer: Timer | undefined;
  let immediate: NodeJS.Immediate | undefined;
  let at = Infinity;
  let ended = false;
  const fire = (): void => {
    at = Infinity;
    run();
  };
  const rest = (): void => {
    timer?.clear();
    clearImmediate(immediate);
    at = Infinity;
  };
  return {
    in: (ms) => {
      const wanted = performance.now() + ms;
      if (ended || wanted >= at) return;
      rest();
      at = wanted;
      // a timer takes at least 1 ms
      if (ms > 0) timer = timeout(ms, fire);
      else immediate = setImmediate(fire);
    },
    rest,
    end: () => {
      ended = true;
      rest();
    },
  };
}

/** Settles what was found. Returns which were, by position, and the bytes of all values. */
function settle(asked: readonly Waiter[], [results, failures]: Replies): { found: number[]; bytes: number } {
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
  return { found, bytes };
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
