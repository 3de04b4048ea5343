/** The outcome of an attempt at a task. */
import type { Delivery } from '../../queue/workers/turn.ts';

export type Outcome =
  | { readonly kind: 'result'; readonly value: string | Buffer }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly error: string }
  /** `poison`: no worker has survived it. `unreported`: not even its id can be written, so no waiting client is told. */
  | { readonly kind: 'dead'; readonly error: string; readonly poison?: true; readonly unreported?: true }
  /** Somebody cancelled it. What its handler returned after that is dropped. */
  | { readonly kind: 'cancelled' }
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
