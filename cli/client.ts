/** A queue for one command: reached or told why not in one line, and closed at the end. */
import {
  closeRedis,
  describeRedisError,
  openRedis,
  redisOptions,
  within,
  type RedisAddress,
} from '../queue/connection.ts';
import { addressOf, type QueueFlags } from '../queue/flags.ts';
import { queueKeys, type QueueKeys } from '../queue/keys.ts';
import { openQueue, type Queue } from '../queue/queue.ts';
import { UsageError } from '../runtime/program.ts';

const REACH_MS = 6_000;

/**
 * Runs `use` with the queue that the flags name. Throws `UsageError` for an address or a name that cannot be, and what
 * is wrong with the server when it does not answer or refuses a command.
 */
export async function withQueue<T>(flags: QueueFlags, use: (queue: Queue) => Promise<T>): Promise<T> {
  const address = checkedAddress(flags);
  checkedKeys(flags);
  await reach(address);
  await using queue = openQueue({ redis: address, queue: flags.queue, result: flags.result });
  try {
    return await use(queue);
  } catch (error) {
    if ((error as Error).name !== 'ReplyError') throw error;
    throw new Error(describeRedisError(error, address), { cause: error });
  }
}

/** The address of the flags. Throws `UsageError` when it cannot be one. */
export function checkedAddress(flags: QueueFlags): RedisAddress {
  const address = addressOf(flags);
  return asUsage(() => (redisOptions(address), address));
}

/** The keys of a queue. Throws `UsageError` when they cannot be. */
export function checkedKeys({
  queue,
  result,
}: {
  readonly queue: string;
  readonly result: string;
}): QueueKeys {
  return asUsage(() => queueKeys(queue, result));
}

function asUsage<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** Clients reconnect for ever, which is not what somebody at a terminal waits for: one try says what is wrong. */
async function reach(address: RedisAddress): Promise<void> {
  let last: unknown;
  const redis = openRedis(address, { onError: (error) => (last = error), retryStrategy: () => null });
  try {
    await within(REACH_MS, redis.ping(), 'PING');
  } catch (error) {
    throw new Error(describeRedisError(last ?? error, address), { cause: error });
  } finally {
    await closeRedis(redis);
  }
}
