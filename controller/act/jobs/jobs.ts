/**
 * The Jobs of a pool, in two steps: `followJobs` brings those that there are to what Redis and Kubernetes say of them, and
 * `startJobs` takes further tasks and creates a Job for each.
 *
 * Which tasks have a Job is in Redis and nowhere else: the workers of the pool that are called `job/NAME`. The controller remembers
 * nothing that it could not read again.
 */
import { JOB_TTL_S } from '../../../kube/defaults.ts';
import { KubeError } from '../../../kube/errors.ts';
import { keyOf } from '../../../kube/watch.ts';
import type { Job } from '../../../kube/wire.ts';
import type { WorkerPool } from '../../../kube/workerpool.ts';
import {
  cancelNames,
  findCancelled,
  HOLDER_PREFIX,
  holdTask,
  readHeldTask,
  type HolderFields,
} from '../../../queue/outcomes/held-task.ts';
import { parseDuration } from '../../../runtime/duration.ts';
import { version } from '../../../runtime/version.ts';
import type { QueueLink } from '../../sample/sampler.ts';
import { answered } from '../answered.ts';
import { alone, type FailingJobs } from './failing.ts';
import { readHolder, readHolders, type HeldJob, type KnownHolders } from './holders.ts';
import { endOf } from './job-end.ts';
import { jobName, PLACE_ANNOTATION, RECORDED_ANNOTATION } from './job.ts';
import {
  createJob,
  deleteJob,
  findJob,
  isOwnJob,
  LEASE_MS,
  podsRemain,
  READ_BYTES,
  recordEnd,
  release,
  settleCancelled,
  settleUnbegun,
  type Created,
  type Holder,
  type JobsInput as TaskInput,
} from './task-jobs.ts';

export interface JobsState {
  readonly holders: KnownHolders;
  readonly failing: FailingJobs;
  /** The last refusal of a Job, and until when none is created for that, ms of the elapsed clock. */
  refused:
    | { readonly why: string; readonly until: number; readonly generation: number | undefined }
    | undefined;
}

export function initialJobsState(): JobsState {
  return { holders: new Map(), failing: new Map(), refused: undefined };
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
  /** Those of them whose tasks are in a Redis that the pool had before, and so in no sample. */
  readonly apart: number;
  /** Names of Jobs by what became of them in this call. */
  readonly created: readonly string[];
  readonly recorded: readonly string[];
  readonly deleted: readonly string[];
  /** Why a Job could not be created, human-readable. */
  readonly refused: string | undefined;
  /** One whose end cannot be recorded here, and why, human-readable. */
  readonly leftBehind: string | undefined;
}

export interface Started {
  readonly created: readonly string[];
  readonly refused: string | undefined;
  /** There may be more to start now. */
  readonly more: boolean;
}

/** Tasks that one call takes, whether they get a Job or not. */
const MOST_STARTS = 50;
/** Jobs of which the tasks are read at once. */
const AT_ONCE = 100;

const LEFT_BEHIND =
  'its task is in the Redis that the pool had when it began, where nothing can be recorded now: give the pool that Redis again until this is done, or delete the Job to give its result up';

type Notes = { -readonly [K in 'created' | 'recorded' | 'deleted']: string[] } & {
  refused?: string;
  leftBehind?: string;
};

