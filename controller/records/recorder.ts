/**
 * `controller/records/` takes observations and memories and keeps them in Redis: timeline, decisions, what was learned;
 * returns them to explain and to continue from. No decision may wait for it.
 *
 * Records the history of pools in Redis, beside their first queues: the timeline (ten seconds per entry) and the last decisions.
 * It receives observations and writes in the background, concurrent writes in one pipeline; nothing waits for it, and writes that
 * fail are lost. An idle pool costs no write, no timer, and hardly any memory.
 */
import type { Redis } from 'ioredis';
import { within } from '../../queue/connection/connection.ts';
import { putDecision } from '../../queue/pool/decisions.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { appendToTimeline } from '../../queue/pool/timeline.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { timeout, type Timer } from '../../runtime/timers.ts';
import {
  decisionAfter,
  headOf,
  isWorthABeginning,
  packDecision,
  type DecisionRecord,
  type Head,
} from './decisions.ts';
import { recordKeysOf, type QueueLink } from '../sample/sampler.ts';
import type { Observation } from '../observe/observation.ts';
import {
  beginStretch,
  entryOf,
  extendStretch,
  isEventful,
  standingOf,
  type Standing,
  type Stretch,
} from './timeline.ts';

export interface Recorder extends AsyncDisposable {
  /** Records an observation of a pool, `namespace/name`. */
  observed(pool: string, link: QueueLink, observation: Observation): void;
  /** The pool is deleted, or being deleted. */
  forget(pool: string): void;
}

export interface HistoryOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** The duration of one entry of the timeline, ms. */
  readonly stretchMs?: number;
}

interface PoolHistory {
  link: QueueLink;
  standing: Standing;
  open: { stretch: Stretch; readonly timer: Timer } | undefined;
  /** The newest decision in Redis, and its latest confirmation, which is not written yet. */
  head: Head | undefined;
  confirmed: DecisionRecord | undefined;
}

const ANSWER_TIMEOUT_MS = 2_000;
const NOTHING: Standing = {
  known: true,
  waiting: 0,
  inFlight: 0,
  delayed: 0,
  dead: 0,
  replicas: 0,
  ready: 0,
  desired: 0,
};

/** Starts empty. Disposing writes what is still open. */
export function createRecorder({ clock, log, stretchMs = 10_000 }: HistoryOptions): Recorder {
  const entries = new Map<string, PoolHistory>();
  const writing = new Set<Promise<void>>();

  /** Never rejects. */
  function write(pool: string, what: string, writes: Promise<void>, onFailure = (): void => {}): void {
    const written = within(ANSWER_TIMEOUT_MS, writes, what)
      .catch((error: unknown) => {
        onFailure();
        log.debug({ pool, err: error }, `failed to write the ${what} of a pool`);
      })
      .finally(() => writing.delete(written));
    writing.add(written);
  }

  function decide(pool: string, entry: PoolHistory, seen: Observation): void {
    const { record, same } = decisionAfter(entry.head, seen);
    entry.head = headOf(record);
    entry.confirmed = same ? record : undefined;
    if (!same) writeDecision(pool, entry, record);
  }

  function writeDecision(pool: string, entry: PoolHistory, record: DecisionRecord): void {
    const { redis, keys } = placeOf(entry);
    entry.confirmed = undefined;
    // the next observation starts a new one
    const onFailure = (): void => void (entry.head = undefined);
    write(pool, 'decision', putDecision(redis, keys, pool, packDecision(record)), onFailure);
  }

  function open(pool: string, entry: PoolHistory, stretch: Stretch): void {
    const timer = timeout(stretchMs, () => close(pool, entry));
    entry.open = { stretch, timer };
  }

  /** Writes a stretch that has ended and begins the next one, unless nothing happened in it. */
  function close(pool: string, entry: PoolHistory, last?: 'last'): void {
    if (!entry.open) return;
    const { stretch, timer } = entry.open;
    timer.clear();
    entry.open = undefined;
    const now = clock.elapsed();
    const place = placeOf(entry);
    write(pool, 'timeline', appendToTimeline(place.redis, place.keys, pool, entryOf(stretch, now)));
    if (entry.confirmed) writeDecision(pool, entry, entry.confirmed);
    if (stretch.eventful && !last) open(pool, entry, beginStretch(now, stretch.standing));
  }

  return {
    observed: (pool, link, seen) => {
      let entry = entries.get(pool);
      if (!entry) {
        const still = !seen.known || !isEventful(seen, NOTHING);
        if (still && !isWorthABeginning(seen)) return;
        entry = { link, standing: NOTHING, open: undefined, head: undefined, confirmed: undefined };
        entries.set(pool, entry);
      }
      entry.link = link;
      decide(pool, entry, seen);
      if (entry.open) entry.open.stretch = extendStretch(entry.open.stretch, seen);
      else if (isEventful(seen, entry.standing))
        open(pool, entry, extendStretch(beginStretch(seen.elapsed, entry.standing), seen));
      entry.standing = standingOf(seen);
    },
    forget: (pool) => {
      entries.get(pool)?.open?.timer.clear();
      entries.delete(pool);
    },
    [Symbol.asyncDispose]: async () => {
      for (const [pool, entry] of entries) close(pool, entry, 'last');
      await Promise.all(writing);
    },
  };
}

function placeOf({ link }: PoolHistory): { redis: Redis; keys: QueueKeys } {
  const keys = recordKeysOf(link);
  return { redis: link.sampler.redisOf(keys), keys };
}
