/**
 * The connections of a worker: one for turns, and further ones, for each server that has queues of it: all queues share them, unless
 * they are in a Redis Cluster. All have the worker's name, count their errors and report them once per cause.
 */
import type { Redis, RedisOptions } from 'ioredis';
import { openRedis, type RedisAddress } from '../../../queue/connection/connection.ts';
import { watchDrops, type Drops } from '../../../queue/connection/drops.ts';
import { describeRisk, evictionRisk } from '../../../queue/connection/eviction.ts';
import type { QueueKeys } from '../../../queue/keys.ts';
import { locationOf, type QueueLocation } from '../../../queue/location.ts';
import { defineScripts } from '../../../queue/scripts/scripts.ts';
import { storeResults } from '../../../queue/workers/store-results.ts';
import type { ResultsElsewhere } from '../../turn/send-turn.ts';
import type { WorkerOptions } from '../options.ts';
import type { Refusals } from './connection-errors.ts';

/** Of one queue. */
export interface WorkerConnections {
  /** For turns, of all queues on this server. */
  readonly redis: Redis;
  /** Of `redis`. */
  readonly drops: Drops;
  /** Where the result hash is on another server. */
  readonly results: ResultsElsewhere | undefined;
  /** Opens one more. */
  readonly connect: (own: RedisOptions) => Redis;
  /** Opens one more, with Millrace's scripts. */
  readonly openSpare: () => Redis;
}

/** A queue with the connections to its server. */
export interface ConnectedQueue {
  readonly keys: QueueKeys;
  readonly connections: WorkerConnections;
}

/**
 * Opens the connections to the servers of the queues. `connectionName`: see queue/workers/worker-connections.ts. The caller closes
 * `redis` and `results` of all of them, and what it opens.
 */
export function connectQueues(
  options: WorkerOptions,
  queues: readonly QueueKeys[],
  connectionName: string,
  refusals: Refusals,
): ConnectedQueue[] {
  const places = queues.map((keys) => locationOf(options.redis, keys));
  const open = (place: QueueLocation): WorkerConnections =>
    openConnections(options, place, connectionName, refusals);
  const [first] = places;
  if (options.redis.cluster || !first)
    return places.map((place) => ({ keys: place.keys, connections: open(place) }));
  const connections = open(first);
  return places.map(({ keys }) => ({ keys, connections }));
}

/** The connections for turns and results, each once. */
export function ownConnections(queues: readonly ConnectedQueue[]): Redis[] {
  return [
    ...new Set(
      queues.flatMap(({ connections: { redis, results } }) => (results ? [redis, results.redis] : [redis])),
    ),
  ];
}

function openConnections(
  { metrics, log, results: { ttlMs } }: WorkerOptions,
  { address, results }: QueueLocation,
  connectionName: string,
  refusals: Refusals,
): WorkerConnections {
  const connectTo = (to: RedisAddress, own: RedisOptions): Redis => {
    const attempts = refusals.attempts();
    const onError = (error: Error): void => {
      metrics.redisFailed('connection');
      attempts.failed(error);
    };
    return openRedis(to, { ...own, connectionName, onError }).on('ready', () => attempts.succeeded());
  };
  const openMain = (to: RedisAddress): Redis => {
    const redis = defineScripts(connectTo(to, {}));
    redis.on('ready', () => {
      // at each connect: the settings of another server may differ
      void evictionRisk(redis).then((risk) => risk && log.error(describeRisk(risk)));
    });
    return redis;
  };
  const redis = openMain(address);
  const elsewhere = (to: NonNullable<QueueLocation['results']>): ResultsElsewhere => {
    const other = openMain(to.address);
    const store: ResultsElsewhere['store'] = (settled) => storeResults(other, to.key, settled, ttlMs);
    return { redis: other, drops: watchDrops(other), store };
  };
  return {
    redis,
    drops: watchDrops(redis),
    results: results && elsewhere(results),
    connect: (own) => connectTo(address, own),
    openSpare: () => defineScripts(connectTo(address, {})),
  };
}
