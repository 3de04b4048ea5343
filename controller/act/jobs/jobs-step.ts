/**
 * One step of a pool that runs Jobs, in place of step.ts: what Jobs have ended is recorded, the decision is made, and as many tasks as
 * it has room for are given to new Jobs. A Job that runs is never removed for fewer tasks: it ends by itself.
 */
import calculateSlot from 'cluster-key-slot';
import type { Pod } from '../../../kube/wire.ts';
import { RunAs, type WorkerPool } from '../../../kube/workerpool.ts';
import { decide } from '../../decide/decide.ts';
import type { Decision, Memory, Policy, Sample } from '../../decide/decision.ts';
import type { Sampled } from '../../sample/sampled.ts';
import { POOL_LABEL } from '../deployment.ts';
import type { DeploymentTarget } from '../deployment-target.ts';
import { isActivePod, isOfJob, isTerminatingPod } from '../ownership.ts';
import { podFailureOf } from '../pod-failures.ts';
import { noPasses } from '../scale-in.ts';
import { delayUntil, soonest, type Step } from '../step.ts';
import { failingIn } from './failing.ts';
import { endOf } from './job-end.ts';
import {
  followJobs,
  startJobs,
  type Followed,
  type JobsInput,
  type JobsState,
  type Started,
} from './jobs.ts';
import { isOwnJob } from './task-jobs.ts';

export interface JobsStepInput extends Omit<JobsInput, 'starts' | 'link' | 'place'> {
  /** `undefined` while the address of the pool's Redis is not resolved. */
  readonly link: JobsInput['link'] | undefined;
  readonly policy: Policy;
  readonly memory: Memory;
  readonly sampled: Sampled;
  /** With the pool's label, as the watch has them. */
  readonly pods: readonly Pod[];
  /** The moment `now` in ms since the epoch. */
  readonly wall: number;
  /** Start nothing; what runs is followed to its end all the same. */
  readonly dryRun: boolean;
  /** Calls the decision. */
  readonly around: <T>(work: () => T) => T;
}

/** What a person is to be told of single Jobs, while the others go on. */
export interface JobsTrouble {
  readonly reason: string;
  readonly message: string;
}

/** What happened in a step, for the log. */
export type JobsDone = Pick<Followed, 'created' | 'recorded' | 'deleted'>;

const REFUSED_RETRY_MS = 5_000;
const none: Followed = {
  running: 0,
  apart: 0,
  created: [],
  recorded: [],
  deleted: [],
  refused: undefined,
  leftBehind: undefined,
};

export function runsJobs({ spec }: Pick<WorkerPool, 'spec'>): boolean {
  return spec.runAs === RunAs.Job;
}

/** The parts of a target that are reported: a pool of Jobs has no Deployment. */
export function jobsTarget({
  metadata,
}: WorkerPool): Pick<DeploymentTarget, 'selector' | 'applied' | 'grace' | 'parkingFailure'> {
  return {
    selector: `${POOL_LABEL}=${metadata.name}`,
    applied: undefined,
    grace: undefined,
    parkingFailure: undefined,
  };
}

/** Rejects as `followJobs` does, with `RangeError` for a pool whose Jobs cannot be. */
export async function jobsStep(
  input: JobsStepInput,
  state: JobsState,
): Promise<{ readonly step: Step; readonly done: JobsDone; readonly trouble: JobsTrouble | undefined }> {
  const { pool, link, policy, sampled, dryRun, jobs, now, wall } = input;
  checkSlots(pool);
  const { generation } = pool.metadata;
  // another spec may be accepted
  if (state.refused && (now >= state.refused.until || state.refused.generation !== generation))
    state.refused = undefined;
  const starts = !dryRun && !policy.paused && !state.refused;
  const reads = link && sampled.kind === 'known';
  const followed = reads
    ? await followJobs({ ...input, link, place: link.place ?? '', starts }, state)
    : { ...none, running: jobs.filter((job) => isOwnJob(pool, job) && !endOf(job)).length };
  const { running, apart } = followed;
  const decision = decideOn(input, running - apart);
  const room = Math.min(decision.desired - (running - apart), decision.bounds.maxReplicas - running);
  const started: Started =
    reads && starts && room > 0 && followed.refused === undefined
      ? await startJobs({ ...input, link, place: link.place ?? '', starts }, room, state)
      : { created: [], refused: followed.refused, more: false };
  if (started.refused !== undefined)
    state.refused = { why: started.refused, until: now + REFUSED_RETRY_MS, generation };
  const refused = state.refused && `a Job cannot be created: ${state.refused.why}`;
  const failing = failingIn(state.failing);
  const from = followed.running - followed.created.length;
  const to = followed.running + started.created.length;
  const step: Step = {
    replicas: replicasOf(input, from, refused),
    decision,
    scaled: to > from ? { from, to } : undefined,
    held: undefined,
    kept: { ...noPasses, elsewhere: 0 },
    requeueInMs: soonest(
      delayUntil(decision.decideAgainAt, wall),
      soonest(
        state.refused ? Math.max(0, state.refused.until - now) : started.more ? 0 : undefined,
        failing && Math.max(0, failing.until - now),
      ),
    ),
  };
  const { recorded, deleted, leftBehind } = followed;
  const trouble = failing
    ? { reason: 'JobsFailing', message: failing.why }
    : leftBehind === undefined
      ? undefined
      : { reason: 'JobsLeftBehind', message: leftBehind };
  return { step, trouble, done: { created: [...followed.created, ...started.created], recorded, deleted } };
}

/** The controller settles a task and its result in one step. */
function checkSlots({ spec: { redis, queue, queues, result } }: WorkerPool): void {
  const apart =
    redis.cluster && (queues ?? [queue]).find((name) => calculateSlot(name) !== calculateSlot(result));
  if (apart === undefined) return;
  throw new RangeError(
    `in a Redis Cluster, the result hash of a pool that runs Jobs must be in the slot of its queue: give "${apart}" and "${result}" one hash tag, such as {tiles}queue and {tiles}result`,
  );
}

function decideOn(input: JobsStepInput, current: number): Decision {
  const { policy, sampled, memory, now, wall, dryRun, around } = input;
  const { redis } = sampled;
  const sample: Sample =
    sampled.kind === 'known'
      ? { kind: 'known', ...sampled.sample, ...sampled.sample.runnable, redis }
      : { kind: 'unknown', why: sampled.why, redis };
  const rules = dryRun ? { ...policy, dryRun: true } : policy;
  return around(() => decide(rules, sample, current, memory, now, current, wall));
}

function replicasOf({ pods }: JobsStepInput, running: number, trouble: string | undefined): Step['replicas'] {
  const own = pods.filter(isOfJob);
  const active = own.filter(isActivePod);
  const ready = active.filter(({ status }) =>
    status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
  );
  return {
    wanted: running,
    existing: running,
    ready: ready.length,
    terminating: own.filter(isTerminatingPod).length,
    trouble: trouble ?? podFailureOf(active),
    rollingOut: false,
  };
}
