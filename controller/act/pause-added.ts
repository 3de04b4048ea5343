/** A pause of a pool means all of it: partitions that are added meanwhile are paused, too, before anything takes from them. */
import { isDeepStrictEqual } from 'node:util';
import type { QueueKeys } from '../../queue/keys.ts';
import { readPause } from '../../queue/pause.ts';
import { answered } from './answered.ts';
import type { QueueLink } from '../sample/sampler.ts';

/**
 * Pauses the lists of these names with the time and reason of the others, if all of the others are paused. Those that have a pause of
 * their own keep it. Resolves to the number paused; rejects if Redis fails.
 */
export async function pauseAdded(
  { queues, sampler: { redisOf } }: Pick<QueueLink, 'queues' | 'sampler'>,
  added: ReadonlySet<string>,
): Promise<number> {
  const others = queues.filter(({ queue }) => !added.has(queue));
  const reading = Promise.all(others.map((keys) => readPause(redisOf(keys), keys)));
  const pauses = await answered(reading, 'the pause of a queue');
  const [first] = pauses;
  if (!first || pauses.includes(undefined)) return 0;
  const text = `${first.at} ${first.reason}`;
  const isPaused = async (keys: QueueKeys): Promise<boolean> => {
    if ((await redisOf(keys).set(keys.paused, text, 'NX')) !== null) return true;
    // the reply to the first one may have been lost
    return isDeepStrictEqual(await readPause(redisOf(keys), keys), first);
  };
  const adding = queues.filter(({ queue }) => added.has(queue)).map(isPaused);
  return (await answered(Promise.all(adding), 'the pause of a queue')).filter(Boolean).length;
}
