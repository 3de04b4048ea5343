/** Checks of a queue in partitions: uneven ones, workers of another number, and lists that the number does not name. */
import type { QueueKeys } from '../../queue/keys.ts';
import { locationOf, type RedisOf } from '../../queue/location.ts';
import { MAX_PARTITIONS, partitionedKeys } from '../../queue/partitions.ts';
import { sampleQueue, type QueueSample } from '../../queue/pool/sample.ts';
import { listWorkers } from '../../queue/workers/list-workers.ts';
import type { Place } from '../access/place.ts';
import { fail, ok, warn, type Finding } from './finding.ts';
import { plural } from '../../runtime/plural.ts';

/** A partition with this many times its share of what waits is worth a word. */
const UNEVEN = 4;
/** Unless fewer wait in all than this, by partition. */
const FEW = 10;
const SHOWN = 3;

/** All lists at once. Rejects if a server does not answer. */
export async function checkPartitions(place: Place, redisOf: RedisOf): Promise<Finding[]> {
  const { queues, partitioned } = place;
  if (!partitioned) return [];
  const about = `queue ${partitioned.keys.queue}`;
  try {
    const samples = await Promise.all(queues.map((keys) => sampleQueue(redisOf(keys), keys)));
    return [
      ok(about, summary(samples)),
      ...(await differentWorkers(about, queues, redisOf)),
      ...uneven(about, queues, samples),
    ];
  } catch (error) {
    return [fail(about, (error as Error).message, '')];
  }
}

function summary(samples: readonly QueueSample[]): string {
  const sum = (of: 'waiting' | 'inFlight' | 'delayed' | 'dead'): number =>
    samples.reduce((total, sample) => total + sample[of], 0);
  const workers = Math.max(...samples.map((sample) => sample.workers));
  return (
    `${sum('waiting')} waiting, ${sum('inFlight')} in flight, ${sum('delayed')} delayed, ${sum('dead')} dead, ` +
    `${plural(workers, 'worker')}, in ${plural(samples.length, 'list')}`
  );
}

async function differentWorkers(
  about: string,
  queues: readonly QueueKeys[],
  redisOf: RedisOf,
): Promise<Finding[]> {
  const found = await Promise.all(queues.map((keys) => listWorkers(redisOf(keys), keys)));
  const listsOf = Map.groupBy(found.flat(), ({ id }) => id);
  const less = [...listsOf].filter(([, lists]) => lists.length < queues.length);
  if (less.length === 0) return [];
  const named = less.slice(0, SHOWN).map(([id, lists]) => `${id} (${lists.length})`);
  const more = less.length > SHOWN ? ` and ${less.length - SHOWN} more` : '';
  return [
    warn(
      about,
      `not all of its ${queues.length} lists are served by ${named.join(', ')}${more}`,
      'start all workers with the same --partitions (MILLRACE_PARTITIONS); after a change of a pool, wait for its rollout',
    ),
  ];
}

function uneven(about: string, queues: readonly QueueKeys[], samples: readonly QueueSample[]): Finding[] {
  const all = samples.reduce((total, { waiting }) => total + waiting, 0);
  const most = Math.max(...samples.map(({ waiting }) => waiting));
  if (all < FEW * samples.length || most < (UNEVEN * all) / samples.length) return [];
  const list = queues[samples.findIndex(({ waiting }) => waiting === most)]?.queue ?? '';
  return [
    warn(
      about,
      `${most} of ${all} waiting tasks are in ${list}: one server has most of the work`,
      'let clients choose lists by the CRC-32 of the id, at random or in turn',
    ),
  ];
}

/**
 * Lists of other numbers that hold something, which nothing serves. A user that may not read them sees none.
 */
export async function checkOtherLists(place: Place, redisOf: RedisOf): Promise<Finding[]> {
  const { address, queues, partitioned } = place;
  const { queue } = partitioned?.keys ?? queues[0];
  if (/\{[^}]+\}/.test(queue)) return [];
  const served = new Set(queues.map((keys) => keys.queue));
  const others = partitionedKeys(queue, `${queue}:results`, [1, MAX_PARTITIONS])
    .filter((keys) => !served.has(keys.queue))
    .map((keys) => locationOf(address, keys).keys);
  const found = await Promise.all(others.map((keys) => contentsOf(redisOf, keys)));
  const held = found.flatMap(({ tasks, dead }, i) => {
    const name = others[i]?.queue ?? '';
    return tasks + dead > 0 ? [{ name, tasks, dead }] : [];
  });
  if (held.length === 0) return [];
  const named = held.slice(0, SHOWN).map(({ name, tasks, dead }) => `${name} (${describe(tasks, dead)})`);
  const more = held.length > SHOWN ? ` and ${held.length - SHOWN} more` : '';
  return [
    warn(
      `queue ${queue}`,
      `lists of another number of partitions hold something, and nothing serves them: ${named.join(', ')}${more}`,
      'raise partitions to name them, or requeue and move what is there with --partitions of that number',
    ),
  ];
}

async function contentsOf(redisOf: RedisOf, keys: QueueKeys): Promise<{ tasks: number; dead: number }> {
  const redis = redisOf(keys);
  try {
    const [waiting, delayed, dead] = await Promise.all([
      redis.llen(keys.queue),
      redis.zcard(keys.delayed),
      redis.llen(keys.dead),
    ]);
    return { tasks: waiting + delayed, dead };
  } catch {
    return { tasks: 0, dead: 0 };
  }
}

function describe(tasks: number, dead: number): string {
  const parts = [tasks > 0 ? plural(tasks, 'task') : [], dead > 0 ? plural(dead, 'dead letter') : []];
  return parts.flat().join(', ');
}
