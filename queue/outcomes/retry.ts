/**
 * Decides what follows a failed attempt: another one after a delay, or the dead letters. Pure: the random number is an
 * argument.
 *
 * An error may carry the delay until the next attempt as its own property `retryAfter`, ms; it takes precedence, bounded as
 * every duration is, from now to 292 years.
 *
 * The delay doubles with every attempt, `initial · 2^(attempt − 1)`, up to `max`, and is then jittered between
 * its half and its whole: "Equal Jitter" of Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture
 * Blog, 2015). That article prefers "Full Jitter" (from zero up) for clients that compete for one lock, where
 * the earliest free moment is the best one. A task is retried to outlast something that is broken: full jitter
 * can use up all attempts within a second, while half of the backoff is a floor that the user can count on, and
 * the other half is still wide enough to pull a burst of failures apart.
 */

import { LONGEST_MS } from '../../runtime/duration.ts';
import { describeError } from '../../runtime/describe-error.ts';

export interface RetryPolicy {
  /** Attempts in all, the first one included. */
  readonly attempts: number;
  /** Deliveries that killed their worker before a task is given up; defaults to 5. */
  readonly maxDeliveries?: number;
  readonly backoff: {
    readonly initialMs: number;
    readonly maxMs: number;
    readonly jitter: boolean;
  };
}

export interface FailedAttempt {
  /** 1 for the first try. */
  readonly attempt: number;
  /** The value that the handler threw. Its own properties `retry: false` and `retryAfter` (ms) decide about the next attempt. */
  readonly error: unknown;
  readonly policy: RetryPolicy;
  /** From [0, 1). */
  readonly random: number;
}

export type NextAttempt =
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'dead'; readonly reason: string };

/** Decides what follows a failed attempt. `delayMs` is whole, at most `LONGEST_MS`; `reason` is one line, the error in it. */
export function nextAttempt({ attempt, error, policy, random }: FailedAttempt): NextAttempt {
  if (own(error, 'retry') === false)
    return { kind: 'dead', reason: `not to be retried: ${describeError(error)}` };
  if (attempt >= policy.attempts) {
    return {
      kind: 'dead',
      reason: `failed ${attempt} of ${policy.attempts} attempts: ${describeError(error)}`,
    };
  }
  const asked = own(error, 'retryAfter');
  if (typeof asked === 'number' && Number.isFinite(asked))
    return { kind: 'retry', delayMs: Math.min(LONGEST_MS, Math.max(0, Math.ceil(asked))) };
  return { kind: 'retry', delayMs: backoffMs(attempt, policy, random) };
}

function backoffMs(attempt: number, { backoff }: RetryPolicy, random: number): number {
  // above 2^1000 a double becomes infinite, and 0 · Infinity is no delay.
  const full = Math.min(backoff.maxMs, backoff.initialMs * 2 ** Math.min(attempt - 1, 1000));
  return Math.min(LONGEST_MS, Math.round(backoff.jitter ? full / 2 + (full / 2) * random : full));
}

/** Only an own property counts: one of a prototype or a proxy is not about this failure. */
function own(error: unknown, key: 'retry' | 'retryAfter'): unknown {
  if (typeof error !== 'object' || error === null) return undefined;
  try {
    return Object.getOwnPropertyDescriptor(error, key)?.value;
  } catch {
    return undefined; // a revoked proxy was thrown
  }
}
