/**
 * The deletion of a pool: first its Deployment is deleted, and with it the pods, which drain; then the tasks that its workers
 * still hold in Redis are put back into the queue; the finalizer is removed last. So nothing is left behind, and no task is
 * lost with the last worker. An adopted Deployment is left unchanged, and its workers continue. A pod that carries the pool's
 * label and is not the Deployment's own is waited for no longer than FINALIZE_TIMEOUT_MS, as anybody may have created it.
 *
 * A Redis that does not answer cannot block a deletion forever: after FINALIZE_TIMEOUT_MS the pool is removed, and its tasks are
 * returned when the leases of its workers expire (15 s).
 */
import type { Redis } from 'ioredis';
import type { KubeApi } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import { JOBS } from '../../kube/resources.ts';
import { keyOf } from '../../kube/watch.ts';
import type { Job } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { listAllWorkers, type WorkerEntry } from '../../queue/workers/list-workers.ts';
import { drainWorkers } from '../../queue/workers/drain.ts';
import { readWorkerRecords } from '../../queue/workers/worker-connections.ts';
import type { Level } from '../../queue/priorities.ts';
import { readTexts } from '../../queue/scripts/read.ts';
import { reap, rejoin } from '../../queue/workers/reap.ts';
import { within } from '../../queue/connection/connection.ts';
import { POOL_LABEL } from './deployment.ts';
import { dropLimits } from './limits.ts';
import { closePriorities } from './priorities.ts';
import { endOf } from './jobs/job-end.ts';
import { followJobs, initialJobsState, isRecorded } from './jobs/jobs.ts';
import { runsJobs } from './jobs/jobs-step.ts';
import { deleteJob, isOwnJob } from './jobs/task-jobs.ts';
import { findDeployment } from './find-deployment.ts';
import { selectorText } from './known-deployment.ts';
import { listAll, listPods, memberOf } from './pods.ts';
import { isOwnPod, isWorkerOf } from './ownership.ts';
import { goingAnyway } from './scale-in-plan.ts';
import { mayRunIn } from './workers-of.ts';
import { resumeIn } from './source-drains.ts';
import type { Member } from './target.ts';
import { recordKeysOf, type QueueLink } from '../sample/sampler.ts';

export const FINALIZER = 'millrace.dev/workers';
const FINALIZE_TIMEOUT_MS = 30_000;
const ANSWER_TIMEOUT_MS = 5_000;
const RETRY_MS = 1_000;
/** Over the workers of a queue: another one may appear in a list that changes while it is read. */
const MOST_PASSES = 5;
const MOST_MARKS = 10_000;
/** Limit of a worker's name, bytes. */
const LONGEST_NAME = 1_024;

export interface FinalizeInput {
  readonly api: KubeApi;
  readonly pool: WorkerPool;
  readonly redis: QueueLink | undefined;
  /** The time since the first attempt, ms. */
  readonly waitedMs: number;
  /** Priorities of its queue that other pools serve. */
  readonly otherPriorities: readonly Level[];
  readonly signal: AbortSignal;
  /** Called with the number of tasks that were put back, and with the error if they could not be. */
  readonly onReturned: (tasks: number) => void;
  readonly onGivenUp: (error: unknown) => void;
}

/** One attempt. Returns the delay of the next one, ms, or `undefined` if the pool is gone. */
export async function finalize(input: FinalizeInput): Promise<number | undefined> {
  const { api, pool, signal } = input;
  const { namespace, name, finalizers = [], resourceVersion = '' } = pool.metadata;
  if (!finalizers.includes(FINALIZER)) return undefined;
  if (!pool.spec.scaleTargetRef) {
    if (await (runsJobs(pool) ? jobsRemain(input) : deploymentRemains(input))) return RETRY_MS;
    if (await podsRemain(input)) return RETRY_MS;
    try {
      const returned = await returnTasks(input);
      if (returned > 0) input.onReturned(returned);
    } catch (error) {
      if (input.waitedMs < FINALIZE_TIMEOUT_MS) return RETRY_MS;
      input.onGivenUp(error);
    }
  } else await cancelAllDrains(input);
  await removeRecords(input);
  await removeLimits(input);
  await refusePriorities(input);
  const others = finalizers.filter((finalizer) => finalizer !== FINALIZER);
  await api.pools.setFinalizers({ namespace, name }, others, resourceVersion, { signal });
  return undefined;
}

