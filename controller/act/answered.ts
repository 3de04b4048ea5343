/**
 * What a reconcile asks of a pool's Redis is answered soon, or the reconcile fails and is tried again: a command that was on its way when
 * the connection broke waits for the next connection, which may be hours away, and a pool is reconciled by one call at a time.
 */
import { within } from '../../queue/connection/connection.ts';

const ANSWER_TIMEOUT_MS = 10_000;

/** Resolves as the promise does; rejects with `RedisTimeout`. What was asked may be done all the same, and later. */
export function answered<T>(promise: Promise<T>, what: string): Promise<T> {
  return within(ANSWER_TIMEOUT_MS, promise, what);
}
