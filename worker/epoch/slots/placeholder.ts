/** Holds the place of a queue among the slots of its worker until it is there itself. */
import type { QueueKeys } from '../../../queue/keys.ts';
import { timeout } from '../../../runtime/timers.ts';
import type { WorkerSlots } from './slots.ts';

const nothing = (): void => undefined;

/**
 * Keeps a starting worker from beginning with the least urgent queue only because that one was registered first: for `ms`, or
 * until the returned function is called.
 */
export function holdPlace(slots: WorkerSlots, keys: QueueKeys, rank: number, ms: number): () => void {
  const place = { keys, rank, held: 0, running: 0, wantsWork: true, readAt: Infinity, readSentAt: Infinity };
  const reads = { inMotion: true, turns: 0, foundEmpty: nothing };
  const suspects = {
    inTransit: false,
    apart: false,
    suspects: false,
    solitary: false,
    taking: false,
    emptyInMs: 0,
    windowMs: 0,
  };
  // none of equal rank waits for it
  const turns = { turning: true, full: false, heldSince: undefined };
  const drains = { drainOrdered: false, maybeDrained: false, empty: true };
  const calls = {
    fill: nothing,
    take: nothing,
    poll: nothing,
    announceCompany: nothing,
    wake: nothing,
    guardLease: nothing,
  };
  const leave = slots.join({ ...place, ...reads, ...suspects, ...turns, ...drains, ...calls });
  const timer = timeout(ms, leave);
  return () => {
    timer.clear();
    leave();
  };
}