/**
 * The next owner of the Deployment's scale needs its workers, except those whose pods are being removed: tasks that they took
 * now would be interrupted. A mark that cannot be removed now expires.
 */
async function cancelAllDrains(input: FinalizeInput): Promise<void> {
  if (!input.redis) return;
  const { sampler, queues, source } = input.redis;
  const { doomed, staying } = await podsOfTarget(input);
  const [first] = queues;
  if (source && first) {
    const resuming = resumeIn(sampler.redisOf(first), source, staying);
    return within(ANSWER_TIMEOUT_MS, resuming, 'taking back orders').catch(() => undefined);
  }
  const calling = queues.map(async (keys) => {
    const cut = { bytes: LONGEST_NAME, values: MOST_MARKS };
    const marked = await readTexts(sampler.redisOf(keys), keys.leaving, cut, 'ZRANGE', 0, MOST_MARKS - 1);
    const called = marked.filter((id) => !doomed.some((pod) => mayRunIn(id, pod)));
    if (called.length > 0)
      await drainWorkers(sampler.redisOf, [keys], new Map(called.map((id) => [id, 'stay'])));
  });
  await within(ANSWER_TIMEOUT_MS, Promise.all(calling), 'removing marks').catch(() => undefined);
}

/** The adopted Deployment's pods: names of those that are being removed, and the others. None if the Deployment does not exist. */
async function podsOfTarget({
  api,
  pool,
  signal,
}: FinalizeInput): Promise<{ readonly doomed: readonly string[]; readonly staying: readonly Member[] }> {
  const { namespace } = pool.metadata;
  const target = { namespace, name: pool.spec.scaleTargetRef?.name ?? '' };
  const { spec } = (await findDeployment(api, target, signal)) ?? {};
  if (!spec) return { doomed: [], staying: [] };
  const found = await listPods(api, { namespace, labelSelector: selectorText(spec.selector) }, signal);
  const own = found.filter((one) => isOwnPod(one, target.name));
  const members = own.flatMap((one) => memberOf(one, new Set()));
  const going = new Set(goingAnyway(members, spec.replicas ?? 1).map(({ id }) => id));
  const staying = members.filter(({ id }) => !going.has(id));
  const kept = new Set(staying.map(({ id }) => id));
  return { doomed: own.map(({ metadata }) => metadata.name).filter((name) => !kept.has(name)), staying };
}

/** Removes what was learned and recorded of the pool. Keys that cannot be removed now expire. */
async function removeRecords({ pool, redis }: FinalizeInput): Promise<void> {
  if (!redis) return;
  const { sampler, queues } = redis;
  const mine = keyOf(pool);
  const removing = Promise.all(
    [recordKeysOf(redis), ...queues].map((keys) =>
      sampler.redisOf(keys).unlink(keys.memory(mine), keys.timeline(mine), keys.decisions(mine)),
    ),
  );
  await within(ANSWER_TIMEOUT_MS, removing, 'UNLINK').catch(() => undefined);
}

/** Other workers of its queues are not to be held to limits that nobody can change. */
async function removeLimits({ pool, redis: link }: FinalizeInput): Promise<void> {
  if (!link || link.source) return;
  const { queues, sampler } = link;
  const dropping = dropLimits({ pool: keyOf(pool), queues, redisOf: sampler.redisOf });
  await within(ANSWER_TIMEOUT_MS, dropping, 'removing limits').catch(() => undefined);
}

/** What is pushed is not to wait where no worker takes it; those of an adopted Deployment go on. */
async function refusePriorities({ pool, redis: link, otherPriorities }: FinalizeInput): Promise<void> {
  const { priorities, scaleTargetRef } = pool.spec;
  const [keys] = link?.queues ?? [];
  if (!link || !keys || !priorities || scaleTargetRef) return;
  const unserved = priorities.filter((level) => !otherPriorities.includes(level));
  const { uid = '' } = pool.metadata;
  await closePriorities(link, keys, { uid, all: priorities, closing: unserved }).catch(() => undefined);
}

