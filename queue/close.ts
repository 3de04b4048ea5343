/** Ending connections. ioredis leaves some ends loose, and they are tied up here. */
import type { Redis } from 'ioredis';
import { within } from './within.ts';

/** Closes a client for good: says goodbye where the server still listens, and never waits for one that does not. */
export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'ready') await within(500, redis.quit(), 'QUIT').catch(() => undefined);
  dropRedis(redis);
}

/** Closes a client at once, without a goodbye: what it had asked for is rejected. */
export function dropRedis(redis: Redis): void {
  // a TLS handshake that is broken off may fail twice; ioredis listens once, and Node ends the process for the second
  (redis as { stream?: Redis['stream'] }).stream?.on('error', () => undefined);
  const between = redis.status === 'reconnecting';
  redis.disconnect();
  if (!between) return;
  // between two attempts there is no connection whose end would end the client and reject what waits
  insideOf(redis).setStatus('end');
  rejectWaiting(redis, new Error('Connection is closed.'));
}

/** Rejects what waits for the connection, or for an answer over it. */
export function rejectWaiting(redis: Redis, error: Error): void {
  insideOf(redis).flushQueue(error);
}

/** What ioredis keeps to itself. */
interface RedisInside {
  setStatus(status: 'end'): void;
  flushQueue(error: Error): void;
}

function insideOf(redis: Redis): RedisInside {
  return redis as unknown as RedisInside;
}
