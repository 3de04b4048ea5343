/**
 * How many slots the replicas of a pool with `concurrency: auto` have: as its workers report it, read every few seconds beside the samples.
 * The pool is sized by the number that they found to be best, not by one that they are trying.
 */
import { within } from '../../queue/connection/within.ts';
import { listWorkers, type WorkerEntry } from '../../queue/workers/list-workers.ts';
import { keyOf } from '../../kube/watch.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { parseConcurrency } from '../../runtime/concurrency.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
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

function isAuto({ spec }: WorkerPool): boolean {
  return spec.source === undefined && String(spec.concurrency).startsWith('auto');
}

/** The number to size the pool by; before any worker has reported, what was known last, or the minimum. Undefined where it is fixed. */
export function foundSlotsOf(pool: WorkerPool, { found }: FoundSlotsState): FoundSlots | undefined {
  if (!isAuto(pool)) return undefined;
  const { spec, status } = pool;
  const concurrency = parseConcurrency(spec.concurrency);
  if (typeof concurrency === 'number') return undefined;
  const { slots, why } = found ?? { slots: status?.slots ?? concurrency.min, why: status?.slotsReason ?? '' };
  // other bounds may hold by now
  return { slots: Math.min(Math.max(slots, concurrency.min), concurrency.max), why };
}

/** Reads the workers again if that is due, in the background: no decision waits for it. */
export function followSlots(
  pool: WorkerPool,
  state: FoundSlotsState,
  { link, clock, log }: { readonly link: QueueLink; readonly clock: Clock; readonly log: Logger },
): void {
  const [keys] = link.queues;
  if (!keys || link.source || !isAuto(pool) || clock.elapsed() - state.readAt < READ_MS) return;
  state.readAt = clock.elapsed();
  within(READ_TIMEOUT_MS, listWorkers(link.sampler.redisOf(keys), keys), 'the list of workers').then(
    (workers) =>
      (state.found = slotsAfter(state.found, slotsReported(workers, keyOf(pool), pool.metadata.uid))),
    (err: unknown) => log.debug({ pool: keyOf(pool), err }, 'failed to read the slots of workers'),
  );
}

/** The mean of a pool's workers that do not leave; `undefined` where there are none. Workers of a fixed number report that. */
export function slotsReported(
  workers: readonly WorkerEntry[],
  pool: string,
  uid?: string,
): FoundSlots | undefined {
  const own = workers
    // another cluster may have a pool of the same name
    .filter(({ poolUid }) => poolUid === '' || uid === undefined || poolUid === uid)
    .filter(({ pool: theirs, state }) => theirs === pool && state !== 'draining' && state !== 'drained')
    .map(({ slots, concurrency, slotsWhy = '' }) => ({ slots: slots ?? concurrency, why: slotsWhy }))
    .filter(({ slots }) => slots > 0);
  if (own.length === 0) return undefined;
  const slots = Math.round(own.reduce((sum, worker) => sum + worker.slots, 0) / own.length);
  const nearest = own.toSorted((a, b) => Math.abs(a.slots - slots) - Math.abs(b.slots - slots))[0];
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
