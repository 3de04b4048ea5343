/** Bounds the wait for a reply: a command to a server that is down would wait forever. */
import { timeout, type Timer } from '../../runtime/timers.ts';

export class RedisTimeout extends Error {
  override name = 'RedisTimeout';
}

/**
 * Resolves as the promise does; rejects with `RedisTimeout` after `ms`. `what` names the command in the error. A reply that is there by
 * then counts, even if the process was too busy to read it: timers come first in the event loop, then what was received.
 */
export async function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    const expire = (): void => reject(new RedisTimeout(`${what} got no answer within ${ms} ms`));
    timer = timeout(ms, () => setImmediate(expire));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer?.clear();
  }
}
