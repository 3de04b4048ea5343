/** Where the details of an opened row are read. */
import type { Redis } from 'ioredis';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { Paces } from '../../queue/batches/pace.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import type { Source } from '../../queue/sources/source.ts';

/** An opened row. */
export interface TopPlace {
  readonly redis: Redis;
  readonly redisOf: RedisOf;
  readonly queues: readonly QueueKeys[];
  /** Whose tasks these are, where it is another library. */
  readonly source?: Source | undefined;
  /** The pool as it is now; without one, the state in Redis tells its cron tasks. */
  readonly pool?: () => WorkerPool | undefined;
  /** How fast batches are, by their queue. */
  readonly paces: Map<string, Paces>;
}
