/** A client as the controller opens one for the Redis of a pool: it sends no command but those that it may. */
import { once } from 'node:events';
import type { Redis } from 'ioredis';
import { closeRedis } from '../../queue/connection/connection.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import type { RedisServer } from './redis.ts';

export async function boundedClient(
  server: RedisServer,
): Promise<{ readonly redis: Redis } & AsyncDisposable> {
  const redis = defineScripts(openBounded(server.address));
  await once(redis, 'ready');
  return { redis, [Symbol.asyncDispose]: () => closeRedis(redis) };
}
