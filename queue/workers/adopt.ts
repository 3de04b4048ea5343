/** Takes the task that a worker's blocking move has moved, by a script that is sent together with the move (adopt.lua). */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { scriptOfWorker } from './worker-scripts.ts';
import { noPast } from './past.ts';
import { receiptPrefix, type Delivery } from './turn.ts';

/** What the worker knows when it sends the move. */
export interface AdoptRequest {
  readonly worker: string;
  readonly epoch: number;
  /** Number of its last turn, which was answered. */
  readonly turn: number;
  /** `madeAt` of the reply to it. */
  readonly heard: number;
  /** The highest receipt counter seen so far. */
  readonly seen: number;
}

export interface Adopted {
  readonly delivery: Delivery;
  /** Counter of its receipt. Turns that have not seen it return the task, too. */
  readonly counter: number;
  /** More tasks are waiting. */
  readonly more: boolean;
}

/** What the script returns when the server does not know the worker. */
const UNKNOWN = -1;

const adoptOf = scriptOfWorker('adopt', (keys, worker) => [
  keys.queue,
  keys.result,
  keys.worker(worker),
  keys.inflight(worker),
  keys.wake(worker),
  keys.stats,
  keys.load,
  keys.paused,
  keys.carried(worker),
  keys.cancelled,
  keys.history,
  keys.pasts,
  keys.suspects,
  keys.limits,
]);

/**
 * Resolves to `undefined` when nothing was taken: there is no task, or it is left to the next turn. To `unknown` when the server does not
 * know the worker, and what was moved is in the queue again.
 */
export async function adopt(
  redis: Redis,
  keys: QueueKeys,
  { worker, epoch, turn, heard, seen }: AdoptRequest,
): Promise<Adopted | 'unknown' | undefined> {
  const known = [worker, String(epoch), String(turn), String(heard), String(seen)];
  const reply = (await adoptOf(keys, worker)(redis, known)) as
    | readonly [counter: number, raw: Buffer, left: number]
    | typeof UNKNOWN
    | null;
  if (reply === null) return undefined;
  if (reply === UNKNOWN) return 'unknown';
  const [counter, raw, left] = reply;
  return {
    delivery: { receipt: `${receiptPrefix(epoch)}${counter}`, raw, past: noPast },
    counter,
    more: left > 0,
  };
}
