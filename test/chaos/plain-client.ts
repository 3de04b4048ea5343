/** A client that knows `LPUSH` and `HGET`, as people write it, on a single server, with Sentinel or on a Redis Cluster. */
import { Cluster, type Redis } from 'ioredis';
import { closeRedis, openRedis, within, type RedisAddress } from '../../queue/connection/connection.ts';
import { awaitReplicas, NotReplicated, type Durability } from '../../queue/connection/durability.ts';

export interface PlainClient extends AsyncDisposable {
  /** Throws when it is not known whether the tasks are there, or whether the replicas that were asked for have them. */
  push(queue: string, tasks: readonly string[]): Promise<void>;
  /** `null` also where there is nobody to ask at the moment. */
  result(key: string, id: string): Promise<string | null>;
}

/** A connection that answers nothing for so long is dead, ms. */
const ANSWER_MS = 5_000;
/** Of a command to a cluster, which may wait until a primary has a successor, ms. */
const CLUSTER_MS = 30_000;

/** Connects in the background. */
export function openPlainClient(address: RedisAddress, durability?: Durability): PlainClient {
  return address.cluster
    ? onCluster(address.cluster.nodes, durability)
    : onServer(openRedis(address, { socketTimeout: ANSWER_MS }), durability);
}

function onServer(redis: Redis, durability: Durability | undefined): PlainClient {
  return {
    push: async (queue, tasks) => {
      await redis.lpush(queue, ...tasks);
      if (durability) await awaitReplicas(redis, durability, 'tasks were pushed');
    },
    result: (key, id) => redis.hget(key, id),
    [Symbol.asyncDispose]: () => closeRedis(redis),
  };
}

function onCluster(nodes: readonly string[], durability: Durability | undefined): PlainClient {
  const startup = nodes.map((node) => {
    const [host = '', port = ''] = node.split(':');
    return { host, port: Number(port) };
  });
  const cluster = new Cluster(startup, {
    maxRedirections: 100,
    retryDelayOnFailover: 200,
    retryDelayOnClusterDown: 200,
    clusterRetryStrategy: () => 200,
    redisOptions: { socketTimeout: ANSWER_MS },
  });
  cluster.on('error', () => undefined);
  return {
    push: async (queue, tasks) => {
      // follows the slot, which a pipeline does not
      await within(CLUSTER_MS, cluster.llen(queue), 'LLEN');
      const { replicas, timeoutMs } = durability ?? { replicas: 0, timeoutMs: 1 };
      const pushing = cluster
        .pipeline()
        .lpush(queue, ...tasks)
        .wait(replicas, timeoutMs)
        .exec();
      const [pushed, waited] = (await within(CLUSTER_MS, pushing, 'LPUSH')) ?? [];
      const error = pushed?.[0] ?? waited?.[0];
      if (error) throw error;
      const confirmed = Number(waited?.[1] ?? 0);
      if (durability && confirmed < replicas)
        throw new NotReplicated('tasks were pushed', durability, confirmed);
    },
    result: (key, id) => within(CLUSTER_MS, cluster.hget(key, id), 'HGET').catch(() => null),
    [Symbol.asyncDispose]: async () => {
      await cluster.quit().catch(() => undefined);
    },
  };
}
