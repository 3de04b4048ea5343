/**
 * Reads results and errors by their ids: on the connections that also tell of changes, if the server tracks keys, otherwise on those
 * of the client.
 */
import type { Redis } from 'ioredis';
import type { RedisAddress } from '../connection/connection.ts';
import { replyCode } from '../connection/reply-code.ts';
import { RedisTimeout, within } from '../connection/within.ts';
import { openKeyWatch, REFUSED_PAUSE_MS, TrackingRefused, type KeyWatch } from '../watch.ts';

/** A read is repeated if less than `LEAST_BYTES` of its reply arrive in this time. */
const READ_TIMEOUT_MS = 5_000;
const LEAST_BYTES = 1 << 12;

/** A hash and its server. */
export interface HashPlace {
  readonly key: string;
  readonly address: RedisAddress;
  /** For reads where the server does not track keys. */
  readonly redis: Redis;
}

/** Results and errors by position of their ids. */
export type Replies = readonly [results: readonly (Buffer | null)[], failures: readonly (Buffer | null)[]];

type Ids = readonly (string | Buffer)[];

/** The watches of both hashes: one, where they are on one server. */
export interface HashWatches {
  readonly values: KeyWatch;
  readonly errors: KeyWatch;
}

/** The watches, opened when they are first needed. */
interface HashWatchesOpener extends AsyncDisposable {
  /** `undefined` if tracking was refused within the last minute, or if they cannot be opened now. */
  open(): Promise<HashWatches | undefined>;
  /** Reads both hashes: on the connections of the watches, if there are any. */
  read(watches: HashWatches | undefined, ids: Ids): Promise<Replies>;
  /** Whether every change of the keys that are read is reported. */
  report(watches: HashWatches | undefined): boolean;
  /** Closes them; the next `open` opens others. */
  drop(): void;
}

export function createHashWatches(
  values: HashPlace,
  errors: HashPlace,
  onChange: () => void,
  refusedPauseMs = REFUSED_PAUSE_MS,
): HashWatchesOpener {
  let watches: Promise<HashWatches | undefined> | undefined;
  /** In a cluster, a slot is moving: its keys are read from two nodes, and no change is reported. */
  let moving = false;
  let refusedAt = -Infinity;

  async function openBoth(): Promise<HashWatches | undefined> {
    await using stack = new AsyncDisposableStack();
    try {
      const ofValues = stack.use(await openKeyWatch(values.address, onChange));
      const isApart = errors.redis !== values.redis;
      const ofErrors = isApart ? stack.use(await openKeyWatch(errors.address, onChange)) : ofValues;
      stack.move();
      return { values: ofValues, errors: ofErrors };
    } catch (error) {
      if (error instanceof TrackingRefused) refusedAt = performance.now();
      watches = undefined;
      return undefined;
    }
  }

  return {
    open: async () =>
      performance.now() < refusedAt + refusedPauseMs ? undefined : await (watches ??= openBoth()),
    read: async (tracking, ids) => {
      if (!tracking) return await readBoth(values, errors, ids);
      try {
        const replies = await readTracked(tracking, values.key, errors.key, ids);
        moving = false;
        return replies;
      } catch (error) {
        // a watch stays at its server; the other connections follow a key that has moved already
        if (replyCode(error) !== 'ASK') throw error;
        moving = true;
        return await readBoth(values, errors, ids);
      }
    },
    report: (tracking) => isArmed(tracking) && !moving,
    drop: () => {
      const old = watches;
      watches = undefined;
      void old?.then(closeWatches).catch(() => undefined);
    },
    [Symbol.asyncDispose]: async () => await closeWatches(await watches),
  };
}

function isArmed(watches: HashWatches | undefined): boolean {
  return watches !== undefined && watches.values.armed && watches.errors.armed;
}

async function closeWatches(watches: HashWatches | undefined): Promise<void> {
  await Promise.all(
    Array.from(new Set(watches && Object.values(watches)), (one: KeyWatch) => one[Symbol.asyncDispose]()),
  );
}

interface Reader {
  readonly redis: Redis;
  readonly key: string;
}

/** Reads both hashes. */
function readBoth(values: Reader, errors: Reader, ids: Ids): Promise<Replies> {
  return Promise.all([
    values.redis.hmgetBuffer(values.key, ...ids),
    errors.redis.hmgetBuffer(errors.key, ...ids),
  ]);
}

/** The same on the watches' connections. Throws `RedisTimeout` when the reply makes no progress; a long one may take longer. */
async function readTracked(
  watches: HashWatches,
  valuesKey: string,
  errorsKey: string,
  ids: Ids,
): Promise<Replies> {
  const { reader } = watches.values;
  const answer = readBoth(
    { redis: reader, key: valuesKey },
    { redis: watches.errors.reader, key: errorsKey },
    ids,
  );
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
