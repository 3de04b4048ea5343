/** A bound on the wait for an answer: a command to a server that is away would wait for ever. */
import { timeout, type Timer } from '../../runtime/timers.ts';

export class RedisTimeout extends Error {
  override name = 'RedisTimeout';
}

/** The promise's value, or `RedisTimeout` after `ms`. */
export async function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = timeout(ms, () => reject(new RedisTimeout(`${what} got no answer within ${ms} ms`)));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer?.clear();
  }
}
