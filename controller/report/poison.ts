/**
 * Reports tasks that were given up because no worker survived them. The dead letters are the only source: the newest few are read
 * when their number has changed.
 */
import { readDeadHeads, type DeadHead } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import type { QueueSample } from '../../queue/pool/sample.ts';
import { plainText } from '../../runtime/plain-text.ts';

/** State of a pool from one read of its dead letters to the next. */
export interface PoisonSeen {
  /** Fingerprint of the dead letters that were read: their number and that of failed tasks. */
  readonly of: string;
  /** Poison tasks that died after this have not been reported, ms of Redis time. */
  readonly until: number;
  /** The newest poison task among the dead letters, human-readable. */
  readonly note: string | undefined;
  /** Digests of the poison tasks that were read. */
  readonly known: readonly string[];
}

const NEWEST = 10;
/** One object for the pools that have none. */
const NONE: readonly string[] = [];
const LONGEST_ID = 60;

/**
 * Reads the dead letters if `sample` shows that they have changed. `news`: tasks that were given up since `seen`, human-readable,
 * oldest first; tasks that were given up before the first call are not news.
 */
export async function findPoison(
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  { dead, now, counters }: Pick<QueueSample, 'dead' | 'now' | 'counters'>,
  before: PoisonSeen | undefined,
): Promise<{ readonly seen: PoisonSeen; readonly news: readonly string[] }> {
  // where the clock of Redis was set back, or another server has taken over whose clock is behind
  const seen = before && before.until > now ? { ...before, until: now } : before;
  const of = `${dead} ${counters.failed}`;
  if (seen?.of === of) return { seen, news: [] };
  const reading = dead === 0 ? [] : queues.map((keys) => readDeadHeads(redisOf(keys), keys, NEWEST, 0));
  const letters = (await Promise.all(reading)).flat().toSorted((a, b) => b.at - a.at);
  const poison = letters.filter(({ deliveries }) => deliveries !== undefined);
  // those of a clock that was ahead are known
  const past = poison.flatMap(({ at }) => (at <= now ? [at] : []));
  const until = Math.max(seen?.until ?? now, ...past);
  const isNew = ({ at, digest }: DeadHead): boolean =>
    seen !== undefined && at > seen.until && !seen.known.includes(digest);
  const known = poison.length > 0 ? poison.map(({ digest }) => digest) : NONE;
  const [newest] = poison;
  return {
    seen: { of, until, note: newest && describePoison(newest), known },
    news: poison.filter(isNew).toReversed().map(describePoison),
  };
}

/** Readable by everyone who may view the pool: a task without an id, whose id is the task itself, is not shown. */
function describePoison({ id, error }: DeadHead): string {
  const task =
    id === undefined ? 'A task without an id' : `Task ${JSON.stringify(plainText(id, LONGEST_ID))}`;
  return `${task} is a dead letter: ${plainText(error)}.`;
}
