/**
 * Waits for replication after turns that settled something, if configured. The results are written and visible by then; the wait
 * only delays the next turn. When too few replicas confirm, work continues; the beginning and the end of that are logged, and
 * the tasks counted.
 */
import type { Redis } from 'ioredis';
import { awaitReplicas, NotReplicated, type Durability } from '../../queue/connection/durability.ts';
import type { Logger } from '../../runtime/log.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import type { QueueMetrics } from '../process/metrics.ts';

export interface ReplicationOptions {
  /** The connections that have settled something. */
  readonly servers: readonly Redis[];
  readonly durability: Durability | undefined;
  readonly log: Logger;
  readonly metrics: QueueMetrics;
}

/** Returns a function to call after each turn with the number of tasks that it settled. It never rejects. */
export function createReplicationWait(options: ReplicationOptions): (settled: number) => Promise<void> {
  const { servers, durability, log, metrics } = options;
  let missing = false;
  return async (settled) => {
    if (!durability || settled === 0) return;
    try {
      const what = `${settled} tasks were settled`;
      await Promise.all(servers.map((redis) => awaitReplicas(redis, durability, what)));
      if (missing)
        log.info(
          { event: LogEvent.ReplicatedAgain, replicas: durability.replicas },
          'settled tasks are replicated in time again',
        );
      missing = false;
    } catch (error) {
      // they are settled unless another server has taken over without them, which the next turn detects
      metrics.notReplicated(settled);
      if (missing) return;
      missing = error instanceof NotReplicated;
      log.error({ event: LogEvent.NotReplicated, err: error }, 'settled tasks may not be replicated');
    }
  };
}
