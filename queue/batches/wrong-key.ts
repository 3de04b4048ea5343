/** Names the key of a batch that is of another type, where Redis only says that one is. */
import { replyCode } from '../connection/reply-code.ts';
import { findWrongKey, typesOfBatch, typesOfQueue } from '../key-types.ts';
import type { Part } from '../parts/part.ts';
import { WrongKeyType } from '../pool/sample.ts';

/** What to throw for an error of a command about this batch: `WrongKeyType` where there is such a key, else the error. */
export async function namingKey(error: unknown, parts: readonly Part[], id: string): Promise<unknown> {
  if (replyCode(error) !== 'WRONGTYPE') return error;
  for (const { redis, own } of parts) {
    const wrong = await findWrongKey(redis, [...typesOfBatch(own, id), ...typesOfQueue(own)]);
    if (wrong) return new WrongKeyType(wrong.key, wrong.wanted, `it is ${wrong.found}`);
  }
  return error;
}
