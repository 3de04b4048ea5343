/**
 * Tells clients which priorities of its queue a pool serves: what they push to another one is refused. That it is there is asked for with
 * each reconcile: a Redis may have lost it. What is there of a time when the pool served more is asked for when samples show it.
 */
import { within } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { levelKeys, levelName, type Level } from '../../queue/priorities.ts';
import {
  closeLevels,
  forgetLevels,
  leaveLevels,
  openLevels,
  readLevelsOf,
  readOpenLevels,
} from '../../queue/served-levels.ts';
import type { QueueLink } from '../sample/sampler.ts';
import { answered } from './answered.ts';
import { pauseAdded } from './pause-added.ts';
import { shellWord } from '../../runtime/shell-word.ts';

/** A Redis that hangs must not hold up the reconcile, whose sample says so. */
const ANSWER_TIMEOUT_MS = 5_000;
/** In the words of a timeout. */
const WHAT = 'the priorities of a queue';

export interface PrioritiesInput {
  readonly link: Pick<QueueLink, 'queues' | 'sampler'>;
  /** Of the pool, which is noted beside what it serves; `undefined` outside of a cluster. */
  readonly uid?: string | undefined;
  /** That tasks may be pushed to. */
  readonly open: readonly Level[];
  /** That are served until they are empty. */
  readonly left?: readonly Level[];
  /** That are not served any more. */
  readonly gone?: readonly Level[];
}

/**
 * A queue that is paused is so with all its priorities. Throws `RangeError` for a queue with limits, which would not hold for all of its
 * tasks; rejects if Redis fails.
 */
export async function keepPriorities(input: PrioritiesInput): Promise<void> {
  const { link, open, left = [], gone = [] } = input;
  const [keys] = link.queues;
  if (open.length + left.length + gone.length === 0 || !keys) return;
  await within(ANSWER_TIMEOUT_MS, write(input, keys), WHAT);
}

async function write(
  { link, uid, open, left = [], gone = [] }: PrioritiesInput,
  keys: QueueKeys,
): Promise<void> {
  const redis = link.sampler.redisOf(keys);
  const [known, own, limited] = await Promise.all([
    readOpenLevels(redis, keys),
    uid === undefined ? open : readLevelsOf(redis, keys, uid),
    redis.exists(keys.limits),
  ]);
  if (limited === 1 && open.length > 0)
    throw new RangeError(
      `"${keys.queue}" has limits, which would not hold for its tasks of other priorities: remove them (millrace limits --queue ${shellWord(keys.queue)} --remove), or spec.priorities`,
    );
  const closing = left.filter((level) => known.includes(level));
  const added = open.filter((level) => !known.includes(level));
  await closeLevels(redis, keys, closing);
  await forgetLevels(redis, keys, gone);
  if (uid !== undefined) await leaveLevels(redis, keys, gone, uid);
  if (added.length > 0) await pauseAdded(link, new Set(added.map((level) => levelName(keys.queue, level))));
  const unmarked = open.filter((level) => added.includes(level) || !own.includes(level));
  await openLevels(redis, keys, unmarked, uid);
}

/**
 * Of priorities that the pool does not serve and that have lists: those that it served once, because Redis went back to that time. They are
 * refused to clients again. Resolves to those that hold tasks, which are to be served until they are empty; dead letters are left to be
 * found. `others`: that other pools serve, which go on.
 */
export async function reclaimPriorities(
  { sampler: { redisOf } }: Pick<QueueLink, 'sampler'>,
  keys: QueueKeys,
  { uid, levels, others }: ReclaimInput,
): Promise<readonly Level[]> {
  const redis = redisOf(keys);
  const own = await answered(readLevelsOf(redis, keys, uid), WHAT);
  const found = levels.filter((level) => own.includes(level));
  const alone = found.filter((level) => !others.includes(level));
  await answered(closeLevels(redis, keys, alone), WHAT);
  // what workers outside of a pool have announced stays open, and they serve it
  const announced = await answered(readOpenLevels(redis, keys), WHAT);
  const mine = alone.filter((level) => !announced.includes(level));
  const samples = await answered(
    Promise.all(mine.map((level) => sampleQueue(redis, levelKeys(keys, level)))),
    WHAT,
  );
  const holding = mine.filter((_, i) => {
    const { waiting = 0, inFlight = 0, delayed = 0 } = samples[i] ?? {};
    return waiting + inFlight + delayed > 0;
  });
  const empty = mine.filter((level, i) => !holding.includes(level) && samples[i]?.dead === 0);
  await answered(forgetLevels(redis, keys, empty), WHAT);
  const over = found.filter((level) => !holding.includes(level));
  await answered(leaveLevels(redis, keys, over, uid), WHAT);
  return holding;
}

export interface ReclaimInput {
  readonly uid: string;
  readonly levels: readonly Level[];
  readonly others: readonly Level[];
}

/** The pool ends: it serves `all` no more. Those in `closing` nobody does; what waits there is not touched. */
export async function closePriorities(
  { sampler }: Pick<QueueLink, 'sampler'>,
  keys: QueueKeys,
  {
    uid,
    all,
    closing,
  }: { readonly uid: string; readonly all: readonly Level[]; readonly closing: readonly Level[] },
): Promise<void> {
  const redis = sampler.redisOf(keys);
  await within(ANSWER_TIMEOUT_MS, closeLevels(redis, keys, closing), WHAT);
  await within(ANSWER_TIMEOUT_MS, leaveLevels(redis, keys, all, uid), WHAT);
}
