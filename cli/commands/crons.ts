/** `millrace crons`: the cron tasks of pools, the last task of each and the next time. */
import type { CronSpec, WorkerPool } from '../../kube/workerpool.ts';
import type { ClusterFlags } from '../cluster/cluster-flags.ts';
import { openCluster, readPoolOf } from '../cluster/cluster.ts';
import { print, type Output } from '../terminal/output.ts';
import { table, type Cell } from '../terminal/table.ts';
import { readPools } from './pools.ts';

export interface CronsFlags extends ClusterFlags {
  readonly allNamespaces?: true;
  readonly output: Output;
}

const HEAD = ['POOL', 'NAME', 'SCHEDULE', 'TIME ZONE', 'LAST', 'NEXT', 'MISSED', 'SKIPPED', 'LAST TASK'];

/** `name`: of one pool; without it, of all in the namespace. */
export async function listCrons(name: string | undefined, flags: CronsFlags): Promise<void> {
  using cluster = openCluster(flags);
  const namespace = flags.allNamespaces ? undefined : cluster.namespace;
  const pools = name === undefined ? await readPools(cluster, namespace) : [await readPoolOf(cluster, name)];
  const crons = pools.flatMap((pool) => (pool.spec.crons ?? []).map((cron) => cronOf(pool, cron)));
  if (crons.length === 0 && flags.output === 'table')
    process.stderr.write('there are no cron tasks: add some under spec.crons of a pool\n');
  else
    await print(flags.output, crons, () =>
      table(
        flags.allNamespaces ? ['NAMESPACE', ...HEAD] : HEAD,
        crons.map((cron) => rowOf(cron, flags.allNamespaces === true)),
      ),
    );
}

interface ShownCron {
  readonly namespace: string;
  readonly pool: string;
  readonly name: string;
  readonly schedule: string;
  readonly timeZone: string;
  readonly suspended: boolean;
  readonly lastTime?: string;
  readonly lastTask?: string;
  readonly nextTime?: string;
  readonly missed?: number;
  readonly skipped?: number;
}

function cronOf(
  { metadata, status }: WorkerPool,
  { name, schedule, timeZone, suspend }: CronSpec,
): ShownCron {
  const known = status?.crons?.find((one) => one.name === name);
  return {
    namespace: metadata.namespace ?? '',
    pool: metadata.name ?? '',
    schedule,
    timeZone,
    suspended: suspend,
    ...known,
    name,
  };
}

function rowOf(cron: ShownCron, namespaces: boolean): Cell[] {
  const { namespace, pool, name, schedule, timeZone, suspended } = cron;
  const { lastTime = '-', lastTask = '-', nextTime = '-', missed = 0, skipped = 0 } = cron;
  const next = suspended ? 'suspended' : nextTime;
  const row = [pool, name, schedule, timeZone, lastTime, next, missed, skipped, lastTask];
  return namespaces ? [namespace, ...row] : row;
}
