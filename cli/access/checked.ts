/** Addresses and names from a command line: an invalid one is wrong usage. */
import { redisOptions, type RedisAddress } from '../../queue/connection/connection.ts';
import { redisAddress, type QueueFlags } from '../../queue/flags.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { partitionedKeys } from '../../queue/partitions.ts';
import { UsageError } from '../../runtime/program.ts';
import type { Place } from './place.ts';

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

/**
 * The lists of a queue in these numbers of partitions, as `Place` has them. Throws `UsageError` for an invalid name, or one that
 * cannot have partitions.
 */
export function checkedLists(
  names: { readonly queue: string; readonly result: string },
  numbers: readonly number[] | undefined,
): Pick<Place, 'queues' | 'partitioned'> {
  const keys = checkedKeys(names);
  if (!numbers?.some((number) => number > 1)) return { queues: [keys] };
  const [first, ...rest] = asUsage(() => partitionedKeys(names.queue, names.result, numbers));
  return { queues: [first ?? keys, ...rest], partitioned: { keys, numbers } };
}

function asUsage<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}
