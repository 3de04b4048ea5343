/** Addresses and names from a command line: what cannot be one is wrong usage. */
import { redisOptions, type RedisAddress } from '../../queue/connection/connection.ts';
import { redisAddress, type QueueFlags } from '../../queue/flags.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { UsageError } from '../../runtime/program.ts';

/** The address of the flags. Throws `UsageError` when it cannot be one. */
export function checkedAddress(flags: QueueFlags): RedisAddress {
  const address = redisAddress(flags);
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