/** Deletes the Jobs, pods first, when the ends of those that have ended are recorded. `false` if they are gone. */
async function jobsRemain(input: FinalizeInput): Promise<boolean> {
  const { api, pool, waitedMs, signal } = input;
  const { namespace, name } = pool.metadata;
  const selection = { namespace, labelSelector: `${POOL_LABEL}=${name}` };
  const patient = waitedMs < FINALIZE_TIMEOUT_MS;
  try {
    const found = await listAll(api, JOBS, selection, signal);
    const own = found.filter((job) => isOwnJob(pool, job));
    if (patient && !(await recordEnds(input, own))) return true;
    for (const job of own) if (!job.metadata.deletionTimestamp) await deleteJob({ api, signal }, job);
    return own.length > 0;
  } catch (error) {
    // without the right to delete Jobs, the garbage collector does it when the pool is gone
    if (error instanceof KubeError && error.refused) return patient;
    throw error;
  }
}

/** Records how Jobs have ended while no controller was there, or no Redis. `false` if that is to be tried again. */
async function recordEnds(
  { api, pool, redis: link, signal }: FinalizeInput,
  own: readonly Job[],
): Promise<boolean> {
  const jobs = own.filter((job) => endOf(job) && !isRecorded(job) && !job.metadata.deletionTimestamp);
  if (jobs.length === 0) return true;
  if (!link) return false;
  const base = { api, pool, place: link.place ?? '', signal, random: Math.random, now: 0 };
  const state = initialJobsState();
  const following = followJobs({ ...base, link, jobs: own, starts: false }, state);
  return within(FINALIZE_TIMEOUT_MS, following, 'recording the ends of Jobs').then(
    () => state.failing.size === 0,
    () => false,
  );
}

/** Deletes the Deployment, pods first. `false` if it is gone, or was never this pool's. */
async function deploymentRemains({ api, pool, signal }: FinalizeInput): Promise<boolean> {
  const { namespace, name, uid } = pool.metadata;
  try {
    const deployment = await api.deployments.get({ namespace, name }, { signal });
    if (!deployment.metadata.ownerReferences?.some((owner) => owner.uid === uid)) return false;
    if (!deployment.metadata.deletionTimestamp) {
      const deletion = { uid: deployment.metadata.uid ?? '', propagationPolicy: 'Foreground' as const };
      await api.deployments.delete({ namespace, name }, deletion, { signal });
    }
    return true;
  } catch (error) {
    if (error instanceof KubeError && error.notFound) return false;
    throw error;
  }
}

/** Whether pods remain, which may still work: read from the API server, as a watch may lag. */
async function podsRemain(input: FinalizeInput): Promise<boolean> {
  const { namespace, name } = input.pool.metadata;
  const selection = { namespace, labelSelector: `${POOL_LABEL}=${name}` };
  const pods = await listPods(input.api, selection, input.signal);
  const patient = input.waitedMs < FINALIZE_TIMEOUT_MS;
  return pods.some((pod) => patient || isOwnPod(pod, name));
}

/** Ends the epochs of the pool's workers: their pods are gone, so nothing writes on their behalf any more. */
export async function returnTasks({
  pool,
  redis: link,
}: Pick<FinalizeInput, 'pool' | 'redis'>): Promise<number> {
  if (!link) throw new Error('the address of Redis is not resolved');
  const { sampler, queues } = link;
  let returned = 0;
  for (const keys of queues) {
    const redis = sampler.redisOf(keys);
    for (let pass = 0; pass < MOST_PASSES; pass++) {
      const listing = listAllWorkers(redis, keys);
      const all = await within(ANSWER_TIMEOUT_MS, listing, 'the list of workers');
      const workers = all.filter((worker) => isWorkerOf(pool, worker));
      if (workers.length === 0) break;
      returned += await returnFrom(redis, keys, workers);
    }
    returned += await within(ANSWER_TIMEOUT_MS, rejoin(redis, keys), 'rejoin');
  }
  return returned;
}

async function returnFrom(redis: Redis, keys: QueueKeys, workers: readonly WorkerEntry[]): Promise<number> {
  let returned = 0;
  for (const { id: worker, epoch } of workers) {
    const [record] = await within(
      ANSWER_TIMEOUT_MS,
      readWorkerRecords(redis, [{ keys, worker }]),
      'CLIENT LIST',
    );
    const graveMs = record?.connected === false ? 0 : undefined;
    // only the one that was listed: a worker of another pool may have the name by now
    const reaped = reap(redis, keys, worker, epoch, 'displaced', graveMs);
    returned += (await within(ANSWER_TIMEOUT_MS, reaped, 'reap')) ?? 0;
  }
  return returned;
}
