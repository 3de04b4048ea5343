/**
 * The connections of a worker: one for the turns of all its queues, and further ones. All have its name, count their errors and
 * report them once per cause.
 */
import type { Redis, RedisOptions } from 'ioredis';
import { openRedis } from '../../../queue/connection/connection.ts';
import { watchDrops, type Drops } from '../../../queue/connection/drops.ts';
import { describeRisk, evictionRisk } from '../../../queue/connection/eviction.ts';
import { defineScripts } from '../../../queue/scripts/scripts.ts';
import type { WorkerOptions } from '../options.ts';
import type { Refusals } from './connection-errors.ts';

export interface WorkerConnections {
  /** For turns, of all queues. */
  readonly redis: Redis;
  /** Of `redis`. */
  readonly drops: Drops;
  /** Opens one more. */
  readonly connect: (own: RedisOptions) => Redis;
  /** Opens one more, with Millrace's scripts. */
  readonly openSpare: () => Redis;
}

/** `connectionName`: see queue/workers/worker-connections.ts. The caller closes `redis` and what it opens. */
export function openConnections(
  { redis: address, metrics, log }: WorkerOptions,
  connectionName: string,
  refusals: Refusals,
): WorkerConnections {
  const connect = (own: RedisOptions): Redis => {
    const attempts = refusals.attempts();
    const onError = (error: Error): void => {
      metrics.redisFailed('connection');
      attempts.failed(error);
    };
    return openRedis(address, { ...own, connectionName, onError }).on('ready', () => attempts.succeeded());
  };
  const openSpare = (): Redis => defineScripts(connect({}));
  const redis = openSpare();
  redis.on('ready', () => {
    // at each connect: the settings of another server may differ
    void evictionRisk(redis).then((risk) => risk && log.error(describeRisk(risk)));
  });
  return { redis, drops: watchDrops(redis), connect, openSpare };
}
