/** The outcome of an attempt at a task. */
import type { PartMark } from '../batch-mark.ts';
import type { EncodedTask } from '../task.ts';
import type { Delivery } from '../workers/turn.ts';

export type Outcome =
  | {
      readonly kind: 'result';
      readonly value: string | Buffer;
      /** Tasks that are added with it. */
      readonly spawned?: readonly EncodedTask[];
    }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly error: string }
  | {
      readonly kind: 'dead';
      readonly error: string;
      /** No worker has survived it. */
      readonly poison?: true;
      /** It was not begun by then, ms of Redis time. Neither an attempt nor a failure. */
      readonly expired?: number;
      /** Not even its id can be written, so that waiting clients are not notified. */
      readonly unreported?: true;
    }
  /** It was cancelled. The result of its handler, if any, is dropped. `duplicateOf`: not cancelled, but the task of this id has its key. */
  | { readonly kind: 'cancelled'; readonly duplicateOf?: string }
  /** Not finished, through no fault of its own: back to the queue, for other workers. */
  | { readonly kind: 'release' };

export interface Finished {
  readonly delivery: Delivery;
  readonly id: string | Buffer;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly outcome: Outcome;
  /** The batch that it is a part of. */
  readonly batch?: PartMark | undefined;
  /** Its key, if it is unique. */
  readonly unique?: string | undefined;
  readonly serviceMs: number;
  /** Its handler was not called: it has used nothing of a rate. */
  readonly unbegun?: true;
}

/** Whether it was not run, because it was too late. */
export function hasExpired(outcome: Outcome): boolean {
  return outcome.kind === 'dead' && outcome.expired !== undefined;
}

/** Whether it was not run, because another one has its key. */
export function isDuplicate(outcome: Outcome): boolean {
  return outcome.kind === 'cancelled' && outcome.duplicateOf !== undefined;
}
