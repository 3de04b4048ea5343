/**
 * Tasks in keys of a worker that is not registered: nobody gives these back, as a worker's tasks are looked for by its registration. Workers
 * of this version leave none; earlier ones with a random name could, when they were killed while they waited.
 */
import type { Redis } from 'ioredis';
import { patternOf, type QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { plural } from '../../runtime/plural.ts';
import { shellWord } from '../../runtime/shell-word.ts';
import { warn, type Finding } from './finding.ts';

/** The first million keys of a server are looked through, in steps of some ms. */
const PAGE = 10_000;
const PAGES = 100;
const SHOWN = 3;

/** Read only. A user that may not scan sees none. */
export async function checkLostTasks(
  queues: readonly QueueKeys[],
  redisOf: RedisOf,
): Promise<readonly Finding[]> {
  const servers = Map.groupBy(queues, (keys) => redisOf(keys));
  const found = Array.from(servers, ([redis, some]) => lostOn(redis, some).catch(() => []));
  return (await Promise.all(found)).flat();
}

async function lostOn(redis: Redis, queues: readonly QueueKeys[]): Promise<Finding[]> {
  const names = await scan(redis, prefixOf(queues.map(baseOf)));
  const found = await Promise.all(queues.map((keys) => lostOf(redis, keys, names)));
  return found.flat();
}

/** What the names of all keys of a queue begin with, but for those of the user. */
const baseOf = (keys: QueueKeys): string => keys.wake('').slice(0, -'wake:'.length);

function prefixOf([first = '', ...others]: readonly string[]): string {
  let length = first.length;
  while (!others.every((other) => other.startsWith(first.slice(0, length)))) length--;
  return first.slice(0, length);
}

async function scan(redis: Redis, prefix: string): Promise<string[]> {
  const pattern = patternOf(prefix);
  const names: string[] = [];
  let cursor = '0';
  for (let page = 0; page < PAGES; page++) {
    const [next, some] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', PAGE);
    names.push(...some);
    cursor = next;
    if (cursor === '0') break;
  }
  return names;
}

async function lostOf(redis: Redis, keys: QueueKeys, names: readonly string[]): Promise<Finding[]> {
  const idsIn = (prefix: string): string[] =>
    names.flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));
  const [wakes, hashes] = [keys.wake(''), keys.inflight('')];
  const lost = await Promise.all([
    ...idsIn(wakes).map((id) => countLost(redis, keys, id, wakes + id, 'llen')),
    ...idsIn(hashes).map((id) => countLost(redis, keys, id, hashes + id, 'hlen')),
  ]);
  const some = lost.filter((one) => one !== undefined).toSorted((a, b) => (a.key < b.key ? -1 : 1));
  return [
    ...some
      .slice(0, SHOWN)
      .map((one) =>
        warn(
          `queue ${keys.queue}`,
          `${plural(one.tasks, 'task is', 'tasks are')} in "${one.key}", and nobody looks there: no worker ${one.id} is registered`,
          remedy(keys, one),
        ),
      ),
    ...(some.length > SHOWN
      ? [
          warn(
            `queue ${keys.queue}`,
            `so are those of ${plural(some.length - SHOWN, 'more such key')}`,
            'look again after that',
          ),
        ]
      : []),
  ];
}

function remedy({ queue }: QueueKeys, { key, tasks, by }: Lost): string {
  const word = shellWord(key);
  if (by === 'hlen')
    return `redis-cli HVALS ${word} shows them: push those that are still to be run, and UNLINK that key`;
  const how = tasks === 1 ? 'put back what is there' : `put back what is there, by ${tasks} times this`;
  return `${how}: redis-cli LMOVE ${word} ${shellWord(queue)} RIGHT RIGHT`;
}

interface Lost {
  readonly id: string;
  readonly key: string;
  readonly tasks: number;
  readonly by: 'llen' | 'hlen';
}

/** `undefined` for a worker that is registered, or whose hash is there: that one is recovered. */
async function countLost(
  redis: Redis,
  keys: QueueKeys,
  id: string,
  key: string,
  by: Lost['by'],
): Promise<Lost | undefined> {
  const count = (): Promise<number> => redis[by](key).catch(() => 0);
  // the tasks first, as a worker registers before it takes any; and again, as one that ends gives them back before it leaves
  if ((await count()) === 0) return undefined;
  const [lease, known] = await Promise.all([redis.zscore(keys.workers, id), redis.exists(keys.worker(id))]);
  if (lease !== null || known > 0) return undefined;
  const tasks = await count();
  return tasks > 0 ? { id, key, tasks, by } : undefined;
}
