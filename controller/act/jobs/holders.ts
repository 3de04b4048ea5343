/** Which tasks are held for Jobs of a pool: read from Redis, by the workers that are called `job/NAME`. */
import type { WorkerPool } from '../../../kube/workerpool.ts';
import type { QueueKeys } from '../../../queue/keys.ts';
import {
  cancelNames,
  findCancelled,
  HOLDER_PREFIX,
  readHeldTask,
} from '../../../queue/outcomes/held-task.ts';
import { listAllWorkers } from '../../../queue/workers/list-workers.ts';
import { reap } from '../../../queue/workers/reap.ts';
import { renewLease } from '../../../queue/workers/renew.ts';
import type { QueueLink } from '../../sample/sampler.ts';
import { answered } from '../answered.ts';
import { isWorkerOf } from '../ownership.ts';
import { isOfOneJob } from './failing.ts';
import { LEASE_MS, READ_BYTES, type Holder } from './task-jobs.ts';

export interface HoldersInput {
  readonly pool: WorkerPool;
  readonly link: QueueLink;
  /** ms of the elapsed clock. */
  readonly now: number;
}

/** What was read of each holder, by its name; it saves reading it again. */
export type KnownHolders = Map<string, KnownHolder>;

export interface KnownHolder {
  readonly epoch: number;
  /** What its task may be cancelled by. */
  readonly names: readonly (string | Buffer)[];
  /** ms of the elapsed clock. */
  readonly renewedAt: number;
}

/** A task that is held for a Job of this name. */
export interface HeldJob {
  readonly name: string;
  readonly isCancelled: boolean;
  /** Why its task cannot be read. */
  readonly failure: Error | undefined;
  /** Resolves to `undefined` if nobody holds it any more; rejects where its task cannot be read. */
  readonly read: () => Promise<Holder | undefined>;
}

const RENEW_MS = 600_000;

/** The tasks of this queue that are held for Jobs of the pool; their leases are renewed. */
export async function readHolders(
  input: HoldersInput,
  keys: QueueKeys,
  known: KnownHolders,
): Promise<HeldJob[]> {
  const listing = listAllWorkers(input.link.sampler.redisOf(keys), keys);
  const workers = (await answered(listing, 'the list of workers')).filter(
    (worker) => isWorkerOf(input.pool, worker) && worker.id.startsWith(HOLDER_PREFIX) && worker.epoch > 0,
  );
  return readThese(input, keys, known, workers);
}

/** The same of one Job, which the list of workers did not have: it may have changed while it was read. */
export async function readHolder(
  input: HoldersInput,
  keys: QueueKeys,
  known: KnownHolders,
  name: string,
): Promise<HeldJob[]> {
  const id = HOLDER_PREFIX + name;
  try {
    const reading = readHeldTask(input.link.sampler.redisOf(keys), keys, id, READ_BYTES);
    const held = await answered(reading, 'the task of a Job');
    return await readThese(input, keys, known, held ? [{ id, epoch: held.epoch }] : []);
  } catch (error) {
    if (!isOfOneJob(error)) throw error;
    return [{ name, isCancelled: false, failure: error, read: () => Promise.reject(error) }];
  }
}

async function readThese(
  { link, now }: HoldersInput,
  keys: QueueKeys,
  known: KnownHolders,
  workers: readonly { readonly id: string; readonly epoch: number }[],
): Promise<HeldJob[]> {
  const redis = link.sampler.redisOf(keys);
  const readTask = (id: string): ReturnType<typeof readHeldTask> =>
    answered(readHeldTask(redis, keys, id, READ_BYTES), 'the task of a Job');
  const read = async (id: string, epoch: number): Promise<KnownHolder | undefined> => {
    const before = known.get(id);
    if (before?.epoch === epoch && now - before.renewedAt < RENEW_MS) return before;
    const held = await readTask(id);
    if (!held) return undefined;
    if (!held.delivery) {
      // it was settled, or nothing was taken, and its controller got no further
      await answered(reap(redis, keys, id, held.epoch, 'leave'), 'reap');
      return undefined;
    }
    await answered(renewLease(redis, keys, id, held.epoch, LEASE_MS), 'the lease of a Job');
    return { epoch, names: cancelNames(held.delivery.raw), renewedAt: now };
  };
  const holders: { id: string; names: KnownHolder['names']; failure?: Error }[] = [];
  for (const { id, epoch } of workers) {
    try {
      const found = await read(id, epoch);
      if (!found) continue;
      known.set(id, found);
      holders.push({ id, names: found.names });
    } catch (error) {
      if (!isOfOneJob(error)) throw error;
      holders.push({ id, names: [], failure: error });
    }
  }
  const all = holders.flatMap(({ names }) => names);
  const marks = await answered(findCancelled(redis, keys, all), 'the cancelled tasks');
  let at = 0;
  return holders.map(({ id, names, failure }): HeldJob => {
    const isCancelled = marks.slice(at, at + names.length).some(Boolean);
    at += names.length;
    const name = id.slice(HOLDER_PREFIX.length);
    const readAgain = async (): Promise<Holder | undefined> => {
      const held = await readTask(id);
      return held?.delivery && { redis, keys, held };
    };
    return { name, isCancelled, read: readAgain, failure };
  });
}
