/**
 * `queue/results/` takes ids of tasks and returns their results as soon as they are there, with few reads however many are
 * awaited. It enqueues nothing.
 *
 * All waits of a queue share one KeyWatch on the result hash and the errors: a notice triggers one HMGET for the likeliest ids
 * (waiting.ts), and the others follow until each was looked up (result-reader.ts, at the pace of read-pace.ts).
 */
import { timeout } from '../../runtime/timers.ts';
import { shortId } from '../task.ts';
import { lateResult } from './result-errors.ts';
import { createResultReader, type Waiter } from './result-reader.ts';
import type { HashPlace } from './result-watches.ts';
import { createWaitSet } from './waiting.ts';

export { ResultTimeout, TaskDuplicate, TaskExpired, TaskFailed } from './result-errors.ts';

export interface ResultOptions {
  /** Give up after this long, ms; by default, wait until there is a result. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly as?: 'text' | 'bytes' | 'json';
}

export interface Results extends AsyncDisposable {
  /** `elsewhere`: called with what ends the wait; returns what is called when it has ended. */
  wait(id: string | Buffer, options?: ResultOptions, elsewhere?: WaitElsewhere): Promise<unknown>;
}

/** Looks for a result in other places as well. */
export type WaitElsewhere = (settle: (outcome: Buffer | Error) => void) => () => void;

export function openResults(values: HashPlace, errors: HashPlace): Results {
  const waits = createWaitSet<Waiter>();
  const reader = createResultReader({ values, errors, waits });
  let closed = false;

  function wait(
    id: string | Buffer,
    options: ResultOptions = {},
    elsewhere?: WaitElsewhere,
  ): Promise<unknown> {
    const { signal, timeoutMs, as } = options;
    return new Promise((resolve, reject) => {
      if (closed) throw new Error('the queue is closed: open it again to wait for results');
      signal?.throwIfAborted();
      const onAbort = signal && ((): void => entry.settle(signal.reason as Error));
      const late =
        timeoutMs === undefined
          ? undefined
          : timeout(timeoutMs, () => entry.settle(lateResult(id, timeoutMs)));
      const entry: Waiter = {
        id,
        settle: (outcome) => {
          if (!waits.delete(entry)) return;
          late?.clear();
          endElsewhere?.();
          if (onAbort) signal.removeEventListener('abort', onAbort);
          if (!Buffer.isBuffer(outcome)) reject(outcome);
          else if (as === 'json') resolve(parseJson(id, outcome));
          else resolve(as === 'bytes' ? outcome : outcome.toString());
          if (waits.size === 0) reader.rest();
        },
      };
      waits.add(entry);
      const endElsewhere = elsewhere?.((outcome) => entry.settle(outcome));
      if (onAbort) signal.addEventListener('abort', onAbort, { once: true });
      reader.readSoon();
    });
  }

  return {
    wait,
    [Symbol.asyncDispose]: async () => {
      closed = true;
      reader.rest();
      const error = new Error('the queue was closed while waiting for a result');
      for (const waiter of waits) waiter.settle(error);
      await reader[Symbol.asyncDispose]();
    },
  };
}

async function parseJson(id: string | Buffer, value: Buffer): Promise<unknown> {
  try {
    return JSON.parse(value.toString()) as unknown;
  } catch (cause) {
    throw new SyntaxError(`the result of task ${shortId(id)} is not JSON: ask for it as text or as bytes`, {
      cause,
    });
  }
}
