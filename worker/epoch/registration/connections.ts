/**
 * The connections of a worker: one for turns to each server that has queues of it or their results, which all queues there share;
 * and further ones for each queue. All have the worker's name, count their errors and report them once per cause.
 */
import type { Redis, RedisOptions } from 'ioredis';
import { createClusterChanges, createQueueChanges, type QueueChanges } from '../../../queue/changes.ts';
import { openClusterLinks } from '../../../queue/connection/cluster/links.ts';
import { closeRedis, openRedis, type RedisAddress } from '../../../queue/connection/connection.ts';
import { watchDrops, type Drops } from '../../../queue/connection/drops.ts';
import { describeRisk, evictionRisk } from '../../../queue/connection/eviction.ts';
import type { QueueKeys } from '../../../queue/keys.ts';
import { locationOf, type QueueLocation, type RedisOf } from '../../../queue/location.ts';
import { defineScripts } from '../../../queue/scripts/scripts.ts';
import { REST_PAUSE } from '../../../queue/workers/rest.ts';
import { storeResults } from '../../../queue/workers/store-results.ts';
import type { ResultsElsewhere } from '../../turn/result-store.ts';
import type { Logger } from '../../../runtime/log.ts';
import type { WorkerOptions } from '../options.ts';
import type { ConnectionAttempts, Refusals } from './connection-errors.ts';

/** Of one queue. */
export interface WorkerConnections {
  /** For turns. */
  readonly redis: Redis;
  /** Of `redis`. */
  readonly drops: Drops;
  /** Where the result hash is on another server. */
  readonly results: ResultsElsewhere | undefined;
  /** Of a queue in partitions: how it is told of changes while it rests. */
  readonly changes: QueueChanges | undefined;
  /** The same, of any partition, whether it takes tasks from it or not. */
  readonly redisOf: RedisOf | undefined;
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

export interface ConnectedQueues {
  readonly queues: readonly ConnectedQueue[];
  /** Rejects when one of the servers that turns go to does not answer. */
  ping(): Promise<unknown>;
  /** Closes the connections for turns and results. */
  close(): Promise<void>;
}

/**
 * Opens the connections to the servers of the queues. `connectionName`: see queue/workers/worker-connections.ts. The caller closes
 * what it opens by `connect` and `openSpare`.
 */
export function connectQueues(
  options: WorkerOptions,
  queues: readonly QueueKeys[],
  connectionName: string,
  refusals: Refusals,
): ConnectedQueues {
  const connectTo = connector(options, connectionName, refusals);
  const places = queues.map((keys) => locationOf(options.redis, keys));
  return options.redis.cluster
    ? connectToCluster(options, places, { connectionName, connectTo, attempts: refusals.attempts() })
    : connectToServer(options, places, connectTo);
}

/** Opens a connection. */
type Connect = (address: RedisAddress, own: RedisOptions) => Redis;

function connector({ metrics }: WorkerOptions, connectionName: string, refusals: Refusals): Connect {
  return (to, own) => {
    const attempts = refusals.attempts();
    const onError = (error: Error): void => {
      metrics.redisFailed('connection');
      attempts.failed(error);
    };
    return openRedis(to, { ...own, connectionName, onError }).on('ready', () => attempts.succeeded());
  };
}

/** Checks at each connect, as the settings of another server may differ. */
function watchEviction(redis: Redis, log: Logger): void {
  redis.on('ready', () => {
    void evictionRisk(redis).then((risk) => risk && log.error(describeRisk(risk)));
  });
}

/** What each queue opens for itself. */
function ownOf(connectTo: Connect, address: RedisAddress): Pick<WorkerConnections, 'connect' | 'openSpare'> {
  return {
    connect: (own) => connectTo(address, own),
    openSpare: () => defineScripts(connectTo(address, {})),
  };
}

/** Only where one queue is many: a worker of several queues has few. */
const isInPartitions = ({ queue }: WorkerOptions, places: readonly QueueLocation[]): boolean =>
  [queue].flat().length === 1 && places.length > 1;

function connectToServer(
  options: WorkerOptions,
  places: readonly QueueLocation[],
  connectTo: Connect,
): ConnectedQueues {
  const { redis: address, log, leaseMs } = options;
  const redis = defineScripts(connectTo(address, {}));
  watchEviction(redis, log);
  const changes = isInPartitions(options, places)
    ? createQueueChanges({ address, pingEveryMs: REST_PAUSE * leaseMs })
    : undefined;
  const own = { drops: watchDrops(redis), results: undefined, ...ownOf(connectTo, address) };
  const redisOf = changes && (() => redis);
  const connections = { redis, changes, redisOf, ...own };
  return {
    queues: places.map(({ keys }) => ({ keys, connections })),
    ping: () => redis.ping(),
    close: async () => void (await Promise.all([closeRedis(redis), changes?.[Symbol.asyncDispose]()])),
  };
}

/** One link to each primary, and a client for the slot of each queue and of a result hash that is elsewhere. */
function connectToCluster(
  options: WorkerOptions,
  places: readonly QueueLocation[],
  {
    connectionName,
    connectTo,
    attempts,
  }: {
    readonly connectionName: string;
    readonly connectTo: Connect;
    readonly attempts: ConnectionAttempts;
  },
): ConnectedQueues {
  const { redis: address, metrics, log, leaseMs, results: resultPolicy } = options;
  const links = openClusterLinks({
    address,
    // turns are resent by those who send them
    passingMs: 0,
    waits: true,
    open: (to, own) => openRedis(to, { ...own, connectionName }),
    onLink: (link) => {
      watchEviction(link, log);
      link.on('ready', () => attempts.succeeded());
    },
    onError: (error) => {
      metrics.redisFailed('connection');
      attempts.failed(error);
    },
  });
  const elsewhere = (key: string): ResultsElsewhere => {
    const redis = defineScripts(links.client(key));
    const store: ResultsElsewhere['store'] = (settled) =>
      storeResults(redis, key, settled, resultPolicy.ttlMs);
    return { key, redis, drops: watchDrops(redis), store };
  };
  const shared = places.find(({ results }) => results);
  const results = shared?.results && elsewhere(shared.results.key);
  const changes = isInPartitions(options, places)
    ? createClusterChanges({ address, pingEveryMs: REST_PAUSE * leaseMs }, links)
    : undefined;
  const bySlot = new Map<string, Redis>();
  const clientOf = ({ queue }: Pick<QueueKeys, 'queue'>): Redis => {
    const known = bySlot.get(queue) ?? defineScripts(links.client(queue));
    bySlot.set(queue, known);
    return known;
  };
  const redisOf = changes && clientOf;
  const queues = places.map((place) => {
    const redis = clientOf(place.keys);
    const own = { redis, changes, redisOf, drops: watchDrops(redis), results: place.results && results };
    return { keys: place.keys, connections: { ...own, ...ownOf(connectTo, place.address) } };
  });
  const clients = [...queues.map(({ connections: { redis } }) => redis), ...(results ? [results.redis] : [])];
  return {
    queues,
    ping: () => Promise.all(clients.map((redis) => redis.ping())),
    close: async () => {
      await changes?.[Symbol.asyncDispose]();
      await links[Symbol.asyncDispose]();
    },
  };
}
