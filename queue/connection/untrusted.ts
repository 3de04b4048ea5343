/**
 * Connections to an untrusted Redis: the controller's, whose tenants choose the server and its contents. Each is guarded
 * (reply-guard.ts), and sends only commands whose replies are of bounded size; data that clients write is read through `read.lua`
 * and similar scripts, which truncate.
 */
import type { Redis } from 'ioredis';
import { openRedis, type RedisAddress } from './connection.ts';
import { guardReplies } from './reply-guard.ts';

/**
 * Their replies are a number, a status, an id, or a text of the server itself; those of scripts are bounded by the scripts. Two
 * whose replies clients can lengthen have limits of their own: CLIENT LIST and BLMOVE (reply-guard.ts).
 */
const FIXED: ReadonlySet<string> = new Set(
  (
    'auth select client ping quit info time subscribe unsubscribe evalsha eval ' +
    'asking exists llen zcard del unlink set hset hdel expire lpush blmove publish'
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
