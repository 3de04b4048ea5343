/**
 * What a pool has at its queues besides tasks: cron tasks that are due, limits, and which priorities are served. Written with each reconcile,
 * also where the pool cannot be scaled.
 */
import { keyOf } from '../../kube/watch.ts';
import { Mode, queuesOf, type WorkerPool } from '../../kube/workerpool.ts';
import type { Claims, CronBeside } from '../act/claims.ts';
import { areAtOdds, cronQueueOf, runCrons, type CronsDone } from '../act/crons.ts';
import { keepLimits } from '../act/limits.ts';
import { connectionOf } from '../../queue/connection/connection.ts';
import { LEVELS } from '../../queue/priorities.ts';
import { keepPriorities, reclaimPriorities, type PrioritiesInput } from '../act/priorities.ts';
import { runsJobs } from '../act/jobs/jobs-step.ts';
import { leftLevels } from '../connect/levels.ts';
import { troubleOf, type Trouble } from '../report/terminal-error.ts';
import type { Sampled } from '../sample/sampled.ts';
import type { QueueLink } from '../sample/sampler.ts';
import type { ReconcileContext } from './context.ts';
import type { Remembered } from './remembered.ts';

export const TROUBLE_RETRY_MS = 5_000;

/** The intermediate results of a reconcile. */
export interface Progress {
  readonly pool: WorkerPool;
  readonly state: Remembered;
  readonly link: QueueLink | undefined;
  readonly sampled: Sampled;
  readonly trouble: Trouble | undefined;
}

export interface CronsRun extends Partial<CronsDone> {
  /** They cannot be read; the pool is scaled all the same. */
  readonly trouble?: Trouble;
}

/** Pushes what is due. Without a queue that can be read, it waits until there is one. Never rejects. */
export async function runPoolCrons(
  { clock, log, claims }: ReconcileContext,
  { pool, state, link, sampled }: Progress,
): Promise<CronsRun> {
  const { crons = [], mode } = pool.spec;
  const formerly = (pool.status?.crons ?? []).map(({ name }) => name);
  if (crons.length + formerly.length + (state.crons?.size ?? 0) === 0) return {};
  const partitioned = link?.partitions !== undefined;
  const keys = link && cronQueueOf(link.queues, partitioned);
  if (!keys || link.source || sampled.kind === 'unknown' || mode === Mode.DryRun) return {};
  const { waiting, inFlight, delayed } = sampled.sample;
  const now = clock.now();
  try {
    const empty = waiting + inFlight + delayed === 0;
    const redis = link.sampler.redisOf(keys);
    const beside = claims.cronsBeside(pool);
    const others = new Set(beside.map(({ cron }) => cron.name));
    const older = beside.filter(({ isOlder }) => isOlder);
    const taken = older.find(({ cron }) => crons.some((mine) => areAtOdds(mine, cron)));
    const own = crons.filter((mine) => older.every(({ cron }) => !areAtOdds(mine, cron)));
    const input = { crons: own, redis, keys, partitioned, now, empty, formerly, others };
    const done = await runCrons(input, (state.crons ??= new Map()));
    if (done.pushed.length > 0)
      log.info({ pool: keyOf(pool), tasks: done.pushed }, 'tasks of crons were due and are in the queue');
    return taken ? { ...done, trouble: cronTaken(taken) } : done;
  } catch (error) {
    const trouble = troubleOf(error);
    if (trouble) return { trouble };
    log.warn({ pool: keyOf(pool), err: error }, 'tasks of crons cannot be pushed now; retrying');
    return { nextInMs: TROUBLE_RETRY_MS };
  }
}

function cronTaken({ cron: { name }, who }: CronBeside): Trouble {
  return {
    reason: 'CronTaken',
    message: `the cron task "${name}" is also one of ${who}, which is older, with another schedule or time zone: a name belongs to the queue, so give this one a name of its own`,
  };
}

