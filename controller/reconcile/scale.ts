/**
 * One reconcile of a pool that is to be scaled, stage by stage:
 *
 *   connect → sample → decide, act → observe → record → report
 *
 * Each stage receives its part of the pool's state and is the only one that writes it.
 */
import { KubeError } from '../../kube/errors.ts';
import { keyOf } from '../../kube/watch.ts';
import type { Pod } from '../../kube/wire.ts';
import { Mode, type WorkerPool } from '../../kube/workerpool.ts';
import { pauseAdded } from '../act/pause-added.ts';
import { act, targetOf } from '../act/act.ts';
import type { DeploymentTarget } from '../act/deployment-target.ts';
import { jobsStep, jobsTarget, runsJobs } from '../act/jobs/jobs-step.ts';
import { isActive, soonest, type Step } from '../act/step.ts';
import { connectPool } from '../connect/connect.ts';
import { hasLetters, leftLevels, levelsAfter } from '../connect/levels.ts';
import { isPartitioned, partitionsAfter, textOf } from '../connect/partitions.ts';
import { observeStep } from '../observe/observer.ts';
import { unservedLists, type PartitionsSeen } from '../report/partition-conditions.ts';
import { statusOf } from '../report/status.ts';
import { noAddress, troubleOf, type Trouble } from '../report/terminal-error.ts';
import type { Sampled } from '../sample/sampled.ts';
import { listsOf, wakeOf, type QueueLink } from '../sample/sampler.ts';
import type { ReconcileContext } from './context.ts';
import {
  keepPoolLimits,
  runPoolCrons,
  TROUBLE_RETRY_MS,
  type CronsRun,
  type LimitsKept,
  type Progress,
} from './queue-settings.ts';
import { inputOf, memoryFor, policyFor } from './decide-inputs.ts';
import { followSlots } from './found-slots.ts';
import { jobsStateOf, type Remembered } from './remembered.ts';

/** A failure of the API server, or of the program, that lasts for longer does not pass by itself, ms. */
const LASTING_MS = 5_000;
/** The queues are read again by then, ms. */
const NEW_LIMITS_MS = 1_500;

/** What is reported of a target. */
type Reported = Pick<DeploymentTarget, 'selector' | 'applied' | 'grace' | 'parkingFailure'>;

interface Acted extends Progress {
  readonly target: Reported | undefined;
  readonly step: Step | undefined;
}

/** Returns the delay of the next reconcile, ms, if any. Rejects with errors that are to be retried. */
export async function scale(
  context: ReconcileContext,
  pool: WorkerPool,
  state: Remembered,
): Promise<number | undefined> {
  const { link, trouble } = await tryConnect(context, pool, state);
  const sampled = link?.sampler.latest(keyOf(pool)) ?? noAddress(trouble);
  // the first sample is being read; a decision and a report without it would be replaced immediately
  if (sampled.kind === 'unknown' && sampled.reason === 'NotSampledYet') return undefined;
  // the sample is from before
  if (link && sampled.kind === 'known' && (await pauseWithOthers(context, pool, state, link)))
    return undefined;
  followPartitions(context, pool, state, sampled);
  followLevels(context, pool, state, sampled);
  if (link && sampled.kind === 'known') followSlots(pool, state.decide.slots, { ...context, link });
  const crons = await runPoolCrons(context, { pool, state, link, sampled, trouble });
  const limits = await keepPoolLimits(context, { pool, state, link, sampled, trouble });
  // the sample is from before, and a decision without the limits would start pods for tasks that may not run
  if (limits.kept?.changed) return NEW_LIMITS_MS;
  const acted = await (runsJobs(pool) ? decideAndRunJobs : decideAndAct)(context, {
    pool,
    state,
    link,
    sampled,
    trouble: trouble ?? crons.trouble ?? limits.trouble,
  });
  state.connect.blind = sampled.kind === 'unknown';
  followPods(context, acted);
  const { target, step } = acted;
  if (target && step) passOn(context, acted, target, step);
  return report(context, acted, crons, limits);
}

/** Connects the pool and records the link to its queues. Rejects as `connectPool` does. */
export async function connect(
  { connecting, links }: ReconcileContext,
  pool: WorkerPool,
  state: Remembered,
): Promise<QueueLink> {
  const link = await connectPool(connecting, pool, state.connect);
  links.set(keyOf(pool), link);
  return link;
}

async function tryConnect(
  context: ReconcileContext,
  pool: WorkerPool,
  state: Remembered,
): Promise<{ link?: QueueLink; trouble?: Trouble }> {
  try {
    return { link: await connect(context, pool, state) };
  } catch (error) {
    const trouble = troubleOf(error);
    if (!trouble) throw error;
    return { trouble };
  }
}