/** Rejects if Redis or the API server fails: what was done until then is not done again. One Job that fails stops no other one. */
export async function followJobs(input: JobsInput, state: JobsState): Promise<Followed> {
  const { link, pool, now } = input;
  const jobs = input.jobs.filter((job) => isOwnJob(pool, job));
  const byName = new Map(jobs.map((job) => [job.metadata.name, job]));
  const notes: Notes = { created: [], recorded: [], deleted: [] };
  const running = new Set<string>();
  const held = new Set<string>();
  const step = async (name: string, work: () => Promise<boolean>): Promise<void> => {
    if (await alone(state.failing, { name, now }, true, work)) running.add(name);
  };
  const follow = async (one: HeldJob): Promise<void> => {
    if (held.has(one.name)) return;
    held.add(one.name);
    await step(one.name, () => followOne(input, one, byName.get(one.name), notes));
  };
  for (const keys of link.queues)
    for (const one of await readHolders(input, keys, state.holders)) await follow(one);
  const rest = jobs.filter((job) => !held.has(job.metadata.name) && !(endOf(job) && isRecorded(job)));
  for (let at = 0; at < rest.length; at += AT_ONCE) {
    const some = rest.slice(at, at + AT_ONCE);
    const found = await Promise.all(some.map((job) => findHolders(input, state, job)));
    for (const one of found.flat()) await follow(one);
    for (const job of some)
      if (!held.has(job.metadata.name)) await step(job.metadata.name, () => followUnheld(input, job, notes));
  }
  for (const worker of state.holders.keys())
    if (!held.has(worker.slice(HOLDER_PREFIX.length))) state.holders.delete(worker);
  for (const name of state.failing.keys())
    if (!held.has(name) && !byName.has(name)) state.failing.delete(name);
  const apart = jobs.filter((job) => running.has(job.metadata.name) && isElsewhere(input, job)).length;
  return { refused: undefined, leftBehind: undefined, ...notes, running: running.size, apart };
}

/** Looks for the task of this Job itself: lists of thousands change while they are read. */
async function findHolders(input: JobsInput, state: JobsState, job: Job): Promise<HeldJob[]> {
  if (isElsewhere(input, job)) return [];
  const { queues } = input.link;
  return (
    await Promise.all(queues.map((keys) => readHolder(input, keys, state.holders, job.metadata.name)))
  ).flat();
}

/** Its task is in a Redis that the pool had before, which says nothing of it here. */
function isElsewhere({ place }: JobsInput, { metadata }: Job): boolean {
  return (metadata.annotations?.[PLACE_ANNOTATION] ?? place) !== place;
}

/** Its outcome is in Redis, and nothing more is to be read from it. */
export function isRecorded({ metadata }: Job): boolean {
  return metadata.annotations?.[RECORDED_ANNOTATION] !== undefined;
}

/** `known`: the Job as the watch has it. Resolves to whether it goes on. */
async function followOne(
  input: JobsInput,
  { name, isCancelled, read, failure }: HeldJob,
  known: Job | undefined,
  notes: Notes,
): Promise<boolean> {
  if (failure) throw failure;
  // the watch may be behind, and a Job is not to be created twice
  const job = known ?? (await findJob(input, name));
  const own = job && isOwnJob(input.pool, job) ? job : undefined;
  const end = own && endOf(own);
  if (own && !end && !isCancelled) return true;
  // what a program writes when it is told to stop is no result
  const isStopped = isCancelled && own?.metadata.deletionTimestamp !== undefined;
  const holder = await read();
  if (own && end && !isStopped) {
    if (holder && (await recordEnd(input, holder, own, end)) !== undefined) notes.recorded.push(name);
    await keepFor(input, own);
    return false;
  }
  if (!holder) return own !== undefined;
  if (isCancelled && own && !isStopped) {
    await deleteJob(input, own);
    notes.deleted.push(name);
    return true;
  }
  // of one that was deleted, a pod may still work on the task
  if (await podsRemain(input, name)) return true;
  if (isCancelled) {
    await settleCancelled(holder);
    return own !== undefined && !end;
  }
  if (!input.starts) {
    await release(holder);
    return false;
  }
  const made = await createJob(input, name, holder, 'before');
  if (made.kind === 'created') notes.created.push(name);
  if (made.kind === 'refused') notes.refused = made.why;
  return made.kind === 'created';
}

/**
 * A Job without a task in Redis: its end was recorded, or Redis has gone back in time and knows nothing of it. Then its result would
 * be that of no task, and the task itself waits again. Resolves to whether it goes on.
 */
