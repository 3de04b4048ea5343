/** Checks that tasks of a priority are taken by somebody: a plain client may push to its list, whether or not anybody serves it. */
import type { QueueKeys } from '../../queue/keys.ts';
import { locationOf, type RedisOf } from '../../queue/location.ts';
import { levelKeys, LEVELS, type Level } from '../../queue/priorities.ts';
import { readOpenLevels } from '../../queue/served-levels.ts';
import type { Place } from '../access/place.ts';
import { warn, type Finding } from './finding.ts';

/** None where the user may not read the lists, and for a pool at zero, which starts workers for them. */
export async function checkPriorities(
  { address, queues, partitioned }: Place,
  redisOf: RedisOf,
): Promise<Finding[]> {
  const [first] = queues;
  if (partitioned) return [];
  try {
    const { keys } = locationOf(address, first);
    const [open, workers] = await Promise.all([
      readOpenLevels(redisOf(keys), keys),
      redisOf(keys).zcard(keys.workers),
    ]);
    const checks = LEVELS.map(async (level) => {
      const tasks = await unserved(redisOf, levelKeys(keys, level));
      const isPoolAtZero = open.includes(level) && workers === 0;
      return tasks === 0 || isPoolAtZero ? [] : [finding(keys, level, tasks)];
    });
    return (await Promise.all(checks)).flat();
  } catch {
    return [];
  }
}

/** Tasks in a list that no worker takes from. */
async function unserved(redisOf: RedisOf, keys: QueueKeys): Promise<number> {
  const redis = redisOf(keys);
  const [waiting, delayed, workers] = await Promise.all([
    redis.llen(keys.queue),
    redis.zcard(keys.delayed),
    redis.zcard(keys.workers),
  ]);
  return workers === 0 ? waiting + delayed : 0;
}

function finding(keys: QueueKeys, level: Level, tasks: number): Finding {
  return warn(
    `queue ${levelKeys(keys, level).queue}`,
    `${tasks} ${tasks === 1 ? 'task' : 'tasks'} of ${level} priority, and no worker takes them`,
    `start the workers with --priorities ${level} (MILLRACE_PRIORITIES), or add ${level} to spec.priorities of the pool`,
  );
}
