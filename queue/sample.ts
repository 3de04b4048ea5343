/** One consistent look at a queue: what waits, what runs, what has been done (sample.lua). Reads only. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { script } from './scripts.ts';
import { SLOW_BUCKETS } from './slow.ts';

export interface QueueCounters {
  /** Tasks that workers took and did not hand back. */
  readonly taken: number;
  readonly completed: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly retried: number;
  readonly recovered: number;
  readonly fenced: number;
  readonly serviceUs: number;
}

export interface QueueSample {
  /** Redis time, ms. */
  readonly now: number;
  /** In the queue, and suspects. */
  readonly waiting: number;
  /** Tasks that were put aside to run alone. */
  readonly suspects: number;
  readonly inFlight: number;
  /** Workers that hold at least one task. */
  readonly busy: number;
  readonly delayed: number;
  /** Of the delayed, those whose time has come but that no worker has moved to the queue yet. */
  readonly due: number;
  /** Those whose time comes within the horizon. */
  readonly dueSoon: number;
  /** When the next delayed task falls due, ms of Redis time. */
  readonly nextDue: number | undefined;
  readonly dead: number;
  /** Workers take nothing from it until it is resumed. */
  readonly paused: boolean;
  readonly workers: number;
  /** Workers whose lease is over: time to reap. */
  readonly expired: number;
  /** When the first lease ends that nobody renews, ms of Redis time. */
  readonly nextExpiry: number | undefined;
  /** Results, errors or dead letters are past their time: time to sweep. */
  readonly overdue: boolean;
  readonly counters: QueueCounters;
  /** Workers, registered or not yet, that are to drain. */
  readonly leaving: number;
  /** Tasks in each bucket of slow ones, since ever: see slow.ts. */
  readonly slow: readonly number[];
}

/**
 * One consistent look at a queue, and ahead at what falls due within `horizonMs`. Throws `WrongKeyType` when the queue or the
 * result key holds something else.
 */
export async function sampleQueue(redis: Redis, keys: QueueKeys, horizonMs = 0): Promise<QueueSample> {
  const reply = (await script(redis, 'sample')(
    keys.queue,
    keys.result,
    keys.workers,
    keys.load,
    keys.delayed,
    keys.dead,
    keys.stats,
    keys.paused,
    keys.expiry,
    keys.suspects,
    keys.leaving,
    SLOW_BUCKETS,
    Math.round(horizonMs),
  )) as [
    number,
    number | Buffer,
    Buffer,
    number,
    number,
    Buffer,
    number,
    number,
    number,
    number,
    number,
    (Buffer | null)[],
    number,
    number,
    number,
    number,
    (Buffer | null)[],
    Buffer,
    number,
  ];
  const [
    now,
    length,
    resultType,
    delayed,
    due,
    nextDue,
    dead,
    inFlight,
    busy,
    workers,
    expired,
    stats,
    paused,
    sweep,
    suspects,
    leaving,
    slow,
    nextExpiry,
    dueSoon,
  ] = reply;
  if (typeof length !== 'number') throw new WrongKeyType(keys.queue, 'a list', length.toString());
  if (!['hash', 'none'].includes(resultType.toString()))
    throw new WrongKeyType(keys.result, 'a hash', `it is a ${resultType.toString()}`);
  const [taken, completed, failed, retried, recovered, fenced, serviceUs, cancelled] = stats.map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return {
    now,
    waiting: length,
    suspects,
    inFlight,
    busy,
    delayed,
    due,
    dueSoon,
    dead,
    workers,
    expired,
    nextExpiry: nextExpiry.length === 0 ? undefined : Number(nextExpiry),
    paused: paused === 1,
    overdue: sweep === 1,
    leaving,
    slow: slow.map(Number),
    nextDue: nextDue.length === 0 ? undefined : Number(nextDue),
    counters: {
      taken,
      completed,
      failed,
      cancelled,
      retried,
      recovered,
      fenced,
      serviceUs,
    },
  };
}

export class WrongKeyType extends Error {
  override name = 'WrongKeyType';
  constructor(key: string, wanted: string, found: string) {
    super(
      `the key "${key}" is not ${wanted} (${found}): nothing was touched; use another key, or remove that one`,
    );
  }
}
