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
  readonly retried: number;
  readonly recovered: number;
  readonly fenced: number;
  readonly serviceUs: number;
}

export interface QueueSample {
  /** Redis time, ms. */
  readonly now: number;
  readonly waiting: number;
  readonly inFlight: number;
  /** Workers that hold at least one task. */
  readonly busy: number;
  readonly delayed: number;
  /** Of the delayed, those whose time has come but that no worker has moved to the queue yet. */
  readonly due: number;
  /** When the next delayed task falls due, ms of Redis time. */
  readonly nextDue: number | undefined;
  readonly dead: number;
  readonly workers: number;
  /** Workers whose lease is over: time to reap. */
  readonly expired: number;
  readonly counters: QueueCounters;
  /** Workers, registered or not yet, that are to drain. */
  readonly leaving: number;
  /** Tasks in each bucket of slow ones, since ever: see slow.ts. */
  readonly slow: readonly number[];
}

/** One consistent look at a queue. Throws `WrongKeyType` when the queue or the result key holds something else. */
export async function sampleQueue(redis: Redis, keys: QueueKeys): Promise<QueueSample> {
  const reply = (await script(redis, 'sample')(
    keys.queue,
    keys.result,
    keys.workers,
    keys.load,
    keys.delayed,
    keys.dead,
    keys.stats,
    keys.leaving,
    SLOW_BUCKETS,
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
    (Buffer | null)[],
  ];
  const [now, length, resultType, delayed, due, nextDue, dead, inFlight, busy, workers, expired, stats] =
    reply;
  const [leaving, slow] = [reply[12], reply[13].map(Number)];
  if (typeof length !== 'number') throw new WrongKeyType(keys.queue, 'a list', length.toString());
  if (!['hash', 'none'].includes(resultType.toString()))
    throw new WrongKeyType(keys.result, 'a hash', `it is a ${resultType.toString()}`);
  const [taken, completed, failed, retried, recovered, fenced, serviceUs] = stats.map(Number) as [
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
    inFlight,
    busy,
    delayed,
    due,
    dead,
    workers,
    expired,
    leaving,
    slow,
    nextDue: nextDue.length === 0 ? undefined : Number(nextDue),
    counters: {
      taken,
      completed,
      failed,
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