/** Pauses the lists that a paused pool begins to serve. Resolves to whether there were any; rejects if Redis fails. */
async function pauseWithOthers(
  { log }: ReconcileContext,
  pool: WorkerPool,
  { connect: state }: Remembered,
  link: QueueLink,
): Promise<boolean> {
  // a dry run changes nothing, also not in Redis
  if (state.added.size === 0 || pool.spec.mode === Mode.DryRun) return false;
  const lists = await pauseAdded(link, state.added);
  state.added = new Set();
  if (lists > 0) log.info({ pool: keyOf(pool), lists }, 'added partitions are paused, as the queue is');
  return lists > 0;
}

/** What cannot be read changes nothing: its lists stay served, and workers keep their number. */
function followPartitions(
  { clock }: ReconcileContext,
  { spec }: WorkerPool,
  { connect: state }: Remembered,
  sampled: Sampled,
): void {
  const lists = sampled.kind === 'known' ? sampled.sample.lists : undefined;
  if (state.partitions && isPartitioned(state.partitions) && lists)
    state.partitions = partitionsAfter(state.partitions, spec, lists, clock.elapsed());
}

/** The same for priorities: one that the spec no longer names stays served. */
function followLevels(
  { clock }: ReconcileContext,
  { spec }: WorkerPool,
  { connect: state }: Remembered,
  sampled: Sampled,
): void {
  const lists = sampled.kind === 'known' ? sampled.sample.lists : undefined;
  if (!state.levels || !lists) return;
  const { served } = state.levels;
  state.levels = levelsAfter(state.levels, spec, lists, clock.elapsed());
  const dropped = served.filter((level) => !state.levels?.served.includes(level));
  // dead letters are still to be found
  const gone = dropped.filter((level) => !hasLetters(spec, level, lists));
  state.goneLevels = [...state.goneLevels, ...gone];
}

/** The pool as its workers are told of it: with the priorities that are served, also those that its spec no longer names. */
function asServed(pool: WorkerPool, { connect: { levels } }: Remembered): WorkerPool {
  const { spec } = pool;
  if (!levels || leftLevels(levels, spec).length === 0) return pool;
  return { ...pool, spec: { ...spec, priorities: [...levels.served] } };
}

/** What workers are told; `undefined` for a queue that never had partitions. */
function workerPartitions({ connect: { partitions } }: Remembered): string | undefined {
  return partitions?.workers.some((number) => number > 1) ? textOf(partitions.workers) : undefined;
}

/** Nothing reports that a worker has left a list. Of an adopted Deployment, that may take its owner weeks. */
function isLeavingLists({ spec }: WorkerPool, { connect: { partitions, levels } }: Remembered): boolean {
  if (levels && leftLevels(levels, spec).length > 0) return true;
  return spec.scaleTargetRef === undefined && (partitions?.served.length ?? 0) > 1;
}

/** How long tasks have waited in partitions, or lists of priorities, that no worker takes from. */
function partitionsSeen(
  { clock }: ReconcileContext,
  { connect: { partitions }, report: state }: Remembered,
  { pool: { spec }, sampled }: Pick<Progress, 'pool' | 'sampled'>,
): PartitionsSeen | undefined {
  if (!partitions) return undefined;
  const now = clock.elapsed();
  if (sampled.kind === 'known') {
    const several = isPartitioned(partitions) || spec.priorities !== undefined;
    const isUnserved = several && unservedLists(sampled.sample.lists ?? []).length > 0;
    state.unservedSince = isUnserved ? (state.unservedSince ?? now) : undefined;
  }
  const since = state.unservedSince;
  return { numbers: partitions, unservedMs: since === undefined ? undefined : now - since };
}

async function decideAndAct(context: ReconcileContext, before: Progress): Promise<Acted> {
  const { api, clock, signal, deployments, adopted, podsOf, claims, memories, journal } = context;
  const { pool, state, link, sampled } = before;
  const key = keyOf(pool);
  let target: DeploymentTarget | undefined;
  try {
    const known = deployments.get(key);
    const rival = claims.takenBy(pool);
    const now = clock.elapsed();
    const partitions = workerPartitions(state);
    const pods = (): readonly Pod[] => podsOf(key);
    const input = { api, sampled, known, adopted, pods, rival, partitions, now, signal };
    target = targetOf({ ...input, pool: asServed(pool, state) }, state.act);
    const policy = policyFor(pool, state.decide);
    const memory = await memoryFor({ pool, policy, sampled, link, memories, clock }, state.decide);
    const times = { now: clock.elapsed(), wall: clock.now() };
    const seen = inputOf(sampled, memory, state.decide);
    const around = <T>(work: () => T): T => journal.during(key, work, seen);
    const step = await act({ pool, policy, memory, sampled, target, link, around, ...times }, state.act);
    state.decide.memory = step.decision.memory;
    state.failingSince = undefined;
    return { ...before, target, step };
  } catch (error) {
    return notActed(context, before, target, error);
  }
}

/** After a failure that people are told of; one that is of the program is thrown. */
function notActed(
  context: ReconcileContext,
  before: Progress,
  target: Acted['target'],
  error: unknown,
): Acted {
  const trouble = before.trouble ?? troubleOf(error) ?? lastingTrouble(context, before, error);
  if (!trouble) throw error;
  return { ...before, target, step: undefined, trouble };
}

