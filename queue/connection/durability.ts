/**
 * Waiting until replicas have what was written: Redis's WAIT. It makes a failover lose less, not nothing: the write is
 * done, and visible, before the replicas have it, and a replica that has it may still not be the one that takes over.
 */
import type { Redis } from 'ioredis';
import { within } from './connection.ts';

export interface Durability {
  /** How many replicas are to confirm. */
  readonly replicas: number;
  /** How long to wait for them, ms. */
  readonly timeoutMs: number;
}

/** The longest `timeoutMs`: a connection on which nothing is heard for 10 s counts as dead. */
export const MAX_DURABILITY_MS = 5_000;

/** For the way there and back. */
const SLACK_MS = 1_000;

/**
 * Fewer replicas than asked for confirmed in time. What was written is written all the same; where Redis itself could not be
 * asked any more, on a server that may not be the primary now.
 */
export class NotReplicated extends Error {
  override name = 'NotReplicated';
  /** How many have it; 0 where nobody could be asked. */
  readonly confirmed: number;
  constructor(what: string, { replicas, timeoutMs }: Durability, confirmed: number, cause?: unknown) {
    super(
      cause === undefined
        ? `${what}, but ${confirmed} of ${replicas} replicas confirmed it within ${timeoutMs} ms: ` +
            'a failover now may lose it; look at the replication of Redis (INFO replication)'
        : `${what}, but Redis could not be asked whether ${replicas} replicas have it (${reasonOf(cause)}): ` +
            'another server may have taken over without it; look there',
      { cause },
    );
    this.confirmed = confirmed;
  }
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

/**
 * Resolves when the replicas have everything that this connection has written; to be called as soon as the answer to the
 * last write is there. Throws `NotReplicated`, its message begun with `what`, when too few have it in time, and when that
 * cannot be told: WAIT is about the writes of its own connection, so when that was replaced, or the server is no primary any
 * more, the answer would be about nothing. On a connection that has written nothing any replica confirms at once.
 */
export async function awaitReplicas(redis: Redis, durability: Durability, what: string): Promise<void> {
  const { replicas, timeoutMs } = durability;
  const { stream } = redis;
  const broken = Promise.withResolvers<never>();
  const onClose = (): void => broken.reject(new Error('the connection broke'));
  stream.once('close', onClose);
  if (stream.destroyed) onClose();
  let confirmed: number;
  try {
    const answer = within(timeoutMs + SLACK_MS, redis.wait(replicas, timeoutMs), 'WAIT');
    confirmed = await Promise.race([answer, broken.promise]);
    if (redis.stream !== stream) throw new Error('the connection was replaced');
  } catch (error) {
    throw new NotReplicated(what, durability, 0, error);
  } finally {
    stream.off('close', onClose);
  }
  if (confirmed < replicas) throw new NotReplicated(what, durability, confirmed);
}

/** Throws `RangeError` for what WAIT cannot do, or what would be taken for a dead connection. */
export function checkDurability({ replicas, timeoutMs }: Durability): void {
  if (!Number.isInteger(replicas) || replicas < 1)
    throw new RangeError(`durability cannot wait for ${replicas} replicas: give 1 or more`);
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > MAX_DURABILITY_MS)
    throw new RangeError(
      `durability cannot wait for ${timeoutMs} ms: give a timeout from 1 ms to ${MAX_DURABILITY_MS} ms`,
    );
}
