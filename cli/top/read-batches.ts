/** The batches and cron tasks of an opened row: of a pool's crons from its spec and status, of a bare Redis from their state there. */
import { cronQueueOf } from '../../controller/act/crons.ts';
import { cronTimesOf } from '../../controller/decide/cron.ts';
import type { CronSpec, CronStatus, WorkerPool } from '../../kube/workerpool.ts';
import { readBatchPages } from '../../queue/batches/read-pages.ts';
import { cancelBatch } from '../../queue/batches/record.ts';
import { listCrons, readCronOutcome } from '../../queue/crons.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { TopBatch, TopCron } from './model.ts';
import type { TopPlace } from './place.ts';

/** Of each queue. */
const MOST = { open: 200, ended: 20 };

export async function readBatches({
  redisOf,
  queues,
  paces,
}: TopPlace): Promise<{ readonly batches: readonly TopBatch[]; readonly batchCount: number }> {
  const { all, open, ended } = await readBatchPages(redisOf, queues, paces, MOST);
  const batches = [...open, ...ended].map(({ keys: { queue }, view, rate }): TopBatch =>
    Object.assign(view, { queue, rate }),
  );
  return { batches, batchCount: all.open + all.ended };
}

/** Whether it was not over yet. */
export async function cancelTopBatch(
  { redisOf, queues }: TopPlace,
  { id, queue }: TopBatch,
): Promise<boolean> {
  const keys = queues.find((one) => one.queue === queue);
  return keys !== undefined && (await cancelBatch(redisOf, keys, id, 'it was cancelled')) === 'cancelled';
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
      lastTask === undefined ? undefined : await readCronOutcome(redisOf(keys), keys, name, lastTask);
    return {
      name,
      schedule,
      timeZone,
      suspended: suspend,
      lastAt: lastTime === undefined ? undefined : Date.parse(lastTime),
      lastTask,
      nextAt: nextTime === undefined || suspend ? undefined : Date.parse(nextTime),
      outcome,
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
    const outcome = last && (await readCronOutcome(redis, keys, name, last.id));
    return {
      name,
      schedule,
      timeZone,
      suspended: false,
      lastAt: last?.at,
      lastTask: last?.id,
      nextAt: nextOf(schedule, timeZone),
      outcome,
      missed,
      skipped,
    };
  });
  return await Promise.all(crons);
}

function nextOf(schedule: string, timeZone: string): number | undefined {
  try {
    return cronTimesOf(schedule, timeZone, 'crons', 'schedule').nextStart(Date.now());
  } catch {
    return undefined;
  }
}
