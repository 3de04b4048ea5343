/** One queue of a worker, as its slots (slots.ts) see it: its tasks, what it waits for, and how to wake it. */
import type { QueueKeys } from '../../../queue/keys.ts';

export interface Lane {
  readonly keys: QueueKeys;
  /** 0 goes first. Those of equal rank take in turns. */
  readonly rank: number;
  /** Tasks that were taken and not begun. */
  readonly held: number;
  readonly running: number;
  /** There are tasks in its queue that it could take, or may be. */
  readonly wantsWork: boolean;
  /** A turn of any kind is on its way. */
  readonly turning: boolean;
  /** It takes nothing for now: too many bytes wait for a slot, or too many outcomes were refused. */
  readonly full: boolean;
  /** When the oldest of its tasks that wait for a slot was taken, by performance.now(). */
  readonly heldSince: number | undefined;
  /** Tasks of its queue are on their way to the worker or back, so that its keys do not show them. */
  readonly inTransit: boolean;
  /** It holds suspects, or takes nothing until the worker is empty for some: the queues below wait. */
  readonly apart: boolean;
  /** It holds suspects, running or not. */
  readonly suspects: boolean;
  /** It does, and it was not reported to Redis yet that anything runs beside them. */
  readonly solitary: boolean;
  /** A turn is on its way that may bring tasks. */
  readonly taking: boolean;
  /** Estimate of how long until all that it holds has ended, ms. */
  readonly emptyInMs: number;
  /** For how long queues that were found empty are taken to be empty still, for tasks taken meanwhile, ms. */
  readonly windowMs: number;
  /** Its queue's controller asks this worker to drain. */
  readonly drainOrdered: boolean;
  /** Redis may hold of its queue that this worker has drained. */
  readonly maybeDrained: boolean;
  /** It holds nothing, has settled all, and nothing is on its way to it. */
  readonly empty: boolean;
  /** When it last learned what its queue holds, by performance.now(); infinite while nothing can be taken from it. */
  readonly readAt: number;
  /** When that was requested. */
  readonly readSentAt: number;
  /** The keys alone do not show whether it holds tasks: some are on their way from Redis or back, delayed ones are due, or held ones may begin. */
  readonly inMotion: boolean;
  /** Begins what it holds while slots are free. */
  fill(): void;
  /** Takes from its queue as soon as it may. */
  take(): void;
  /** Makes a turn now to learn what its queue holds, whether or not it may take from it. */
  poll(): void;
  /** Turns that were sent so far: a `foundEmpty` with an older number is out of date. */
  readonly turns: number;
  /** A read sent at `sentAt` (performance.now()), after `turns` turns of this lane, found its queue empty. */
  foundEmpty(turns: number, sentAt: number): void;
  /** Reports to Redis that something is about to run beside its suspects. */
  announceCompany(): void;
  /** Something changed that it may have waited for. */
  wake(): void;
  /** Tasks are about to run that may block its next turns: its lease is to be renewed meanwhile. */
  guardLease(): void;
}
