/** Bounds the wait for a reply: a command to a server that is down would wait forever. */
import { timeout, type Timer } from '../../runtime/timers.ts';

export class RedisTimeout extends Error {
  override name = 'RedisTimeout';
}

/** Resolves as the promise does; rejects with `RedisTimeout` after `ms`. `what` names the command in the error. */
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
