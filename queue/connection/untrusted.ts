/**
 * Connections to a Redis that is not believed: the controller's, whose tenants choose the server and what is in it. Each is guarded
 * (reply-guard.ts), and sends only commands whose replies are of a size of their own; what clients write is read through `read.lua` and
 * its like, which cut.
 */
import type { Redis } from 'ioredis';
import { openRedis, type RedisAddress } from './connection.ts';
import { guardReplies } from './reply-guard.ts';

/**
 * What these return is a number, a status, an id, or a text of the server's own; of the scripts, what they make fixed. The two whose
 * replies clients can make longer have limits of their own: CLIENT LIST and BLMOVE (reply-guard.ts).
 */
const FIXED: ReadonlySet<string> = new Set(
  (
    'auth select client ping quit info time subscribe unsubscribe evalsha eval ' +
    'llen zcard del unlink set expire lpush ltrim lset xadd xtrim blmove'
  ).split(' '),
);

/** Opens a guarded client. As `openRedis`, it connects in the background and reconnects until it is closed. */
export function openBounded(address: RedisAddress, options: Parameters<typeof openRedis>[1] = {}): Redis {
  // RESP2: without pushes, every reply answers a command or is a message of a subscription
  const rules = { protocol: 2, lazyConnect: true } as const;
  const redis = openRedis(address, { ...options, ...rules });
  guardReplies(redis, FIXED);
  redis.connect().catch(() => undefined);
  return redis;
}
