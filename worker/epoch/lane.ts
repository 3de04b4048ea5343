/** One queue of a worker, as its slots (slots.ts) see it: what it holds, what it waits for, and what it can be told to do. */
import type { QueueKeys } from '../../queue/keys.ts';

export interface Lane {
  readonly keys: QueueKeys;
  /** 0 goes first. */
  readonly rank: number;
  /** Tasks that were taken and not begun. */
  readonly held: number;
  readonly running: number;
  /** There are tasks in its queue, or may be. */
  readonly curious: boolean;
  /** It holds suspects, or takes nothing until the worker is empty for some: the queues below wait. */
  readonly apart: boolean;
  /** Suspects of its queue run, and Redis does not know yet that anything runs beside them. */
  readonly solitary: boolean;
  /** A turn is on its way that may bring tasks. */
  readonly taking: boolean;
  /** How long until all that it holds has ended, as far as it can tell, ms. */
  readonly emptyInMs: number;
  /** The window in which what was found empty is believed to be so for tasks that were taken meanwhile, ms. */
  readonly windowMs: number;
  /** Its queue's controller asks this worker to drain. */
  readonly told: boolean;
  /** Redis may hold of its queue that this worker has drained. */
  readonly saidDrained: boolean;
  /** It holds nothing, has settled all, and nothing is on its way to it. */
  readonly empty: boolean;
  /** When it last found out what its queue holds, by performance.now(); infinite while nothing can be taken from it. */
  readonly lookedAt: number;
  /** When it asked Redis for that. */
  readonly lookSentAt: number;
  /** What lies in Redis does not say all: tasks are on their way from there or back, or delayed ones are due. */
  readonly inMotion: boolean;
  /** Begins what it holds while slots are free. */
  fill(): void;
  /** Takes from its queue as soon as it may. */
  ask(): void;
  /** Finds out what its queue holds, now, whether or not it may take from it. */
  look(): void;
  /** What begins a note for `foundEmpty`: it holds as long as the lane has made no turn in between. */
  readonly turns: number;
  /** Redis was asked at `sentAt`, after `turns` turns of this lane, and its queue held nothing. By performance.now(). */
  foundEmpty(turns: number, sentAt: number): void;
  /** Tells Redis that something is about to run beside its suspects. */
  accompany(): void;
  /** Something changed that it may have waited for. */
  nudge(): void;
  /** Tasks are about to run that may stand in the way of its next turns. */
  guard(): void;
}
