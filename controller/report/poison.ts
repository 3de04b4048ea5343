/**
 * Tells of tasks that were given up because no worker has survived them. The dead letters are the only source: they are
 * looked at when their number has changed, and only the newest few.
 */
import type { Redis } from 'ioredis';
import { readDeadHeads, type DeadHead } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { QueueSample } from '../../queue/pool/sample.ts';
import { plainText } from '../../runtime/plain-text.ts';

/** What is remembered of a pool from one look to the next. */
export interface PoisonSeen {
  /** The dead letters that were looked at, as numbers. */
  readonly of: string;
  /** Poison that died later than this is news, ms of Redis time. */
  readonly until: number;
  /** The newest poison among the dead letters, in words. */
  readonly note: string | undefined;
}

const NEWEST = 10;
const LONGEST_ID = 60;

/**
 * Looks again if `sample` says that there is something to see. `news`: what was given up since `seen`, in words, oldest
 * first; of what happened before the first look nothing is news.
 */
export async function lookForPoison(
  redis: Redis,
  queues: readonly QueueKeys[],
  { dead, now, counters }: Pick<QueueSample, 'dead' | 'now' | 'counters'>,
  seen: PoisonSeen | undefined,
): Promise<{ readonly seen: PoisonSeen; readonly news: readonly string[] }> {
  const of = `${dead} ${counters.failed}`;
  if (seen?.of === of) return { seen, news: [] };
  const reading = dead === 0 ? [] : queues.map((keys) => readDeadHeads(redis, keys, NEWEST, 0));
  const letters = (await Promise.all(reading)).flat().toSorted((a, b) => b.at - a.at);
  const poison = letters.filter(({ deliveries }) => deliveries !== undefined);
  const until = Math.max(seen?.until ?? now, ...poison.map(({ at }) => at));
  const news = seen ? poison.filter(({ at }) => at > seen.until) : [];
  const [newest] = poison;
  return {
    seen: { of, until, note: newest && describePoison(newest) },
    news: news.toReversed().map(describePoison),
  };
}

/** Whoever may view the pool reads it: of a task without an id, which is the task itself, nothing is shown. */
function describePoison({ id, error }: DeadHead): string {
  const task =
    id === undefined ? 'A task without an id' : `Task ${JSON.stringify(plainText(id, LONGEST_ID))}`;
  return `${task} is a dead letter: ${plainText(error)}.`;
}
