/** Reads all queues of a pool: a sample, or why there is none. Expired leases found on the way are recovered immediately. */
import { combineSamples } from '../../queue/pool/pool-sample.ts';
import {
  describeRedisError,
  RedisTimeout,
  within,
  type RedisAddress,
} from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { recoverLost } from '../../queue/workers/recover.ts';
import { UnexpectedReply } from '../../queue/scripts/decode-reply.ts';
import { ReplyRefused } from '../../queue/connection/reply-scanner.ts';
import { sampleQueue, WrongKeyType } from '../../queue/pool/sample.ts';
import { deliverReports } from '../../queue/workers/batch-reports.ts';
import { sweep } from '../../queue/workers/sweep.ts';
import type { Watched } from '../../queue/sources/ask.ts';
import { readSource } from '../../queue/sources/read.ts';
import { SourceTrouble, type Source } from '../../queue/sources/source.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Sampled } from './sampled.ts';

export interface QueuesRead {
  readonly sampled: Sampled;
  /** The queues where a first task would be new: empty and not paused. */
  readonly quiet: readonly QueueKeys[];
  /** How long the answer took, or was awaited; `undefined` if there was no connection. */
  readonly roundTripMs: number | undefined;
  /** Of a source: the keys whose change wakes it. */
  readonly watched?: readonly Watched[];
}

/** Why a queue could not be read: a condition's reason, and a human-readable text. */
export type Blindness = Pick<Extract<Sampled, { kind: 'unknown' }>, 'reason' | 'why'>;

export interface ReadOptions {
  readonly redisOf: RedisOf;
  /** Determines what is wrong with the server. */
  readonly explain: (error: unknown) => Blindness;
  readonly log: Logger;
}

const ANSWER_TIMEOUT_MS = 3_000;
/** Counted as within the horizon too: clocks differ, and a round trip takes time, ms. */
const LENIENCE_MS = 50;

/** Counts what falls due within `horizonMs`. Never rejects. */
export async function readQueues(
  { redisOf, explain, log }: ReadOptions,
  queues: readonly QueueKeys[],
  horizonMs: number,
): Promise<QueuesRead> {
  const asked = performance.now();
  let roundTripMs: number | undefined;
  const unknown = (blindness: Blindness): QueuesRead => ({
    sampled: { kind: 'unknown', ...blindness },
    quiet: [],
    roundTripMs,
  });
  try {
    const reading = Promise.all(
      queues.map((keys) => sampleQueue(redisOf(keys), keys, horizonMs + LENIENCE_MS)),
    );
    const samples = await within(ANSWER_TIMEOUT_MS, reading, 'the sample');
    roundTripMs = performance.now() - asked;
    for (const [i, { expired, silent, suspects, workers }] of samples.entries()) {
      const keys = queues[i];
      const stranded = suspects > 0 && workers === 0;
      if (keys && (expired > 0 || silent || stranded))
        await within(ANSWER_TIMEOUT_MS, recoverLost(redisOf(keys), keys, log), 'the recovery');
    }
    const quiet = queues.filter((_, i) => samples[i]?.waiting === 0 && !samples[i].paused);
    // the same array if all are quiet, to save memory
    return {
      sampled: {
        kind: 'known',
        sample: combineSamples(
          samples,
          queues.map(({ queue }) => queue),
        ),
      },
      quiet: quiet.length === queues.length ? queues : quiet,
      roundTripMs,
    };
  } catch (error) {
    const late = error instanceof RedisTimeout && isReady(redisOf, queues);
    if (late || error instanceof WrongKeyType) roundTripMs ??= performance.now() - asked;
    return unknown(
      error instanceof WrongKeyType ? { reason: 'WrongKeyType', why: error.message } : explain(error),
    );
  }
}

/** Reads a source instead of the queues, which only locate the stored records. Never rejects. */
export async function readFromSource(
  { redisOf, explain }: ReadOptions,
  source: Source,
  queues: readonly QueueKeys[],
  horizonMs: number,
): Promise<QueuesRead> {
  const asked = performance.now();
  try {
    const [first] = queues;
    if (!first) throw new RangeError('a pool has at least one queue');
    const reading = readSource(redisOf(first), source, horizonMs + LENIENCE_MS);
    const { sample, watched } = await within(ANSWER_TIMEOUT_MS, reading, 'the sample');
    // what may not run yet is no reason to listen less: a key changes when it may
    const quiet = sample.runnable.waiting === 0 && sample.pausedQueues === 0 ? queues : [];
    const roundTripMs = performance.now() - asked;
    return { sampled: { kind: 'known', sample }, quiet, roundTripMs, watched };
  } catch (error) {
    const answered = error instanceof WrongKeyType || error instanceof SourceTrouble;
    const late = error instanceof RedisTimeout && isReady(redisOf, queues);
    return {
      sampled: { kind: 'unknown', ...sourceBlindness(error, explain) },
      quiet: [],
      roundTripMs: answered || late ? performance.now() - asked : undefined,
    };
  }
}

function isReady(redisOf: RedisOf, queues: readonly QueueKeys[]): boolean {
  return queues.every((keys) => redisOf(keys).status === 'ready');
}

function sourceBlindness(error: unknown, explain: ReadOptions['explain']): Blindness {
  if (error instanceof WrongKeyType) return { reason: 'WrongKeyType', why: error.message };
  if (error instanceof SourceTrouble) return { reason: `Source${error.kind}`, why: error.message };
  return explain(error);
}

/** Removes expired entries, and tells partitions of batches what others have noted for them. Never rejects. */
export async function sweepAll(
  { redisOf, log }: Pick<ReadOptions, 'redisOf' | 'log'>,
  queues: readonly QueueKeys[],
): Promise<void> {
  for (const keys of queues)
    await sweep(redisOf(keys), keys)
      .then(() => deliverReports(redisOf, keys))
      .catch((error: unknown) => {
        log.debug({ queue: keys.queue, err: error }, 'failed to remove expired entries');
      });
}

/** Why the queues cannot be read, from an error of the connection to `address`. */
export function blindnessOf(error: unknown, address: RedisAddress): Blindness {
  const why = describeRedisError(error, address, 'withheld');
  if (error instanceof ReplyRefused)
    return { reason: error.kind === 'TooLarge' ? 'ReplyTooLarge' : 'UnexpectedReply', why };
  return { reason: error instanceof UnexpectedReply ? 'UnexpectedReply' : 'Unreachable', why };
}
