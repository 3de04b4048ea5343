/**
 * The Jobs of a pool, in two steps: `followJobs` brings those that there are to what Redis and Kubernetes say of them, and
 * `startJobs` takes further tasks and creates a Job for each.
 *
 * Which tasks have a Job is in Redis and nowhere else: the workers of the pool that are called `job/NAME`. The controller remembers
 * nothing that it could not read again.
 */
import type { Job } from '../../../kube/wire.ts';
import { KubeError } from '../../../kube/errors.ts';
import { keyOf } from '../../../kube/watch.ts';
import type { WorkerPool } from '../../../kube/workerpool.ts';
import type { QueueKeys } from '../../../queue/keys.ts';
import {
  cancelNames,
  findCancelled,
  holdTask,
  readHeldTask,
  type HolderFields,
} from '../../../queue/outcomes/held-task.ts';
import { listWorkers } from '../../../queue/workers/list-workers.ts';
import { reap } from '../../../queue/workers/reap.ts';
import { renewLease } from '../../../queue/workers/renew.ts';
import { parseDuration } from '../../../runtime/duration.ts';
import { version } from '../../../runtime/version.ts';
import { JOB_TTL_S } from '../../../kube/defaults.ts';
import type { QueueLink } from '../../sample/sampler.ts';
import { endOf } from './job-end.ts';
import { jobName } from './job.ts';
import {
  cancelJob,
  createJob,
  deleteJob,
  findJob,
  HOLDER_PREFIX,
  isOwnJob,
  LEASE_MS,
  podsRemain,
  READ_BYTES,
  recordEnd,
  release,
  type Holder,
  type JobsInput as TaskInput,
} from './task-jobs.ts';

export interface JobsState {
  /** What was read of each holder, by its name; it saves reading it again. */
  readonly holders: Map<string, KnownHolder>;
  /** The last refusal of a Job, and until when none is created for that, ms of the elapsed clock. */
  refused:
    | { readonly why: string; readonly until: number; readonly generation: number | undefined }
    | undefined;
}

export function initialJobsState(): JobsState {
  return { holders: new Map(), refused: undefined };
}

interface KnownHolder {
  readonly epoch: number;
  /** What its task may be cancelled by. */
  readonly names: readonly (string | Buffer)[];
  /** ms of the elapsed clock. */
  readonly renewedAt: number;
}

export interface JobsInput extends TaskInput {
  readonly link: QueueLink;
  /** The pool's Jobs, as the watch has them. */
  readonly jobs: readonly Job[];
  /** Tasks that have no Job may be given one. */
  readonly starts: boolean;
  /** ms of the elapsed clock. */
  readonly now: number;
}

export interface Followed {
  /** Jobs that have not ended, those included that are being deleted. */
  readonly running: number;
  /** Names of Jobs by what became of them in this call. */
  readonly created: readonly string[];
  readonly recorded: readonly string[];
  readonly deleted: readonly string[];
  /** Why a Job could not be created, human-readable. */
  readonly refused: string | undefined;
}

export interface Started {
  readonly created: readonly string[];
  readonly refused: string | undefined;
  /** There may be more to start now. */
  readonly more: boolean;
}

const RENEW_MS = 600_000;
/** Jobs that one call starts. */
const MOST_STARTS = 50;

type Notes = { -readonly [K in 'created' | 'recorded' | 'deleted']: string[] } & { refused?: string };

/** Rejects if Redis or the API server fails: what was done until then is not done again. */
export async function followJobs(input: JobsInput, state: JobsState): Promise<Followed> {
  const { link, jobs } = input;
  const byName = new Map(jobs.map((job) => [job.metadata.name, job]));
  const notes: Notes = { created: [], recorded: [], deleted: [] };
  const running = new Set<string>();
  const held = new Set<string>();
  for (const keys of link.queues)
    for (const one of await readHolders(input, keys, state)) {
      held.add(one.name);
      if (await followOne(input, one, byName.get(one.name), notes)) running.add(one.name);
    }
  for (const worker of state.holders.keys())
    if (!held.has(worker.slice(HOLDER_PREFIX.length))) state.holders.delete(worker);
  for (const job of jobs) {
    if (held.has(job.metadata.name)) continue;
    if (await followUnheld(input, job, notes)) running.add(job.metadata.name);
  }
  const { refused, ...done } = notes;
  return { running: running.size, ...done, refused };
}

/** A task that is held for a Job of this name. */
interface HeldJob {
  readonly name: string;
  readonly isCancelled: boolean;
  /** Resolves to `undefined` if nobody holds it any more. */
  readonly read: () => Promise<Holder | undefined>;
}

/** `known`: the Job as the watch has it. Resolves to whether it goes on. */
async function followOne(
  input: JobsInput,
  { name, isCancelled, read }: HeldJob,
  known: Job | undefined,
  notes: Notes,
): Promise<boolean> {
  // the watch may be behind, and a Job is not to be created twice
  const job = known ?? (await findJob(input, name));
  const own = job && isOwnJob(input.pool, job) ? job : undefined;
  const end = own && endOf(own);
  if (own && !end && !isCancelled) return true;
  const holder = await read();
  if (own && end) {
    if (holder && (await recordEnd(input, holder, own, end)) !== undefined) notes.recorded.push(name);
    await keepFor(input, own);
    return false;
  }
  if (!holder) return own !== undefined;
  if (isCancelled) {
    await cancelJob(input, holder, own);
    if (own) notes.deleted.push(name);
    return own !== undefined;
  }
  // of one that was deleted, a pod may still work on the task
  if (await podsRemain(input, name)) return true;
  if (!input.starts) {
    await release(holder);
    return false;
  }
  const made = await createJob(input, name, holder);
  if (made.kind === 'created') notes.created.push(name);
  if (made.kind === 'refused') notes.refused = made.why;
  return made.kind === 'created';
}

