/** `millrace pools`: the pools of a cluster, once or as they change. */
import { createKubeApi } from '../../kube/client.ts';
import { readAll } from '../../kube/read.ts';
import { POOLS } from '../../kube/resources.ts';
import { reflect } from '../../kube/watch.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { onSignals } from '../../runtime/lifecycle.ts';
import type { ClusterFlags } from '../cluster/cluster-flags.ts';
import { explained, openCluster, type Cluster } from '../cluster/cluster.ts';
import type { CommandLog } from '../terminal/command-log.ts';
import { print, type Output } from '../terminal/output.ts';
import { poolHead, poolRow, sortedPools, type PoolOrder } from './pool-rows.ts';
import { layout, table, type Cell } from '../terminal/table.ts';

export interface PoolsFlags extends ClusterFlags {
  readonly allNamespaces?: true;
  readonly watch?: true;
  readonly sortBy: PoolOrder;
  readonly output: Output | 'wide';
}

/** With `-o json` and `yaml`, a list of the objects as the API server returns them. */
export async function listPools(flags: PoolsFlags, log: CommandLog): Promise<void> {
  using cluster = openCluster(flags);
  const namespace = flags.allNamespaces ? undefined : cluster.namespace;
  const pools = await readPools(cluster, namespace);
  const sorted = sortedPools(pools, flags.sortBy);
  const form = { namespaces: flags.allNamespaces === true, wide: flags.output === 'wide', now: Date.now() };
  const rows = sorted.map((pool) => poolRow(pool, form));
  if (flags.watch) {
    await follow(cluster, namespace, flags, sorted, rows, log);
    return;
  }
  if (pools.length === 0 && !['json', 'yaml'].includes(flags.output))
    process.stderr.write(
      `there are no pools in ${namespace === undefined ? 'this cluster' : `namespace "${namespace}"`}\n`,
    );
  else await print(flags.output, sorted, () => table(poolHead(form), rows));
}

/** Rejects with `Error` in one line, for example if the cluster has no WorkerPools. */
export async function readPools(cluster: Cluster, namespace: string | undefined): Promise<WorkerPool[]> {
  return await readAll(cluster.transport, POOLS, { namespace }).catch((error: unknown) => {
    throw explained(error);
  });
}

/** Like kubectl: the existing pools, then a row, or an object, for each change. Ends with a signal. */
async function follow(
  cluster: Cluster,
  namespace: string | undefined,
  { allNamespaces, output }: PoolsFlags,
  pools: readonly WorkerPool[],
  rows: readonly (readonly Cell[])[],
  log: CommandLog,
): Promise<void> {
  const form = { namespaces: allNamespaces === true, wide: output === 'wide' };
  const line = layout(poolHead({ ...form, now: 0 }), rows);
  const tell = async (pool: WorkerPool): Promise<void> => {
    const row = (): string => `${line(poolRow(pool, { ...form, now: Date.now() }))}\n`;
    if (output === 'yaml') process.stdout.write('---\n');
    await print(output, pool, row);
  };
  if (!['json', 'yaml'].includes(output)) process.stdout.write(`${line(poolHead({ ...form, now: 0 }))}\n`);
  for (const pool of pools) await tell(pool);
  const seen = new Map(pools.map(({ metadata }) => [metadata.uid, metadata.resourceVersion]));
  using signals = onSignals();
  let telling = Promise.resolve();
  const reflector = reflect({
    api: createKubeApi(cluster.transport),
    resource: POOLS,
    namespaces: [namespace],
    signal: signals.stopping,
    onChange: (_key, pool) => {
      if (!pool || seen.get(pool.metadata.uid) === pool.metadata.resourceVersion) return;
      seen.set(pool.metadata.uid, pool.metadata.resourceVersion);
      telling = telling.then(() => tell(pool));
    },
    onError: (error) => {
      log.debug(error, 'the watch failed; retrying');
      process.stderr.write(`millrace: ${(error as Error).message}; retrying\n`);
    },
  });
  await reflector.synced.catch((error: unknown) => {
    if (!signals.stopping.aborted) throw error;
  });
  await reflector.stopped;
  await telling;
}
