/**
 * What is done for one task that is held for a Job: the Job is created, its end is recorded, a cancelled one is deleted.
 *
 * A task is taken in the name of a worker, `job/NAME`, before there is a Job of that NAME, and the name is never used again. So a
 * Job that exists has its task, whoever created it, and a second attempt to create it is refused by the API server. A Job is
 * created for each held task that has none, for as long as it has none: after a crash in between, by the next reconcile.
 */
import type { Redis } from 'ioredis';
import { KubeError } from '../../../kube/errors.ts';
import type { KubeApi } from '../../../kube/api.ts';
import type { Job, Pod } from '../../../kube/wire.ts';
import type { WorkerPool } from '../../../kube/workerpool.ts';
import { partMarkOf } from '../../../queue/batch-mark.ts';
import { redisNow } from '../../../queue/connection/connection.ts';
import type { QueueKeys } from '../../../queue/keys.ts';
import type { Finished, Outcome } from '../../../queue/outcomes/outcome.ts';
import { settleHeldTask, type HeldTask } from '../../../queue/outcomes/held-task.ts';
import { readOptions, saidOf, type NotRun, type ReadOptions } from '../../../queue/outcomes/not-run.ts';
import { nextAttempt } from '../../../queue/outcomes/retry.ts';
import { taskHead } from '../../../queue/task.ts';
import { claimKey } from '../../../queue/workers/claim.ts';
import { parseBytes } from '../../../runtime/bytes.ts';
import { describeError } from '../../../runtime/describe-error.ts';
import { parseDuration } from '../../../runtime/duration.ts';
import { answered } from '../answered.ts';
import { isActivePod, isTerminatingPod } from '../ownership.ts';
import { listPods } from '../pods.ts';
import { jobOf, misfitOf, taskContainerOf } from './job.ts';
import { taskEndOf, type JobEnd, type TaskEnd } from './job-end.ts';

/**
 * For how long a task stays with its Job while no controller renews the lease, and workers of other pools take from the queue, ms.
 * Where nobody does, no lease ends.
 */
export const LEASE_MS = 24 * 3_600_000;
/** The largest task that is read; of a larger one the id is not known, and nobody who waits for it is told. */
export const READ_BYTES = 512 * 1024;
const MOST_BYTES = 512 * 1024 * 1024;