export interface LimitsKept {
  /** Known only where the queues could be written to. */
  readonly kept?: { readonly text: string | undefined; readonly changed: boolean };
  /** They cannot be written; the pool is scaled all the same. */
  readonly trouble?: Trouble;
  /** When they are to be written again, ms from now. */
  readonly nextInMs?: number;
}

/** Writes the limits and priorities of the pool to its queues. Never rejects. */
export async function keepPoolLimits(
  { log, claims }: ReconcileContext,
  { pool, state, link, sampled }: Progress,
): Promise<LimitsKept> {
  const { limits, mode } = pool.spec;
  if (!link || link.source || sampled.kind === 'unknown' || mode === Mode.DryRun) return {};
  const { queues, sampler } = link;
  try {
    const shownBy = sampled.sample.limitsBy;
    const input = { pool: keyOf(pool), limits, shownBy, queues, redisOf: sampler.redisOf };
    await keepPriorities({ link, uid: pool.metadata.uid, ...prioritiesOf(pool, state, claims) });
    if (state.connect.goneLevels.length > 0) state.connect.goneLevels = [];
    await reclaimLevels({ log, claims }, { pool, state, link, sampled });
    return { kept: await keepLimits(input, state.limits) };
  } catch (error) {
    const trouble = troubleOf(error);
    if (trouble) return { trouble };
    log.warn(
      { pool: keyOf(pool), err: error },
      'the limits and priorities of a pool cannot be written now; retrying',
    );
    return { nextInMs: TROUBLE_RETRY_MS };
  }
}

/** Where Redis went back to a time when the pool served priorities that it serves no more, it serves them once more until they are empty. */
async function reclaimLevels(
  { log, claims }: Pick<ReconcileContext, 'log' | 'claims'>,
  { pool, state, link, sampled }: Pick<Progress, 'pool' | 'state' | 'sampled'> & { readonly link: QueueLink },
): Promise<void> {
  const { connect } = state;
  const { metadata, spec } = pool;
  const [keys] = link.queues;
  const { levels: shown = [] } = sampled.kind === 'known' ? sampled.sample : {};
  if (!keys || !metadata.uid || (shown.length === 0 && connect.strayLevels.shown === '')) return;
  const served = connect.levels?.served ?? [];
  const stray = shown.filter((level) => !served.includes(level) && spec.priorities?.includes(level) !== true);
  const now = { shown: stray.join(), on: connectionOf(link.sampler.redisOf(keys)) };
  if (now.shown === connect.strayLevels.shown && now.on === connect.strayLevels.on) return;
  if (now.shown !== '') {
    const others = claims.prioritiesBeside(pool);
    const found = await reclaimPriorities(link, keys, { uid: metadata.uid, levels: stray, others });
    const canServe = queuesOf(spec).length === 1 && !spec.limits && !runsJobs(pool);
    if (found.length > 0 && !canServe)
      log.warn(
        { pool: keyOf(pool), priorities: found },
        'Redis went back to a time when the pool had priorities: tasks that wait there are not served, as it can have none now',
      );
    else if (found.length > 0) {
      connect.levels = { served: LEVELS.filter((level) => served.includes(level) || found.includes(level)) };
      log.warn(
        { pool: keyOf(pool), priorities: found },
        'Redis went back to a time when the pool had priorities: what waits there is served',
      );
    }
  }
  connect.strayLevels = now;
}

function prioritiesOf(
  pool: WorkerPool,
  { connect: { levels, goneLevels } }: Remembered,
  claims: Claims,
): Omit<PrioritiesInput, 'link'> {
  const { priorities: open = [] } = pool.spec;
  const leaving = levels ? leftLevels(levels, pool.spec) : [];
  if (leaving.length + goneLevels.length === 0) return { open };
  const others = claims.prioritiesBeside(pool);
  const left = leaving.filter((level) => !others.includes(level));
  const gone = goneLevels.filter((level) => !open.includes(level) && !others.includes(level));
  return { open, left, gone };
}
