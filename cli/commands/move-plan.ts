/** Which list becomes which, from the flags of `millrace move`. Pure. */
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import type { MovePlan } from '../../queue/move/move.ts';
import { partitionedKeys, partitionKeys } from '../../queue/partitions.ts';
import { UsageError } from '../../runtime/usage-error.ts';
import type { Destination } from '../access/destination.ts';
import type { Place } from '../access/place.ts';

export interface PlanFlags {
  readonly toPartitions?: number;
  readonly fromPartitions?: readonly number[];
}

/** A queue that is one list, or several. */
interface Source {
  readonly queue: string;
  readonly result: string;
  readonly lists: readonly QueueKeys[];
  readonly partitions: number;
}

/** Throws `UsageError` where the flags name no other place, or one name for several queues. */
export function planMove(
  from: Pick<Place, 'queues' | 'pool'>,
  to: Pick<Place, 'pool'>,
  destination: Destination,
  { toPartitions, fromPartitions }: PlanFlags,
): MovePlan[] {
  const { flags, queue, result } = destination;
  if (!flags && queue === undefined && result === undefined && toPartitions === undefined)
    throw new UsageError(
      'no destination is given: name a Redis with --to, a pool with --to-pool, a number with --to-partitions, or a name with --to-queue',
    );
  const sources = sourcesOf(from.queues, fromPartitions ?? partitionsOf(from.pool));
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

/** The numbers of partitions whose lists a pool has now. */
function partitionsOf(pool: Place['pool']): readonly number[] | undefined {
  if (pool?.spec.partitions === undefined && pool?.status?.partitions === undefined) return undefined;
  return pool.status?.partitions ?? [pool.spec.partitions ?? 1];
}

/** `numbers`: of partitions; of one list by default. */
function sourcesOf(queues: readonly QueueKeys[], numbers: readonly number[] = [1]): Source[] {
  const plain = numbers.every((number) => number === 1);
  const bare = (name: string): string => (plain ? name : name.replace(/:\{\d+\}$/, ''));
  const bases = new Map(queues.map(({ queue, result }) => [bare(queue), bare(result)]));
  return Array.from(bases, ([queue, result]) => ({
    queue,
    result,
    lists: asUsage(() => partitionedKeys(queue, result, numbers)),
    partitions: Math.max(...numbers),
  }));
}

function asUsage<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}