export interface JobsInput {
  readonly api: KubeApi;
  readonly pool: WorkerPool;
  /** Of the pool's Redis, as `QueueLink` has it. */
  readonly place: string;
  /** From [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal;
}

/** Where a task is held. */
export interface Holder {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly held: HeldTask;
}

export type Created =
  | { readonly kind: 'created'; readonly job: Job }
  /** It became a dead letter, or is a duplicate of another one. */
  | { readonly kind: 'unfit' }
  /** It is back in the queue. */
  | { readonly kind: 'refused'; readonly why: string }
  /** Somebody else has settled it. */
  | { readonly kind: 'gone' };

/**
 * Creates the Job of a held task, or finds it. Rejects if that is to be tried again: the task stays held. `taken`: one that was taken
 * before may have begun already, and so does not expire.
 */
export async function createJob(
  input: JobsInput,
  name: string,
  holder: Holder,
  taken: 'now' | 'before',
): Promise<Created> {
  const { api, pool, place, signal } = input;
  const { delivery } = holder.held;
  if (!delivery) return { kind: 'gone' };
  const { id } = taskHead(delivery.raw);
  const { attempts } = delivery.past;
  const drop = async (outcome: Outcome): Promise<void> =>
    void (taken === 'now' ? await settleUnbegun(holder, outcome) : await settle(holder, attempts, outcome));
  const { options, notRun } = await readTask(pool, holder, id, taken);
  if (notRun) {
    const unreported = holder.held.isCut ? ({ unreported: true } as const) : {};
    await drop({ kind: 'dead', ...notRun, ...unreported });
    return { kind: 'unfit' };
  }
  if (options?.unique !== undefined) {
    const { unique: key, uniqueForMs: forMs = 0 } = options;
    const { redis, keys, held } = holder;
    const claim = { key, forMs, id: String(id), receipt: delivery.receipt };
    const claimed = await answered(claimKey(redis, keys, held.worker, claim), 'the key of a unique task');
    if (claimed === 'fenced') return { kind: 'gone' };
    if (claimed) {
      await drop({ kind: 'cancelled', duplicateOf: claimed.holder });
      return { kind: 'unfit' };
    }
  }
  const raw = delivery.raw.toString();
  const attempt = attempts + 1;
  const manifest = jobOf(pool, { name, queue: holder.keys.queue, place, id: String(id), raw, attempt });
  try {
    const job = await api.jobs.create(manifest, { signal });
    // of a policy of the cluster: its result would go with it, read or not
    if (job.spec?.ttlSecondsAfterFinished !== undefined)
      await api.jobs.setTtl({ namespace: pool.metadata.namespace, name }, null, { signal });
    return { kind: 'created', job };
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    if (error.alreadyExists) {
      const job = await findJob(input, name);
      if (!job) throw error;
      if (isOwnJob(pool, job)) return { kind: 'created', job };
    } else if (!error.refused) throw error;
    await drop({ kind: 'release' });
    return { kind: 'refused', why: error.message };
  }
}

/** What a task says of itself, and why it is given to no Job, if it is not. */
async function readTask(
  { spec }: WorkerPool,
  { redis, keys: { queue }, held: { delivery } }: Holder,
  id: string | Buffer,
  taken: 'now' | 'before',
): Promise<ReadOptions> {
  if (!delivery) return {};
  const { raw, past } = delivery;
  const notRun = (error: string): { readonly notRun: NotRun } => ({ notRun: { error } });
  const most = spec.tasks ? parseBytes(spec.tasks.maxSize, MOST_BYTES) : MOST_BYTES;
  const misfit = misfitOf(raw, id, most);
  if (misfit !== undefined) return notRun(misfit);
  const { value } = taskHead(raw);
  try {
    partMarkOf(value, id, { raw });
  } catch (error) {
    return notRun(`it cannot be a part of a batch: ${(error as Error).message}`);
  }
  // asked only for tasks that may say when they expire
  const now = taken === 'now' && raw.includes('"millrace"') ? await answered(redisNow(redis), 'TIME') : 0;
  return readOptions({ id, value }, past, { queue, redisNow: () => now });
}

/** Records how a Job has ended. Resolves to that; to `undefined` if somebody else has recorded it. */
export async function recordEnd(
  input: JobsInput,
  holder: Holder,
  job: Job,
  end: JobEnd,
): Promise<Outcome['kind'] | undefined> {
  const { pool } = input;
  const { delivery } = holder.held;
  if (!delivery) return undefined;
  const pods = await podsOfJob(input, job.metadata.name);
  const ended = taskEndOf(job, end, pods, taskContainerOf(pool));
  const attempt = delivery.past.attempts + 1;
  const outcome = outcomeOf(input, ended, attempt);
  const serviceMs = ended.kind === 'unknown' ? 0 : ended.serviceMs;
  return (await settle(holder, attempt, outcome, { serviceMs })) ? outcome.kind : undefined;
}

function outcomeOf({ pool, random }: JobsInput, ended: TaskEnd, attempt: number): Outcome {
  if (ended.kind === 'unknown') return { kind: 'release' };
  if (ended.kind === 'result') return { kind: 'result', value: ended.value };
  const error = Object.assign(new Error(ended.error), ended.again ? {} : { retry: false });
  const { attempts, backoff } = pool.spec.retry;
  const { jitter } = backoff;
  const policy = {
    attempts,
    backoff: { initialMs: parseDuration(backoff.initial), maxMs: parseDuration(backoff.max), jitter },
  };
  const next = nextAttempt({ attempt, error, policy, random: random() });
  return next.kind === 'dead'
    ? { kind: 'dead', error: next.reason }
    : { kind: 'retry', delayMs: next.delayMs, error: describeError(error) };
}

/** Records that a task was cancelled, which frees its key and its slot: nothing may work on it any more. */
export async function settleCancelled(holder: Holder): Promise<void> {
  await settle(holder, holder.held.delivery?.past.attempts ?? 0, { kind: 'cancelled' });
}

/** Puts a task back that is not to run now. */
export async function release(holder: Holder): Promise<void> {
  await settle(holder, holder.held.delivery?.past.attempts ?? 0, { kind: 'release' });
}

/** Stays visible until its pod is gone, and counts until then. */
export async function deleteJob({ api, signal }: Pick<JobsInput, 'api' | 'signal'>, job: Job): Promise<void> {
  const { namespace = '', name, uid = '' } = job.metadata;
  try {
    await api.jobs.delete({ namespace, name }, { uid, propagationPolicy: 'Foreground' }, { signal });
  } catch (error) {
    if (!(error instanceof KubeError && (error.notFound || error.conflict))) throw error;
  }
}

export async function findJob({ api, pool, signal }: JobsInput, name: string): Promise<Job | undefined> {
  try {
    return await api.jobs.get({ namespace: pool.metadata.namespace, name }, { signal });
  } catch (error) {
    if (error instanceof KubeError && error.notFound) return undefined;
    throw error;
  }
}

/** Whether a pod of a Job of this name has not ended. */
export async function podsRemain({ api, pool, signal }: JobsInput, name: string): Promise<boolean> {
  const pods = await podsOfJob({ api, pool, signal }, name);
  return pods.some((pod) => isActivePod(pod) || isTerminatingPod(pod));
}

/** Read from the API server: the watch of pods may be behind that of Jobs. */
function podsOfJob(
  { api, pool, signal }: Pick<JobsInput, 'api' | 'pool' | 'signal'>,
  name: string,
): Promise<Pod[]> {
  const { namespace } = pool.metadata;
  return listPods(api, { namespace, labelSelector: `job-name=${name}` }, signal);
}

export function isOwnJob({ metadata: { uid } }: WorkerPool, { metadata }: Job): boolean {
  return metadata.ownerReferences?.some((owner) => owner.controller && owner.uid === uid) ?? false;
}

/** Settles a task that was given to no Job. */
export async function settleUnbegun(holder: Holder, outcome: Outcome): Promise<void> {
  await settle(holder, holder.held.delivery?.past.attempts ?? 0, outcome, { unbegun: true });
}

async function settle(
  { redis, keys, held }: Holder,
  attempt: number,
  outcome: Outcome,
  more: Pick<Finished, 'unbegun'> & { readonly serviceMs?: number } = {},
): Promise<boolean> {
  const { delivery } = held;
  if (!delivery) return false;
  const { id } = taskHead(delivery.raw);
  const said = saidOf(delivery.raw, id);
  const finished: Finished = { delivery, id, attempt, outcome, serviceMs: 0, ...more, ...said };
  return answered(settleHeldTask(redis, keys, held, finished, LEASE_MS), 'the end of a task');
}
