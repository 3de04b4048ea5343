/** `context.retryAfter`: ends an attempt and sets when the next one is due. */
import { parseDuration } from '../../runtime/duration.ts';

/** Thrown by `context.retryAfter`. `retry.ts` reads its `retryAfter`, as that of any error. */
export class RetryAfter extends Error {
  override name = 'RetryAfter';
  /** ms. */
  readonly retryAfter: number;
  constructor(ms: number, reason: unknown) {
    if (typeof reason === 'string') super(reason);
    else super('retry requested', reason === undefined ? {} : { cause: reason });
    this.retryAfter = ms;
  }
}

/**
 * Ends the attempt: always throws `RetryAfter`. `when`: ms from now, a `Date`, or a duration such as `30s`; a time in
 * the past means now. `reason`: a text or an error. Throws `RangeError` when `when` is not a time.
 */
export function retryAfter(when: number | Date | string, reason?: unknown): never {
  const ms =
    typeof when === 'string'
      ? parseDuration(when)
      : when instanceof Date
        ? when.getTime() - Date.now()
        : when;
  if (!Number.isFinite(ms))
    throw new RangeError(`cannot retry a task after ${ms} ms: give ms, a Date or a duration like 30s`);
  throw new RetryAfter(Math.max(0, ms), reason);
}
