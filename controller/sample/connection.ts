/** The connection of a sampler, which connects in the background and never gives up. */
import type { Redis } from 'ioredis';
import {
  addressName,
  describeRedisError,
  within,
  type RedisAddress,
} from '../../queue/connection/connection.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import type { Logger } from '../../runtime/log.ts';
import { blindnessOf, type Blindness } from './read.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const LOG_INTERVAL_MS = 60_000;

export interface SamplerConnection {
  readonly redis: Redis;
  /** Resolves when the first attempt to connect has succeeded, failed or timed out. */
  readonly attempted: () => Promise<void>;
  /** Why nothing could be read: `error`, or the reason why there is no connection. */
  readonly explain: (error: unknown) => Blindness;
}

export function connectSampler(address: RedisAddress, log: Logger): SamplerConnection {
  const attempt = Promise.withResolvers<void>();
  let lastError: Error | undefined;
  let loggedAt = -Infinity;
  // all commands of one tick travel in one write
  const redis = defineScripts(
    openBounded(address, {
      enableAutoPipelining: true,
      enableOfflineQueue: false,
      onError: (error) => {
        lastError = error;
        attempt.resolve();
      },
    }),
  );
  redis.on('ready', () => {
    lastError = undefined;
    attempt.resolve();
  });
  return {
    redis,
    attempted: () => within(CONNECT_TIMEOUT_MS, attempt.promise, 'the connection').catch(() => {}),
    // the server's own text goes to the log, at intervals, and not to the status, which the author of the address may read
    explain: (error) => {
      const cause = redis.status === 'ready' ? error : (lastError ?? error);
      const shown = blindnessOf(cause, address);
      const whole = describeRedisError(cause, address);
      if (whole !== shown.why && performance.now() - loggedAt > LOG_INTERVAL_MS) {
        loggedAt = performance.now();
        const redisName = addressName(address);
        log.warn({ redis: redisName, error: whole }, 'Redis refused a command of the sampler');
        log.debug({ redis: redisName, err: cause }, 'the refused command');
      }
      return shown;
    },
  };
}