/** What has failed for a while may never do better, and the pool's author would look at a pool without a status. */
function lastingTrouble(
  { clock, log }: ReconcileContext,
  { pool, state }: Pick<Progress, 'pool' | 'state'>,
  error: unknown,
): Trouble | undefined {
  const internal = error instanceof KubeError && error.internal;
  // of the program itself: something in the pool is not as it was thought to be
  if (!internal && !(error instanceof TypeError)) return undefined;
  state.failingSince ??= clock.elapsed();
  if (clock.elapsed() - state.failingSince < LASTING_MS) return undefined;
  log.warn({ pool: keyOf(pool), err: error }, 'a pool cannot be scaled; retrying');
  return internal
    ? { reason: 'ApiServerFailed', message: `${error.message}; retrying` }
    : {
        reason: 'ControllerFailed',
        message: `the controller fails at this pool, for a reason that is in its log (${error.message}); retrying`,
      };
}

/** The same for a pool that runs Jobs. */
async function decideAndRunJobs(context: ReconcileContext, before: Progress): Promise<Acted> {
  const { api, clock, signal, podsOf, jobsOf, journal, log } = context;
  const { pool, state, link, sampled } = before;
  const key = keyOf(pool);
  const target = jobsTarget(pool);
  try {
    const { step, done, trouble } = await jobsStep(
      {
        api,
        pool,
        link,
        policy: policyFor(pool, state.decide),
        memory: state.decide.memory,
        sampled,
        // before Redis is read: a Job that is seen here has a task there
        jobs: jobsOf(key),
        pods: podsOf(key),
        now: clock.elapsed(),
        wall: clock.now(),
        dryRun: pool.spec.mode === Mode.DryRun,
        around: (work) => journal.during(key, work),
        random: Math.random,
        signal,
      },
      jobsStateOf(state),
    );
    if (Object.values(done).some((names) => names.length > 0))
      log.info({ pool: key, ...done }, 'Jobs were created, or their ends recorded');
    state.decide.memory = step.decision.memory;
    state.failingSince = undefined;
    return { ...before, target, step, trouble: before.trouble ?? trouble };
  } catch (error) {
    return notActed(context, before, target, error);
  }
}

/** Plain workers hold nothing that could be put back, so their pods need no watch. */
function followPods({ followAdopted }: ReconcileContext, { pool, sampled, target }: Acted): void {
  if (sampled.kind !== 'known' || !target) return;
  const worthIt = pool.spec.scaleTargetRef !== undefined && sampled.sample.workers > 0;
  followAdopted(keyOf(pool), worthIt ? target.selector : undefined);
}

/** Passes a step on to the sampler, the memory store, the reporter and the observer, without waiting for them. */
function passOn(
  context: ReconcileContext,
  { pool, state, link, sampled }: Acted,
  { grace }: Reported,
  step: Step,
): void {
  const { clock, memories, reporter } = context;
  const key = keyOf(pool);
  if (link) {
    memories.keep(key, link, state.decide.memory, clock.elapsed(), clock.now());
    const active = isActive(step, sampled) || isLeavingLists(pool, state);
    link.sampler.setActive(key, active, step.decision.startMs);
  }
  reporter.stepped(pool, step, grace, state.report);
  const lists = link && listsOf(link);
  observeStep(
    context,
    { pool, sampled, step, lists, now: clock.elapsed(), wall: clock.now() },
    state.observe,
  );
}

async function report(
  context: ReconcileContext,
  acted: Acted,
  crons: CronsRun,
  limits: LimitsKept,
): Promise<number | undefined> {
  const { clock, reporter, claims } = context;
  const { pool, state, link, sampled, target, step, trouble } = acted;
  // what another library gave up is counted, and kept there
  if (link && !link.source && sampled.kind === 'known')
    await reporter.poison(pool, link, sampled.sample, state.report);
  const status = statusOf({
    pool: { ...pool, status: state.report.written?.status ?? pool.status ?? {} },
    sampled,
    step,
    trouble,
    wake: link ? wakeOf(link) : '',
    poison: state.report.poison?.note,
    evictionRisk: link?.sampler.evictionRisk,
    strays: state.act.strays,
    sharing: claims.sharing(pool),
    partitions: partitionsSeen(context, state, acted),
    priorities: state.connect.levels?.served,
    applier: state.act.applier,
    parkingFailure: target?.parkingFailure,
    crons: crons.status,
    limits: limits.kept,
    selector: target?.selector,
    applied: target?.applied,
    now: new Date(clock.now()),
  });
  const comeBackMs = await reporter.status(pool, status, state.report);
  const next = soonest(comeBackMs, step?.requeueInMs);
  return trouble ? TROUBLE_RETRY_MS : soonest(soonest(next, crons.nextInMs), limits.nextInMs);
}
