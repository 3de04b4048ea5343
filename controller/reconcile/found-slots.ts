/**
 * How many slots the replicas of a pool with `concurrency: auto` have: as its workers report it, read every few seconds beside the samples.
 * The pool is sized by the number that they found to be best, not by one that they are trying.
 */
import { within } from '../../queue/connection/within.ts';
import { listWorkers, type WorkerEntry } from '../../queue/workers/list-workers.ts';
import { keyOf } from '../../kube/watch.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { parseConcurrency, type ConcurrencyBounds } from '../../runtime/concurrency.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { isWorkerOf } from '../act/ownership.ts';
import type { QueueLink } from '../sample/sampler.ts';

/** What the workers of a pool found. */
export interface FoundSlots {
  /** Of a replica. */
  readonly slots: number;
  /** Why, in the words of a worker; empty if it has no reason. */
  readonly why: string;
}

export interface FoundSlotsState {
  found: FoundSlots | undefined;
  readAt: number;
}

export function initialFoundSlots(): FoundSlotsState {
  return { found: undefined, readAt: -Infinity };
}

const READ_MS = 5_000;
const READ_TIMEOUT_MS = 2_000;
/** Smaller changes than this share move no replicas. */
const HYSTERESIS = 0.1;

/** Undefined where the number is fixed. */
function boundsOf({ spec: { source, concurrency } }: WorkerPool): ConcurrencyBounds | undefined {
  if (source !== undefined || typeof concurrency === 'number') return undefined;
  const parsed = parseConcurrency(concurrency);
  return typeof parsed === 'number' ? undefined : parsed;
}

/** The number to size the pool by; before any worker has reported, what was known last, or the minimum. Undefined where it is fixed. */
export function foundSlotsOf(pool: WorkerPool, { found }: FoundSlotsState): FoundSlots | undefined {
  const bounds = boundsOf(pool);
  if (!bounds) return undefined;
  const { status } = pool;
  const { slots, why } = found ?? { slots: status?.slots ?? bounds.min, why: status?.slotsReason ?? '' };
  // other bounds may hold by now
  return { slots: Math.min(Math.max(slots, bounds.min), bounds.max), why };
}

/** Reads the workers again if that is due, in the background: no decision waits for it. */
export function followSlots(
  pool: WorkerPool,
  state: FoundSlotsState,
  { link, clock, log }: { readonly link: QueueLink; readonly clock: Clock; readonly log: Logger },
): void {
  const [keys] = link.queues;
  if (!keys || link.source || !boundsOf(pool) || clock.elapsed() - state.readAt < READ_MS) return;
  state.readAt = clock.elapsed();
  within(READ_TIMEOUT_MS, listWorkers(link.sampler.redisOf(keys), keys), 'the list of workers').then(
    (workers) => (state.found = slotsAfter(state.found, slotsReported(workers, pool))),
    (err: unknown) => log.debug({ pool: keyOf(pool), err }, 'failed to read the slots of workers'),
  );
}

/** The mean of a pool's workers that do not leave; `undefined` where there are none. Workers of a fixed number report that. */
export function slotsReported(
  workers: readonly WorkerEntry[],
  pool: Pick<WorkerPool, 'metadata'>,
): FoundSlots | undefined {
  const own = workers
    .filter((worker) => isWorkerOf(pool, worker))
    .filter(({ state }) => state !== 'draining' && state !== 'drained')
    .map(({ id, slots, concurrency, slotsWhy = '' }) => ({ id, slots: slots ?? concurrency, why: slotsWhy }))
    .filter(({ slots }) => slots > 0);
  if (own.length === 0) return undefined;
  const slots = Math.round(own.reduce((sum, worker) => sum + worker.slots, 0) / own.length);
  // they come in another order with each renewal of a lease, and the reason is not to change with it
  const nearest = own.toSorted(
    (a, b) => Math.abs(a.slots - slots) - Math.abs(b.slots - slots) || (a.id < b.id ? -1 : 1),
  )[0];
  return { slots, why: nearest?.why ?? '' };
}

/** What is known goes on where no worker reports, and where the difference is small. */
export function slotsAfter(
  before: FoundSlots | undefined,
  now: FoundSlots | undefined,
): FoundSlots | undefined {
  if (!before || !now) return now ?? before;
  // a range of one slot is large where there are few
  const near = Math.abs(now.slots - before.slots) < HYSTERESIS * before.slots;
  return near ? { ...now, slots: before.slots } : now;
}
