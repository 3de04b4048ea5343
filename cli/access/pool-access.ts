/** A pool of a cluster as a place: its address as the controller resolves it, made reachable from this machine. */
import { resolveAddress } from '../../controller/connect/address.ts';
import { partitionsBefore, wantedPartitions } from '../../controller/connect/partitions.ts';
import { createKubeApi } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { queuesOf, type WorkerPool } from '../../kube/workerpool.ts';
import { describeRedisError, type RedisAddress } from '../../queue/connection/connection.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { UsageError } from '../../runtime/program.ts';
import { checkedLists } from './checked.ts';
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
  const queue = flags.given.includes('queue') ? flags.queue : undefined;
  const numbers = flags.given.includes('partitions') ? flags.partitions : undefined;
  return { ...(await placeOfPool(cluster, pool, stack)), ...chosenQueues(pool, queue, numbers) };
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
    ...chosenQueues(pool),
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

/** `numbers`: of partitions, such as those whose lists the pool no longer serves. */
function chosenQueues(
  pool: WorkerPool,
  chosen?: string,
  numbers: readonly number[] = partitionsOf(pool),
): Pick<Place, 'queues' | 'partitioned'> {
  const { metadata, spec } = pool;
  const all = queuesOf(spec);
  if (chosen !== undefined && !all.includes(chosen))
    throw new UsageError(`pool "${metadata.name}" has no queue "${chosen}": it has ${all.join(', ')}`);
  const names = chosen === undefined ? all : [chosen];
  const { queues: several, source } = spec;
  if (!several && !source) return checkedLists(spec, numbers);
  const [first, ...rest] = names.map((queue) => queueKeys(queue, spec.result));
  return { queues: [first as QueueKeys, ...rest] };
}

/** The numbers that the pool serves, the wanted one last. */
function partitionsOf(pool: WorkerPool): readonly number[] {
  const wanted = wantedPartitions(pool.spec);
  return [...partitionsBefore(pool).served.filter((number) => number !== wanted), wanted];
}
