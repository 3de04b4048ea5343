/**
 * Waits until replicas have the writes of a connection: Redis's WAIT. It makes a failover lose less, not nothing: the write is
 * done, and visible, before the replicas have it, and a replica that has it may still not be the one that takes over.
 */
import type { Redis } from 'ioredis';
import { within } from './connection.ts';
import { plural } from '../../runtime/plural.ts';

export interface Durability {
  /** Number of replicas that must confirm. */
  readonly replicas: number;
  /** How long to wait for them, ms. */
  readonly timeoutMs: number;
}

/** The longest `timeoutMs`: a connection that receives nothing for 10 s counts as dead. */
export const MAX_DURABILITY_MS = 5_000;

/** Allowance for the round trip. */
const SLACK_MS = 1_000;

/**
 * Too few replicas confirmed in time. The write itself was made; if Redis could not be reached any more, on a server that may no
 * longer be the primary.
 */
export class NotReplicated extends Error {
  override name = 'NotReplicated';
  /** Number of replicas that confirmed; 0 if Redis could not be reached. */
  readonly confirmed: number;
  constructor(what: string, { replicas, timeoutMs }: Durability, confirmed: number, cause?: unknown) {
    super(
      cause === undefined
        ? `${what}, but ${confirmed} of ${replicas} replicas confirmed it within ${timeoutMs} ms: ` +
            'a failover now may lose it; check the replication of Redis (INFO replication)'
        : `${what}, but it is unknown whether ${plural(replicas, 'replica has', 'replicas have')} it (${reasonOf(cause)}): ` +
            'another server may have taken over without it; check that one',
      { cause },
    );
    this.confirmed = confirmed;
  }
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

/**
 * Resolves when the replicas have everything that this connection has written; call it as soon as the reply to the last write
 * has arrived. Throws `NotReplicated`, its message prefixed with `what`, when too few confirm in time, and when that cannot be
 * determined: WAIT concerns the writes of its own connection, so if that was replaced, or the server is no longer the primary,
 * its reply would be meaningless. On a connection that has written nothing every replica confirms immediately.
 */
export async function awaitReplicas(redis: Redis, durability: Durability, what: string): Promise<void> {
  const { replicas, timeoutMs } = durability;
  const broken = Promise.withResolvers<never>();
  const onClose = (): void => broken.reject(new Error('the connection broke'));
  const answer = within(timeoutMs + SLACK_MS, redis.wait(replicas, timeoutMs), 'WAIT');
  // a client of a cluster has the connection of its last command, and none before the first one is open
  const { stream } = redis as { readonly stream?: Redis['stream'] };
  // each push that waits listens, and there may be any number of them
  stream?.setMaxListeners(0).once('close', onClose);
  if (!stream || stream.destroyed) onClose();
  let confirmed: number;
  try {
    confirmed = await Promise.race([answer, broken.promise]);
    if (redis.stream !== stream) throw new Error('the connection was replaced');
  } catch (error) {
    throw new NotReplicated(what, durability, 0, error);
  } finally {
    stream?.off('close', onClose);
  }
  if (confirmed < replicas) throw new NotReplicated(what, durability, confirmed);
}

/** Throws `RangeError` for values that WAIT does not accept, or that would look like a dead connection. */
export function checkDurability({ replicas, timeoutMs }: Durability): void {
  if (!Number.isInteger(replicas) || replicas < 1)
    throw new RangeError(`durability cannot wait for ${replicas} replicas: give 1 or more`);
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > MAX_DURABILITY_MS)
    throw new RangeError(
      `durability cannot wait for ${timeoutMs} ms: give a timeout from 1 ms to ${MAX_DURABILITY_MS} ms`,
    );
}