/**
 * A Job without a task in Redis: its end was recorded, or Redis has gone back in time and knows nothing of it. Then its result would
 * be that of no task, and the task itself waits again. Resolves to whether it goes on.
 */
async function followUnheld(input: JobsInput, job: Job, notes: Notes): Promise<boolean> {
  const { link } = input;
  if (endOf(job)) {
    await keepFor(input, job);
    return false;
  }
  if (job.metadata.deletionTimestamp) return true;
  const worker = HOLDER_PREFIX + job.metadata.name;
  const known = await Promise.all(
    link.queues.map((keys) => link.sampler.redisOf(keys).exists(keys.worker(worker))),
  );
  // a list of workers is not complete where there are thousands
  if (known.some((found) => found > 0)) return true;
  await deleteJob(input, job);
  notes.deleted.push(job.metadata.name);
  return true;
}

/** From here on Kubernetes may remove it: before, its result would have gone with it. */
async function keepFor({ api, pool, signal }: JobsInput, { metadata, spec }: Job): Promise<void> {
  if (spec?.ttlSecondsAfterFinished !== undefined || metadata.deletionTimestamp) return;
  const ref = { namespace: pool.metadata.namespace, name: metadata.name };
  const seconds = pool.spec.job?.ttlSecondsAfterFinished ?? JOB_TTL_S;
  await api.jobs.setTtl(ref, seconds, { signal }).catch((error: unknown) => {
    if (!(error instanceof KubeError && error.notFound)) throw error;
  });
}

/** The tasks of this queue that are held for Jobs of the pool; their leases are renewed. */
async function readHolders(
  { link, pool, now }: JobsInput,
  keys: QueueKeys,
  state: JobsState,
): Promise<HeldJob[]> {
  const redis = link.sampler.redisOf(keys);
  const mine = keyOf(pool);
  const workers = (await listWorkers(redis, keys)).filter(
    ({ id, pool: owner, epoch }) => owner === mine && id.startsWith(HOLDER_PREFIX) && epoch > 0,
  );
  const holders: { id: string; names: readonly (string | Buffer)[] }[] = [];
  for (const { id, epoch } of workers) {
    let known = state.holders.get(id);
    if (known?.epoch !== epoch || now - known.renewedAt >= RENEW_MS) {
      const held = await readHeldTask(redis, keys, id, READ_BYTES);
      if (!held) continue;
      if (!held.delivery) {
        // it was settled, or nothing was taken, and its controller got no further
        await reap(redis, keys, id, held.epoch, 'leave');
        continue;
      }
      await renewLease(redis, keys, id, held.epoch, LEASE_MS);
      known = { epoch, names: cancelNames(held.delivery.raw), renewedAt: now };
      state.holders.set(id, known);
    }
    holders.push({ id, names: known.names });
  }
  const all = holders.flatMap(({ names }) => names);
  const marks = await findCancelled(redis, keys, all);
  let at = 0;
  return holders.map(({ id, names }) => {
    const isCancelled = marks.slice(at, at + names.length).some(Boolean);
    at += names.length;
    const read = async (): Promise<Holder | undefined> => {
      const held = await readHeldTask(redis, keys, id, READ_BYTES);
      return held?.delivery && { redis, keys, held };
    };
    return { name: id.slice(HOLDER_PREFIX.length), isCancelled, read };
  });
}

/** Takes up to `room` tasks, the most urgent ones first, and creates a Job for each. Rejects as `followJobs` does. */
export async function startJobs(input: JobsInput, room: number): Promise<Started> {
  const { pool, link, random } = input;
  const created: string[] = [];
  const fields = holderFields(pool);
  for (let started = 0; started < Math.min(room, MOST_STARTS); started++) {
    const name = jobName(pool.metadata.name, random);
    const holder = await takeNext(link, HOLDER_PREFIX + name, fields);
    if (!holder) return { created, refused: undefined, more: false };
    const { redis, keys, held } = holder;
    const [isCancelled] = held.delivery
      ? [(await findCancelled(redis, keys, cancelNames(held.delivery.raw))).some(Boolean)]
      : [false];
    if (isCancelled) {
      await cancelJob(input, holder, undefined);
      continue;
    }
    const made = await createJob(input, name, holder);
    if (made.kind === 'refused') return { created, refused: made.why, more: false };
    if (made.kind === 'created') created.push(name);
  }
  return { created, refused: undefined, more: room > MOST_STARTS };
}

async function takeNext(
  { sampler, queues }: QueueLink,
  worker: string,
  fields: HolderFields,
): Promise<Holder | undefined> {
  for (const keys of queues) {
    const redis = sampler.redisOf(keys);
    if (!(await holdTask(redis, keys, worker, LEASE_MS, fields))) continue;
    const held = await readHeldTask(redis, keys, worker, READ_BYTES);
    if (held) return { redis, keys, held };
  }
  return undefined;
}

function holderFields({ metadata, spec }: WorkerPool): HolderFields {
  const { retry, results, deadLetters } = spec;
  const [resultTtl, deadMaxAge] = [parseDuration(results.ttl), parseDuration(deadLetters.maxAge)];
  return {
    concurrency: 1,
    version,
    pool: `${metadata.namespace}/${metadata.name}`,
    ...(resultTtl > 0 && { resultTtl: Math.ceil(resultTtl) }),
    deadMax: deadLetters.max,
    maxDeliveries: retry.maxDeliveries,
    ...(deadMaxAge > 0 && { deadMaxAge: Math.ceil(deadMaxAge) }),
  };
}
