/** A command's queues: of a Redis, or of a pool of a cluster. */
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';

/** Where a command's queues are. */
export interface Place {
  /** To connect to, from here. */
  readonly address: RedisAddress;
  /** Those that were asked for, the highest priority first. */
  readonly queues: readonly [QueueKeys, ...QueueKeys[]];
  /** The pool that was asked for; `undefined` with a bare Redis. */
  readonly pool: WorkerPool | undefined;
  /** What an error of Redis means, in one line for a person. */
  readonly describe: (error: unknown) => string;
}
