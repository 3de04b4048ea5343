/** Which list becomes which, from the flags of `millrace move`. Pure. */
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import type { MovePlan } from '../../queue/move/move.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { UsageError } from '../../runtime/usage-error.ts';
import type { Destination } from '../access/destination.ts';
import type { Place } from '../access/place.ts';

export interface PlanFlags {
  readonly toPartitions?: number;
}

/** A queue that is one list, or several. */
interface Source {
  readonly queue: string;
  readonly result: string;
  readonly lists: readonly QueueKeys[];
  /** Of new tasks. */
  readonly partitions: number;
}

/** Throws `UsageError` where the flags name no other place, or one name for several queues. */
export function planMove(
  from: Pick<Place, 'queues' | 'partitioned'>,
  to: Pick<Place, 'pool'>,
  destination: Destination,
  { toPartitions }: PlanFlags,
): MovePlan[] {
  const { flags, queue, result } = destination;
  if (!flags && queue === undefined && result === undefined && toPartitions === undefined)
    throw new UsageError(
      'no destination is given: name a Redis with --to, a pool with --to-pool, a number with --to-partitions, or a name with --to-queue',
    );
  const sources = sourcesOf(from);
  if (sources.length > 1 && queue !== undefined)
    throw new UsageError(`--to-queue is one name for ${sources.length} queues: choose one with --queue`);
  const pool = flags?.pool === undefined ? undefined : to.pool?.spec;
  return sources.flatMap((source) => {
    const name = queue ?? (sources.length === 1 ? (pool?.queue ?? source.queue) : source.queue);
    const ofResults = result ?? pool?.result ?? source.result;
    const partitions = toPartitions ?? (pool ? (pool.partitions ?? 1) : flags ? source.partitions : 1);
    const lists = asUsage(() => partitionKeys(name, ofResults, partitions));
    // beside the plain name, whatever the number of partitions
    const records = { from: queueKeys(source.queue, source.result), to: queueKeys(name, ofResults) };
    return source.lists.map((list, i): MovePlan => ({
      from: list,
      to: lists as [QueueKeys, ...QueueKeys[]],
      ...(i === 0 ? { records } : {}),
    }));
  });
}

function sourcesOf({ queues, partitioned }: Pick<Place, 'queues' | 'partitioned'>): Source[] {
  if (partitioned) {
    const { keys, numbers } = partitioned;
    return [{ queue: keys.queue, result: keys.result, lists: queues, partitions: numbers.at(-1) ?? 1 }];
  }
  return queues.map((keys) => ({ queue: keys.queue, result: keys.result, lists: [keys], partitions: 1 }));
}

function asUsage<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}
