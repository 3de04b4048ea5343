/** A command's queues: of a Redis, or of a pool of a cluster. */
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { SentinelView } from './sentinel-views.ts';

/** A queue in partitions. */
export interface PartitionedQueue {
  /** The plain names, beside which a pool's records are. */
  readonly keys: QueueKeys;
  /** The numbers of its lists, that of new tasks last. */
  readonly numbers: readonly number[];
}

/** The location of a command's queues. */
export interface Place {
  /** Reachable from this machine. */
  readonly address: RedisAddress;
  /** The requested ones, highest priority first; of a queue in partitions, all of its lists. */
  readonly queues: readonly [QueueKeys, ...QueueKeys[]];
  /** The one queue that the lists are partitions of. */
  readonly partitioned?: PartitionedQueue | undefined;
  /** The requested pool; `undefined` with a bare Redis. */
  readonly pool: WorkerPool | undefined;
  /** What each of its sentinels reports; `undefined` if there are none. */
  readonly sentinels?: (() => Promise<readonly SentinelView[]>) | undefined;
  /** Describes an error of Redis in one human-readable line. */
  readonly describe: (error: unknown) => string;
}
