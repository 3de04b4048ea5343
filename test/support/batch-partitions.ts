/** A queue in partitions, on one server or in a Redis Cluster, for tests of its batches. */
import type { Redis } from 'ioredis';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { parseDead } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { parseTask } from '../../queue/task.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { startCluster } from './cluster.ts';
import { startRedis } from './redis.ts';
import { freshKeys } from './turns.ts';
import { startWorker, type TestWorker } from './workers.ts';

export const PARTITIONS = 4;

export interface Place extends AsyncDisposable {
  readonly address: RedisAddress;
  clientOf(key: string): Promise<Redis>;
  ownerOf(key: string): Promise<{ readonly address: RedisAddress }>;
}

async function oneServer(): Promise<Place> {
  const server = await startRedis();
  const redis = server.client();
  const [clientOf, ownerOf] = [() => Promise.resolve(redis), () => Promise.resolve(server)];
  return Object.assign(server, { clientOf, ownerOf });
}

/** By their names. */
export const places: readonly (readonly [name: string, start: () => Promise<Place>])[] = [
  ['on one server', oneServer],
  ['in a Redis Cluster', startCluster],
];

export interface Scene extends AsyncDisposable {
  readonly plain: QueueKeys;
  readonly lists: readonly QueueKeys[];
  readonly queue: Queue;
  readonly redisOf: (keys: QueueKeys) => Redis;
}

export async function openScene(place: Place): Promise<Scene> {
  const plain = freshKeys();
  const lists = partitionKeys(plain.queue, plain.result, PARTITIONS);
  const clients = new Map<string, Redis>();
  for (const { queue } of lists) clients.set(queue, await place.clientOf(queue));
  const queue = openQueue({
    redis: place.address,
    queue: plain.queue,
    result: plain.result,
    partitions: PARTITIONS,
  });
  return {
    plain,
    lists,
    queue,
    redisOf: ({ queue: name }) => clients.get(name) as Redis,
    [Symbol.asyncDispose]: () => queue.close(),
  };
}

export function workIn(
  place: Place,
  { plain }: Scene,
  handler: (task: never, context: TaskContext) => unknown,
): TestWorker {
  return startWorker(place, plain, {
    handler: handler as (task: unknown, context: TaskContext) => unknown,
    partitions: PARTITIONS,
    concurrency: 50,
    retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1, jitter: false } },
  });
}

/** Of all partitions: how often a task with this id waits, is a dead letter, or was reported as cancelled. */
export async function occurrences({ lists, redisOf }: Scene, id: string): Promise<string[]> {
  const found = lists.map(async (keys) => {
    const redis = redisOf(keys);
    const [waiting, dead, failed] = await Promise.all([
      redis.lrange(keys.queue, 0, -1),
      redis.lrangeBuffer(keys.dead, 0, -1),
      redis.hget(keys.errors, id),
    ]);
    const is = (raw: Buffer | string): boolean => parseTask(Buffer.from(raw)).id === id;
    return [
      ...waiting.filter(is).map(() => 'waits'),
      ...dead.filter((letter) => is(parseDead(letter).raw)).map(() => 'dead'),
      ...(failed?.includes('"cancelled":true') ? ['cancelled'] : []),
    ];
  });
  return (await Promise.all(found)).flat();
}
