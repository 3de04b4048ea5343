/**
 * Finds the records of a pool: those of a cluster's pool are beside its first queue, under its own name; with a bare Redis they are
 * under the given name or, without one, that of `millrace dev` or of the only pool that is recorded there.
 */
import type { Redis } from 'ioredis';
import { keyOf } from '../../kube/watch.ts';
import { queuesOf, type WorkerPool } from '../../kube/workerpool.ts';
import { recordedPools } from '../../queue/pool/decisions.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { UsageError } from '../../runtime/program.ts';
import { keysThere, openServers, withPlace } from './access.ts';
import type { AccessFlags } from './access-flags.ts';
import { devPool } from './dev-pool-name.ts';

export interface PoolRecords {
  readonly redis: Redis;
  readonly redisOf: RedisOf;
  /** Of the queue that holds the records. */
  readonly keys: QueueKeys;
  /** `namespace/name`. */
  readonly pool: string;
  /** All queues of the pool. */
  readonly queues: readonly QueueKeys[];
}

/** Runs `use` with the records of a pool. Throws as `withPlace` does, and `UsageError` if the pool is ambiguous. */
export async function withRecords<T>(
  name: string | undefined,
  flags: AccessFlags,
  use: (records: PoolRecords) => Promise<T>,
): Promise<T> {
  const bare =
    ['redis', 'sentinel', 'cluster'].some((flag) => flags.given.includes(flag)) || name === undefined;
  const { pool: _, ...rest } = flags;
  return await withPlace(bare && !flags.given.includes('pool') ? rest : flags, async (place) => {
    await using servers = openServers(place);
    const { redis, redisOf } = servers;
    const { pool, partitioned } = place;
    const queues = keysThere(place);
    const keys = pool ? recordKeys(pool) : (partitioned?.keys ?? queues[0]);
    const id = pool ? keyOf(pool) : await find(redis, keys, name);
    return await use({ redis, redisOf, keys, pool: id, queues });
  });
}

/** A pool is recorded beside its first queue, whichever of its queues is requested. */
function recordKeys({ spec }: WorkerPool): QueueKeys {
  const [first = ''] = queuesOf(spec);
  return queueKeys(first, spec.result);
}

async function find(redis: Redis, keys: QueueKeys, name: string | undefined): Promise<string> {
  if (name?.includes('/')) return name;
  const known = await recordedPools(redis, keys);
  const usual = devPool([keys.queue]);
  const fitting = name === undefined ? known : known.filter((pool) => pool.endsWith(`/${name}`));
  if (name === undefined && (known.includes(usual) || known.length === 0)) return usual;
  const [only, ...more] = fitting;
  if (only !== undefined && more.length === 0) return only;
  const listed = known.length === 0 ? 'nothing was recorded there' : `there are ${known.join(', ')}`;
  throw new UsageError(
    only === undefined
      ? `no pool "${name}" was recorded beside the queue "${keys.queue}": ${listed}`
      : `several pools were recorded beside the queue "${keys.queue}": name one of ${fitting.join(', ')}`,
  );
}