async function followUnheld(input: JobsInput, job: Job, notes: Notes): Promise<boolean> {
  const { name, deletionTimestamp } = job.metadata;
  if (isElsewhere(input, job)) {
    if (!endOf(job)) return true;
    notes.leftBehind ??= `Job ${name} has ended, and ${LEFT_BEHIND}`;
    return false;
  }
  // the watch may be behind
  const now = endOf(job) ? job : await findJob(input, name);
  if (!now) return false;
  if (endOf(now)) {
    await keepFor(input, now);
    return false;
  }
  if (deletionTimestamp) return true;
  await deleteJob(input, job);
  notes.deleted.push(name);
  return true;
}

/** From here on Kubernetes may remove it: before, its result would have gone with it. */
async function keepFor({ api, pool, signal }: JobsInput, job: Job): Promise<void> {
  const { metadata } = job;
  if (isRecorded(job) || metadata.deletionTimestamp) return;
  const ref = { namespace: pool.metadata.namespace, name: metadata.name };
  const seconds = pool.spec.job?.ttlSecondsAfterFinished ?? JOB_TTL_S;
  await api.jobs
    .setTtl(ref, seconds, { annotations: { [RECORDED_ANNOTATION]: 'true' }, signal })
    .catch((error: unknown) => {
      if (!(error instanceof KubeError && error.notFound)) throw error;
    });
}

/** Creates up to `room` Jobs, for the most urgent tasks first. Rejects as `followJobs` does. */
export async function startJobs(input: JobsInput, room: number, state: JobsState): Promise<Started> {
  const { pool, link, random, now } = input;
  const created: string[] = [];
  const fields = holderFields(pool);
  for (let tried = 0; created.length < room; tried++) {
    if (tried === MOST_STARTS) return { created, refused: undefined, more: true };
    const name = jobName(pool.metadata.name, random);
    const holder = await takeNext(link, HOLDER_PREFIX + name, fields);
    if (!holder) break;
    // one that fails has its task, and is followed like those that there were
    const made = await alone(state.failing, { name, now }, undefined, () => startOne(input, name, holder));
    if (!made) break;
    if (made.kind === 'refused') return { created, refused: made.why, more: false };
    if (made.kind === 'created') created.push(name);
  }
  return { created, refused: undefined, more: false };
}

async function startOne(input: JobsInput, name: string, holder: Holder): Promise<Created> {
  const { redis, keys, held } = holder;
  if (!held.delivery) return { kind: 'gone' };
  const finding = findCancelled(redis, keys, cancelNames(held.delivery.raw));
  const marks = await answered(finding, 'the cancelled tasks');
  if (!marks.some(Boolean)) return createJob(input, name, holder, 'now');
  await settleUnbegun(holder, { kind: 'cancelled' });
  return { kind: 'unfit' };
}

async function takeNext(
  { sampler, queues }: QueueLink,
  worker: string,
  fields: HolderFields,
): Promise<Holder | undefined> {
  for (const keys of queues) {
    const redis = sampler.redisOf(keys);
    const holding = holdTask(redis, keys, worker, LEASE_MS, fields);
    if (!(await answered(holding, 'a task for a Job'))) continue;
    const held = await answered(readHeldTask(redis, keys, worker, READ_BYTES), 'the task of a Job');
    if (held) return { redis, keys, held };
  }
  return undefined;
}

function holderFields(pool: WorkerPool): HolderFields {
  const { retry, results, deadLetters } = pool.spec;
  const [resultTtl, deadMaxAge] = [parseDuration(results.ttl), parseDuration(deadLetters.maxAge)];
  return {
    concurrency: 1,
    version,
    pool: keyOf(pool),
    poolUid: pool.metadata.uid ?? '',
    ...(resultTtl > 0 && { resultTtl: Math.ceil(resultTtl) }),
    deadMax: deadLetters.max,
    maxDeliveries: retry.maxDeliveries,
    ...(deadMaxAge > 0 && { deadMaxAge: Math.ceil(deadMaxAge) }),
  };
}
