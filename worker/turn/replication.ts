/**
 * Waits for replication after turns that settled something, where the user pays for that. The results are written and
 * visible by then; the wait only holds up the next turn. When too few replicas confirm, the work goes on: the log says
 * so when it begins and when it is over, and a counter counts.
 */
import type { Redis } from 'ioredis';
import { awaitReplicas, NotReplicated, type Durability } from '../../queue/connection/durability.ts';
import type { Logger } from '../../runtime/log.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import type { QueueMetrics } from '../process/metrics.ts';

export interface ReplicationOptions {
  readonly redis: Redis;
  readonly durability: Durability | undefined;
  readonly log: Logger;
  readonly metrics: QueueMetrics;
}

/** Returns what is called after each turn, with the number of tasks that it settled. Never rejects. */
export function createReplicationWait(options: ReplicationOptions): (settled: number) => Promise<void> {
  const { redis, durability, log, metrics } = options;
  let missing = false;
  return async (settled) => {
    if (!durability || settled === 0) return;
    try {
      await awaitReplicas(redis, durability, `${settled} tasks were settled`);
      if (missing)
        log.info(
          { event: LogEvent.ReplicatedAgain, replicas: durability.replicas },
          'what was settled is replicated in time again',
        );
      missing = false;
    } catch (error) {
      // what was settled is settled, unless another server has taken over without it: the next turn finds that out
      metrics.notReplicated(settled);
      if (missing) return;
      missing = error instanceof NotReplicated;
      log.error({ event: LogEvent.NotReplicated, err: error }, 'what was settled may not be replicated');
    }
  };
}
