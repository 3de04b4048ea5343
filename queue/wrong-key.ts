/** Names the key of a queue that is of another type, where Redis only says that one is. */
import type { Redis } from 'ioredis';
import { replyCode } from './connection/reply-code.ts';
import { findWrongKey, typesOfAll } from './key-types.ts';
import type { QueueKeys } from './keys.ts';
import { WrongKeyType } from './pool/sample.ts';

/** A list of the queue: the keys in its slot, and where they are. */
interface List {
  readonly redis: Redis;
  readonly own: QueueKeys;
}

/** Runs this, and throws in place of an error of Redis that a key has another type one that names it. */
export type Named = <T>(this: void, run: () => Promise<T>, harm?: string) => Promise<T>;

/** Of what may have been done in part. */
export const NOT_LOST = 'no task was lost';

/**
 * What to throw for an error of a command: `WrongKeyType` where there is such a key, else the error. `batch`: the one that it is about.
 * `harm`: what became of what the command is about, if it may have done a part of it.
 */
export async function namingKey(
  error: unknown,
  lists: readonly List[],
  { batch, harm }: { readonly batch?: string; readonly harm?: string } = {},
): Promise<unknown> {
  if (replyCode(error) !== 'WRONGTYPE') return error;
  for (const { redis, own } of lists) {
    const wrong = await findWrongKey(redis, await typesOfAll(redis, own, batch));
    if (wrong) return new WrongKeyType(wrong.key, wrong.wanted, `it is ${wrong.found}`, harm);
  }
  return error;
}
