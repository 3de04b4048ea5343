/** The batches and cron tasks of an opened row: of a pool's crons from its spec and status, of a bare Redis from their state there. */
import { cronQueueOf } from '../../controller/act/crons.ts';
import { cronTimesOf } from '../../controller/decide/cron.ts';
import type { CronSpec, CronStatus, WorkerPool } from '../../kube/workerpool.ts';
import { createPaces } from '../../queue/batches/pace.ts';
import { cancelBatch, readBatchPage } from '../../queue/batches/record.ts';
import { listCrons, readCron } from '../../queue/crons.ts';
import { resultApart, type QueueKeys } from '../../queue/keys.ts';
import type { TopBatch, TopCron } from './model.ts';
import type { TopPlace } from './place.ts';

/** Of each queue. */
const OPEN_READ = 200;
const ENDED_READ = 20;

export async function readBatches({
  redisOf,
  queues,
  paces,
}: TopPlace): Promise<{ readonly batches: readonly TopBatch[]; readonly batchCount: number }> {
  const each = await Promise.all(
    queues.map(async (keys) => {
      const { queue } = keys;
      const redis = redisOf(keys);
      const [open, ended] = await Promise.all([
        readBatchPage(redis, keys, 'open', OPEN_READ),
        readBatchPage(redis, keys, 'ended', ENDED_READ),
      ]);
      const pace = paces.get(queue) ?? createPaces();
      paces.set(queue, pace);
      pace.seen(open.now, open.list);
      return {
        all: open.all + ended.all,
        open: open.list.map((view): TopBatch => Object.assign(view, { queue, rate: pace.of(view.id) })),
        ended: ended.list.map((view): TopBatch => Object.assign(view, { queue, rate: undefined })),
      };
    }),
  );
  // what waits for somebody first
  const open = each
    .flatMap((one) => one.open)
    .toSorted((a, b) => Number(b.waiting > 0) - Number(a.waiting > 0) || b.createdAt - a.createdAt);
  const ended = each.flatMap((one) => one.ended).toSorted((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0));
  return { batches: [...open, ...ended], batchCount: each.reduce((sum, { all }) => sum + all, 0) };
}

/** Whether it was not over yet. */
export async function cancelTopBatch(
  { redisOf, queues }: TopPlace,
  { id, queue }: TopBatch,
): Promise<boolean> {
  const keys = queues.find((one) => one.queue === queue);
  return (
    keys !== undefined && (await cancelBatch(redisOf(keys), keys, id, 'it was cancelled')) === 'cancelled'
  );
}

export async function readCrons(place: TopPlace): Promise<readonly TopCron[]> {
  const { queues, redisOf, pool } = place;
  const keys = cronQueueOf(queues, queues.length > 1 && pool === undefined);
  if (!keys) return [];
  if (!pool) return await cronsInRedis(redisOf(keys), keys);
  const now = pool();
  const partitioned = (now?.spec.partitions ?? 1) > 1;
  return await cronsOfPool(now, redisOf, cronQueueOf(queues, partitioned) ?? keys);
}

async function cronsOfPool(
  pool: WorkerPool | undefined,
  redisOf: TopPlace['redisOf'],
  keys: QueueKeys,
): Promise<TopCron[]> {
  const known = new Map((pool?.status?.crons ?? []).map((one) => [one.name, one]));
  const crons = (pool?.spec.crons ?? []).map(async (cron: CronSpec): Promise<TopCron> => {
    const { name, schedule, timeZone, suspend } = cron;
    const {
      lastTime,
      lastTask,
      nextTime,
      missed = 0,
      skipped = 0,
    }: Partial<CronStatus> = known.get(name) ?? {};
    const outcome =
      lastTask === undefined ? undefined : (await readCron(redisOf(keys), keys, name, lastTask)).outcome;
    return {
      name,
      schedule,
      timeZone,
      suspended: suspend,
      lastAt: lastTime === undefined ? undefined : Date.parse(lastTime),
      lastTask,
      nextAt: nextTime === undefined || suspend ? undefined : Date.parse(nextTime),
      outcome: outcome ?? unended(keys, lastTask),
      missed,
      skipped,
    };
  });
  return await Promise.all(crons);
}

async function cronsInRedis(redis: ReturnType<TopPlace['redisOf']>, keys: QueueKeys): Promise<TopCron[]> {
  const crons = (await listCrons(redis, keys)).map(async ({ name, state }): Promise<TopCron> => {
    const [timeZone = '', ...fields] = state.of.split(' ');
    const schedule = fields.join(' ');
    const { last, missed = 0, skipped = 0 } = state;
    const outcome = last && (await readCron(redis, keys, name, last.id)).outcome;
    return {
      name,
      schedule,
      timeZone,
      suspended: false,
      lastAt: last?.at,
      lastTask: last?.id,
      nextAt: nextOf(schedule, timeZone),
      outcome: outcome ?? unended(keys, last?.id),
      missed,
      skipped,
    };
  });
  return await Promise.all(crons);
}

/** A result in another slot of a cluster is not seen from there. */
function unended(keys: QueueKeys, task: string | undefined): TopCron['outcome'] {
  return task === undefined || keys.result === resultApart(keys).result ? undefined : 'open';
}

function nextOf(schedule: string, timeZone: string): number | undefined {
  try {
    return cronTimesOf(schedule, timeZone, 'crons', 'schedule').nextStart(Date.now());
  } catch {
    return undefined;
  }
}
