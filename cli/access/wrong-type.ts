/** Which key of a queue is of another type than Millrace has there, for an error that names it. */
import { closeRedis, openRedis, type RedisAddress } from '../../queue/connection/connection.ts';
import { findWrongKey, typesOfAll } from '../../queue/key-types.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { locationOf } from '../../queue/location.ts';
import { visible } from '../../runtime/plain-text.ts';

/**
 * Among the keys of these queues, of their workers, and of the batch with this id. `undefined` where none is found: the error is about a
 * key of a task, or of another batch. Rejects if the server does not answer.
 */
export async function describeWrongType(
  address: RedisAddress,
  queues: readonly QueueKeys[],
  batch?: string,
): Promise<string | undefined> {
  for (const queue of queues) {
    const there = locationOf(address, queue);
    const redis = openRedis(there.address, { retryStrategy: () => null });
    try {
      const wrong = await findWrongKey(redis, await typesOfAll(redis, there.keys, batch));
      if (wrong)
        return `the key "${visible(wrong.key)}" is ${wrong.found}, and Millrace has ${wrong.wanted} there: use another name, or remove that key`;
    } finally {
      await closeRedis(redis);
    }
  }
  return undefined;
}
