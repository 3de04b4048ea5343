/** The settings that the worker's flags add up to. */
import { redisOptions, type RedisAddress } from '../../queue/connection/connection.ts';
import { checkDurability, type Durability } from '../../queue/connection/durability.ts';
import { redisAddress } from '../../queue/flags.ts';
import { rankedKeys } from '../../queue/priorities.ts';
import { queueKeys } from '../../queue/keys.ts';
import { partitionedKeys } from '../../queue/partitions.ts';
import { UsageError } from '../../runtime/usage-error.ts';
import { version } from '../../runtime/version.ts';
import type { WorkerOptions } from '../epoch/options.ts';
import type { WorkerFlags } from './flags.ts';

/** The settings of the worker itself. Throws `UsageError` for invalid ones, which would otherwise be retried forever. */
export function workerSettings(
  flags: WorkerFlags,
): Omit<WorkerOptions, 'handler' | 'log' | 'metrics' | 'onReady'> {
  if (flags.lease < 1_000)
    throw new UsageError(`a lease of ${flags.lease} ms is too short: give at least 1s`);
  const redis = redisAddress(flags);
  const { result } = flags;
  const durability =
    flags.durabilityReplicas > 0
      ? { replicas: flags.durabilityReplicas, timeoutMs: flags.durabilityTimeout }
      : undefined;
  const queue = flags.queues ?? [flags.queue];
  const { partitions = [1] } = flags;
  if (queue.length > 1 && partitions.some((number) => number !== 1))
    throw new UsageError(
      '--partitions and --queues with several names exclude each other: start a worker for each queue in partitions',
    );
  const { priorities = [] } = flags;
  if (priorities.length > 0 && (queue.length > 1 || partitions.some((number) => number !== 1)))
    throw new UsageError(
      '--priorities is for one queue in one list: omit it, or --queues and --partitions; several queues have an order of their own',
    );
  check(redis, durability, queue, { result, partitions, priorities });
  return {
    redis,
    queue,
    result,
    partitions,
    priorities,
    id: flags.id,
    mayRename: flags.unnamed,
    concurrency: flags.concurrency,
    leaseMs: flags.lease,
    durability,
    mayBlock: flags.module !== undefined,
    version,
    pool: flags.pool ?? '',
    retry: {
      attempts: flags.attempts,
      maxDeliveries: flags.maxDeliveries,
      backoff: {
        initialMs: flags.backoffInitial,
        maxMs: flags.backoffMax,
        jitter: flags.backoffJitter === 'on',
      },
    },
    tasks: { maxBytes: flags.taskMaxSize },
    results: { ttlMs: Math.ceil(flags.resultTtl ?? 0) || undefined, maxBytes: flags.resultMaxSize },
    deadLetters: { max: flags.deadMax, maxAgeMs: Math.ceil(flags.deadMaxAge) || undefined },
  };
}

/** More would be delayed by their own regular turns, one a second each. */
const MAX_QUEUES = 256;

function check(
  redis: RedisAddress,
  durability: Durability | undefined,
  queues: readonly string[],
  { result, partitions, priorities }: Required<Pick<WorkerFlags, 'result' | 'partitions' | 'priorities'>>,
): void {
  try {
    if (durability) checkDurability(durability);
    redisOptions(redis);
    if (queues.length > MAX_QUEUES)
      throw new RangeError(
        `--queues names ${queues.length} queues, and a worker serves ${MAX_QUEUES} at most, each with a connection of its own: ` +
          'put kinds of tasks that are equally urgent into one queue, or start several workers',
      );
    for (const queue of queues) partitionedKeys(queue, result, partitions);
    if (priorities.length > 0) rankedKeys(queueKeys(queues[0] ?? '', result), priorities);
    if (new Set(queues).size < queues.length)
      throw new RangeError(`--queues names a queue twice: ${queues.join(', ')}`);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}
