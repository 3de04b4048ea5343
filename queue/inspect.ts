/**
 * The state of a queue and its workers, for people and programs: read-only, a handful of commands, no scans.
 */
import type { Redis } from 'ioredis';
import { listWorkers, type WorkerEntry } from './workers/list-workers.ts';
import type { QueueKeys } from './keys.ts';
import { readPause, type QueuePause } from './pause.ts';
import { listProgress, type TaskProgress } from './progress.ts';
import { sampleQueue, type QueueSample } from './pool/sample.ts';

export interface WorkerView {
  readonly id: string;
  readonly epoch: number;
  readonly state: string;
  readonly inFlight: number;
  readonly concurrency: number;
  readonly version: string;
  /** ms of Redis time. */
  readonly started: number;
  /** Remaining time of its lease, ms; negative when it has expired. */
  readonly leaseLeft: number;
  /** Why it has so many slots, where it finds their number itself. */
  readonly slotsWhy?: string | undefined;
}

export interface QueueView extends QueueSample {
  readonly workerList: readonly WorkerView[];
  /** Since when and why, if it is paused. */
  readonly pause: QueuePause | undefined;
  /** Progress reports of running tasks, about a hundred per worker at most. */
  readonly progress: readonly TaskProgress[];
}

/** Why so many are in force: what the worker reports is the reason of those that it found best, and it may be trying more. */
export function whySlots({
  concurrency,
  slots,
  slotsWhy,
}: Pick<WorkerEntry, 'concurrency' | 'slots' | 'slotsWhy'>): string | undefined {
  if (slots === undefined || slotsWhy === undefined || concurrency <= slots) return slotsWhy;
  return `on trial (${slots} so far: ${slotsWhy})`;
}

/** Reads the queue and its workers (at most 1,000). */
export async function inspectQueue(redis: Redis, keys: QueueKeys): Promise<QueueView> {
  const sample = await sampleQueue(redis, keys);
  const workers = await listWorkers(redis, keys);
  const workerList = workers.map((worker): WorkerView => {
    const { id, epoch, state, inFlight, concurrency, version, started, leaseEnds } = worker;
    return {
      id,
      epoch,
      state: state || 'lost',
      inFlight,
      concurrency,
      version,
      started,
      leaseLeft: leaseEnds - sample.now,
      slotsWhy: whySlots(worker),
    };
  });
  const holding = workerList.filter(({ inFlight }) => inFlight > 0).map(({ id }) => id);
  return {
    ...sample,
    workerList,
    pause: sample.paused ? await readPause(redis, keys) : undefined,
    progress: await listProgress(redis, keys, holding),
  };
}

/** The most informative state first: busy if it is in any queue, drained only if it is in all. */
const TELLING = ['lost', 'busy', 'draining', 'starting', 'idle', 'drained'];

/** The state of a worker that has these in its queues. */
export function stateTogether(states: readonly [string, ...string[]]): string {
  return TELLING.find((state) => states.includes(state)) ?? states[0];
}

/** A worker as all lists of a queue in partitions have it. */
export function workerTogether(views: readonly [WorkerView, ...WorkerView[]]): WorkerView {
  const [first, ...others] = views;
  return {
    ...first,
    state: stateTogether([first.state, ...others.map(({ state }) => state)]),
    inFlight: views.reduce((sum, view) => sum + view.inFlight, 0),
    started: Math.min(...views.map(({ started }) => started)),
    leaseLeft: Math.min(...views.map(({ leaseLeft }) => leaseLeft)),
  };
}
