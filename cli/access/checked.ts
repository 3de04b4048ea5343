/** Addresses and names from a command line: an invalid one is wrong usage. */
import { redisOptions, type RedisAddress } from '../../queue/connection/connection.ts';
import { redisAddress, type QueueFlags } from '../../queue/flags.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { UsageError } from '../../runtime/program.ts';

/** The address in the flags. Throws `UsageError` if it is invalid. */
export function checkedAddress(flags: QueueFlags): RedisAddress {
  const address = redisAddress(flags);
  return asUsage(() => (redisOptions(address), address));
}

/** The keys of a queue. Throws `UsageError` if a name is invalid. */
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
