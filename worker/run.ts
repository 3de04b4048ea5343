/**
 * Runs one task: from a delivery to an Outcome, which is all that the loop sees of a handler. Never throws.
 */
import { parseTask } from '../queue/task.ts';
import type { Delivery } from '../queue/turn.ts';
import { describeError } from './describe-error.ts';
import { encodeResult } from './encode.ts';
import type { Handler } from './handler.ts';
import { nextAttempt, type RetryPolicy } from './retry.ts';

export type Outcome =
  | { readonly kind: 'result'; readonly value: string | Buffer }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly error: string }
  | { readonly kind: 'dead'; readonly error: string }
  /** Not finished and not to blame: back to the queue, for others. */
  | { readonly kind: 'release' };

export interface Finished {
  readonly delivery: Delivery;
  readonly id: string | Buffer;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly outcome: Outcome;
  readonly serviceMs: number;
}

export interface RunDeps {
  readonly handler: Handler;
  readonly queue: string;
  readonly retry: RetryPolicy;
  /** From [0, 1). */
  readonly random: () => number;
}

/**
 * Runs the task of `delivery`, begun at `started` by performance.now(). When `signal` has aborted by the time it ends
 * without a result, it is released. A handler that answers at once, without a promise, has its Outcome at once.
 */
export function runTask(
  delivery: Delivery,
  signal: AbortSignal,
  started: number,
  deps: RunDeps,
): Finished | Promise<Finished> {
  const attempt = delivery.past.attempts + 1;
  const { id, value } = parseTask(delivery.raw);
  const finish = (outcome: Outcome): Finished => ({
    delivery,
    id,
    attempt,
    outcome,
    serviceMs: performance.now() - started,
  });
  const fail = (error: unknown): Finished => {
    if (signal.aborted) return finish({ kind: 'release' });
    const next = nextAttempt({ attempt, error, policy: deps.retry, random: deps.random() });
    return next.kind === 'dead'
      ? finish({ kind: 'dead', error: next.reason })
      : finish({ kind: 'retry', delayMs: next.delayMs, error: describeError(error) });
  };
  const succeed = (result: unknown): Finished => finish({ kind: 'result', value: encodeResult(result) });
  try {
    const context = { id: id.toString(), raw: delivery.raw, attempt, signal, queue: deps.queue };
    const answer = deps.handler(value, context);
    return isThenable(answer) ? Promise.resolve(answer).then(succeed).catch(fail) : succeed(answer);
  } catch (error) {
    return fail(error);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}
