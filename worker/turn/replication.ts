/**
 * Waits for replication, if configured: after turns that settled something and, where results are on another server than their queue,
 * before them. The results are written and visible by then; the wait only delays what comes next. When too few replicas confirm, work
 * continues, with results on another server after they were stored again for a while; the beginning and the end of that are logged,
 * and the tasks counted.
 */
import type { Redis } from 'ioredis';
import { awaitReplicas, NotReplicated, type Durability } from '../../queue/connection/durability.ts';
import { isReply, replyCode } from '../../queue/connection/reply-code.ts';
import type { Logger } from '../../runtime/log.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { plural } from '../../runtime/plural.ts';
import type { QueueMetrics } from '../process/metrics.ts';
import { ResultsAway } from './refusal.ts';

export interface ReplicationOptions {
  readonly durability: Durability | undefined;
  readonly log: Logger;
  readonly metrics: QueueMetrics;
  /** Monotonic, ms; by default performance.now(). */
  readonly now?: () => number;
}

export interface ReplicationWait {
  /** After a turn that settled this many tasks on the server of this connection. Never rejects. */
  settled(redis: Redis, tasks: number): Promise<void>;
  /**
   * After this many results were stored on another server than their queue's, before the turn that settles their tasks. Rejects with
   * `NotReplicated` when another server may have taken over without them, and with `ResultsAway` when no replica has confirmed anything
   * for less than `PATIENCE_MS`: store them again.
   */
  stored(redis: Redis, results: number): Promise<void>;
}

/**
 * Results that no replica confirms are stored again for this long before their tasks are settled nevertheless, ms: if their server dies
 * meanwhile, its replica has taken over by then (15 s is the default of `cluster-node-timeout`).
 */
const PATIENCE_MS = 20_000;

export function createReplicationWait({
  durability,
  log,
  metrics,
  now = () => performance.now(),
}: ReplicationOptions): ReplicationWait {
  let missing = false;
  /** Since when no replica has confirmed results on another server, of one primary. */
  let unconfirmedSince: number | undefined;
  /** Of those that the next turn settles. */
  let counted = 0;

  function confirmed(): void {
    if (missing)
      log.info(
        { event: LogEvent.ReplicatedAgain, replicas: durability?.replicas },
        'settled tasks are replicated in time again',
      );
    missing = false;
  }

  function unconfirmed(tasks: number, error: unknown): void {
    metrics.notReplicated(tasks);
    if (missing) return;
    missing = error instanceof NotReplicated;
    log.error({ event: LogEvent.NotReplicated, err: error }, 'settled tasks may not be replicated');
  }

  return {
    settled: async (redis, tasks) => {
      const before = counted;
      counted = 0;
      if (!durability || tasks === 0) return;
      try {
        await awaitReplicas(redis, durability, `${plural(tasks, 'task was', 'tasks were')} settled`);
        if (before === 0) confirmed();
      } catch (error) {
        // they are settled unless another server has taken over without them, which the next turn detects
        unconfirmed(Math.max(0, tasks - before), error);
      }
    },
    stored: async (redis, results) => {
      if (!durability || results === 0) return;
      try {
        await awaitReplicas(redis, durability, `${plural(results, 'result was', 'results were')} stored`);
        counted = 0;
        unconfirmedSince = undefined;
      } catch (error) {
        // no turn of the queue detects that the server of the results is another one
        if (mayBeElsewhere(error)) {
          // one that has taken over has its own time to find replicas
          unconfirmedSince = undefined;
          throw error;
        }
        if (isLate(error)) {
          unconfirmedSince ??= now();
          if (now() - unconfirmedSince < PATIENCE_MS)
            throw new ResultsAway('no replica of the server of the results confirms them', { cause: error });
        }
        counted = results;
        unconfirmed(results, error);
      }
    },
  };
}

/** Whether WAIT was answered, by fewer replicas than were asked for. */
function isLate(error: unknown): boolean {
  return error instanceof NotReplicated && error.cause === undefined;
}

/**
 * Whether nobody knows if the server that has the writes is still the primary. One that is made a replica ends a WAIT (`UNBLOCKED`) and
 * refuses the next one (`ERR WAIT cannot be used with replica instances`); any other error reply is about WAIT itself, which a user may
 * not execute, or a proxy does not.
 */
function mayBeElsewhere(error: unknown): boolean {
  if (!(error instanceof NotReplicated) || error.cause === undefined) return false;
  const { cause } = error;
  return !isReply(cause) || replyCode(cause) === 'UNBLOCKED' || / replica instances/.test(cause.message);
}
