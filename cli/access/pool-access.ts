/** A pool of a cluster as a place: its address as the controller resolves it, made reachable from this machine. */
import { resolveAddress } from '../../controller/connect/address.ts';
import { createKubeApi } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { queuesOf, type WorkerPool } from '../../kube/workerpool.ts';
import { describeRedisError, type RedisAddress } from '../../queue/connection/connection.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { UsageError } from '../../runtime/program.ts';
import type { Place } from './place.ts';
import type { AccessFlags } from './access-flags.ts';
import { explained, openCluster, readPoolOf, type Cluster } from '../cluster/cluster.ts';
import { reachFromHere } from './reach.ts';

/** Resources are opened on `stack`. Throws Error in one line if the pool or its Secrets cannot be read, or its Redis not reached. */
export async function openPool(
  name: string,
  flags: AccessFlags,
  stack: AsyncDisposableStack,
): Promise<Place> {
  const cluster = stack.use(openCluster(flags));
  const pool = await readPoolOf(cluster, name);
  const queues = chosenQueues(pool, flags.given.includes('queue') ? flags.queue : undefined);
  return { ...(await placeOfPool(cluster, pool, stack)), queues };
}

/** The place of a pool object, with all its queues. */
export async function placeOfPool(
  cluster: Cluster,
  pool: WorkerPool,
  stack: AsyncDisposableStack,
): Promise<Place> {
  const { namespace } = pool.metadata;
  const shown = await addressOfPool(cluster, pool);
  const { address, forwards, sentinels } = await reachFromHere(cluster, namespace, shown, stack).catch(
    (error: unknown) => {
      throw explained(error);
    },
  );
  const troubles = (): string[] => forwards.flatMap((forward) => forward.trouble() ?? []);
  return {
    address,
    queues: chosenQueues(pool, undefined),
    pool,
    sentinels,
    describe: (error) => troubles()[0] ?? describeRedisError(error, shown),
  };
}

async function addressOfPool(cluster: Cluster, { metadata, spec }: WorkerPool): Promise<RedisAddress> {
  const { secrets } = createKubeApi(cluster.transport);
  const { namespace, name } = metadata;
  try {
    return await resolveAddress(spec.redis, namespace, secrets, new AbortController().signal);
  } catch (error) {
    const { cause } = error as Error;
    if (!(cause instanceof KubeError && cause.status === 403)) throw explained(error);
    throw new Error(
      `the address of pool ${namespace}/${name} is in a Secret that you may not read (${cause.message}): ` +
        `ask for permission to get it, or give --redis instead of the pool`,
      { cause: error },
    );
  }
}

function chosenQueues({ metadata, spec }: WorkerPool, chosen: string | undefined): Place['queues'] {
  const all = queuesOf(spec);
  if (chosen !== undefined && !all.includes(chosen))
    throw new UsageError(`pool "${metadata.name}" has no queue "${chosen}": it has ${all.join(', ')}`);
  const names = chosen === undefined ? all : [chosen];
  const [first, ...rest] = names.map((queue) => queueKeys(queue, spec.result));
  return [first as QueueKeys, ...rest];
}
