/**
 * Tells clients which priorities of its queue a pool serves: what they push to another one is refused. That it is there is asked for with
 * each reconcile: a Redis may have lost it.
 */
import { within } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { levelName, type Level } from '../../queue/priorities.ts';
import { closeLevels, forgetLevels, openLevels, readOpenLevels } from '../../queue/served-levels.ts';
import type { QueueLink } from '../sample/sampler.ts';
import { pauseAdded } from './pause-added.ts';

/** A Redis that hangs must not hold up the reconcile, whose sample says so. */
const ANSWER_TIMEOUT_MS = 5_000;

export interface PrioritiesInput {
  readonly link: Pick<QueueLink, 'queues' | 'sampler'>;
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
  await within(ANSWER_TIMEOUT_MS, write(input, keys), 'the priorities of a queue');
}

async function write({ link, open, left = [], gone = [] }: PrioritiesInput, keys: QueueKeys): Promise<void> {
  const redis = link.sampler.redisOf(keys);
  const [known, limited] = await Promise.all([readOpenLevels(redis, keys), redis.exists(keys.limits)]);
  if (limited === 1 && open.length > 0)
    throw new RangeError(
      `"${keys.queue}" has limits, which would not hold for its tasks of other priorities: remove them (millrace limits --queue ${keys.queue} --remove), or spec.priorities`,
    );
  const closing = left.filter((level) => known.includes(level));
  const added = open.filter((level) => !known.includes(level));
  await closeLevels(redis, keys, closing);
  await forgetLevels(redis, keys, gone);
  if (added.length === 0) return;
  await pauseAdded(link, new Set(added.map((level) => levelName(keys.queue, level))));
  await openLevels(redis, keys, added);
}

/** The pool serves them no more; what waits there is not touched. */
export async function closePriorities(
  { sampler }: Pick<QueueLink, 'sampler'>,
  keys: QueueKeys,
  levels: readonly Level[],
): Promise<void> {
  const closing = closeLevels(sampler.redisOf(keys), keys, levels);
  await within(ANSWER_TIMEOUT_MS, closing, 'the priorities of a queue');
}
