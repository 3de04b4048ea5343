/** The two places of a move: where the queue is, and where it goes. Each may be one server, behind sentinels, or a cluster. */
import type { Redis } from 'ioredis';
import { openClusterLinks } from '../connection/cluster/links.ts';
import { closeRedis, openRedis, redisNow, RESEND, type RedisAddress } from '../connection/connection.ts';
import { replyCode } from '../connection/reply-code.ts';
import { resultExpiryKey, type QueueKeys } from '../keys.ts';
import { locationOf } from '../location.ts';
import { defineScripts } from '../scripts/scripts.ts';

/** A slot that moves, or a replica that takes over, is waited for, but not for ever, ms. */
const PASSING_MS = 60_000;
/** A difference between two clocks up to this is what measuring it takes, ms. */
const SAME_CLOCK_MS = 100;

export type SideName = 'source' | 'destination';

/** A server refused what a move needs. Nothing is lost, and the same move goes on later. */
export class MoveRefused extends Error {
  override name = 'MoveRefused';
  readonly side: SideName;
  constructor(side: SideName, cause: unknown) {
    super(`the ${side} refused it: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.side = side;
  }
}

export interface Side extends AsyncDisposable {
  readonly name: SideName;
  /** A client of the server that has the key. */
  readonly at: (key: string) => Redis;
  /** A key in the slot of the result hash, where entries of results that expire are. */
  readonly resultExpiry: (keys: QueueKeys) => string;
  /** Resolves as the promise does; rejects with `MoveRefused`. */
  readonly ask: <T>(reply: Promise<T>) => Promise<T>;
}

/** Connects in the background and reconnects for ever; what goes wrong meanwhile is reported to `onError`. */
export function openSide(name: SideName, address: RedisAddress, onError: (error: Error) => void): Side {
  const links = address.cluster && openClusterLinks({ address, waits: true, passingMs: PASSING_MS, onError });
  const clients = new Map<string, Redis>();
  // a primary that has become a replica may stay one where no sentinel names another: that must not be a silent wait
  const reconnectOnError = (error: Error): false | typeof RESEND => {
    if (replyCode(error) !== 'READONLY') return false;
    onError(error);
    return RESEND;
  };
  const only = links ? undefined : defineScripts(openRedis(address, { onError, reconnectOnError }));
  return {
    name,
    at: (key) => {
      if (only || !links) return only as Redis;
      const known = clients.get(key);
      if (known) return known;
      const client = defineScripts(links.client(key));
      clients.set(key, client);
      return client;
    },
    resultExpiry: (keys) => (locationOf(address, keys).results ? resultExpiryKey(keys.result) : keys.expiry),
    ask: async (reply) => {
      try {
        return await reply;
      } catch (error) {
        throw error instanceof MoveRefused ? error : new MoveRefused(name, error);
      }
    },
    [Symbol.asyncDispose]: async () => {
      if (only) await closeRedis(only);
      await links?.[Symbol.asyncDispose]();
    },
  };
}

/** By how much the destination's clock is ahead of the source's, ms; 0 if no more than measuring it takes. */
export async function clocksApart(from: Redis, to: Redis): Promise<number> {
  const [there, here] = await Promise.all([redisNow(to), redisNow(from)]);
  const apart = there - here;
  return Math.abs(apart) <= SAME_CLOCK_MS ? 0 : apart;
}
