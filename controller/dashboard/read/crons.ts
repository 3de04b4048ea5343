/**
 * The cron tasks of one pool: their last tasks and what was left out, from the pool's status; the next times, from its spec; and
 * what became of the last task, from Redis, only while somebody looks at the pool.
 */
import type { CronSpec, CronStatus, WorkerPool } from '../../../kube/workerpool.ts';
import { readCronOutcome } from '../../../queue/crons.ts';
import type { QueueKeys } from '../../../queue/keys.ts';
import { shortId } from '../../../queue/task.ts';
import { cronQueueOf } from '../../act/crons.ts';
import { cronTimesOf } from '../../decide/cron.ts';
import type { CronRow } from '../api.ts';
import { LONGEST_ID } from './detail-rows.ts';
import type { QueuesPlace } from './details.ts';

export interface CronPlace extends QueuesPlace {
  /** Resolves to `undefined` for what fails, or takes too long. */
  readonly within: <T>(reading: Promise<T>) => Promise<T | undefined>;
}

/** Never rejects. Without a place, what became of the last tasks is not known. */
export type CronReader = (
  pool: WorkerPool,
  place: CronPlace | undefined,
  now: number,
) => Promise<readonly CronRow[]>;

const TIMES_SHOWN = 3;

export function createCronReader(showTasks: boolean): CronReader {
  /** Finding the times takes longer than all else here. */
  const upcoming = new Map<string, readonly number[]>();

  function nextTimes({ schedule, timeZone }: CronSpec, now: number): readonly number[] {
    const name = `${timeZone} ${schedule}`;
    const known = upcoming.get(name);
    if (known && (known[0] ?? 0) > now) return known;
    const found = timesAfter(schedule, timeZone, now);
    if (upcoming.size >= 100) upcoming.clear();
    upcoming.set(name, found);
    return found;
  }

  return async ({ spec, status }, place, now) => {
    const crons = spec.crons ?? [];
    if (crons.length === 0) return [];
    const known = new Map((status?.crons ?? []).map((one) => [one.name, one]));
    const keys = place && cronQueueOf(place.queues, place.records !== undefined);
    const outcomes =
      keys &&
      (await place.within(
        Promise.all(crons.map(({ name }) => outcomeOf(place.redisOf, keys, known.get(name)))),
      ));
    return crons.map((cron, i) => {
      const { name, schedule, timeZone, suspend } = cron;
      const { lastTime, lastTask, missed = 0, skipped = 0 } = known.get(name) ?? {};
      const at = lastTime === undefined ? Number.NaN : Date.parse(lastTime);
      return {
        name,
        schedule,
        timeZone,
        suspended: suspend,
        lastAt: Number.isNaN(at) ? null : at,
        lastTask: showTasks && lastTask !== undefined ? shortId(lastTask, LONGEST_ID) : null,
        outcome: outcomes?.[i] ?? null,
        missed,
        skipped,
        next: suspend ? [] : nextTimes(cron, now),
      };
    });
  };
}

async function outcomeOf(
  redisOf: QueuesPlace['redisOf'],
  keys: QueueKeys,
  status: CronStatus | undefined,
): Promise<CronRow['outcome']> {
  if (status?.lastTask === undefined) return null;
  return (await readCronOutcome(redisOf(keys), keys, status.name, status.lastTask)) ?? null;
}

/** None for a schedule that cannot be: the pool's conditions report that. */
function timesAfter(schedule: string, timeZone: string, now: number): readonly number[] {
  try {
    const times = cronTimesOf(schedule, timeZone, 'crons', 'schedule');
    const found: number[] = [];
    for (
      let at = times.nextStart(now);
      at !== undefined && found.length < TIMES_SHOWN;
      at = times.nextStart(at)
    )
      found.push(at);
    return found;
  } catch {
    return [];
  }
}
