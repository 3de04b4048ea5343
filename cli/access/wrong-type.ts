/** Which key of a queue is of another type than Millrace has there, for an error that names it. */
import type { Redis } from 'ioredis';
import { closeRedis, openRedis, type RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { locationOf } from '../../queue/location.ts';
import { visible } from '../../runtime/plain-text.ts';

/** Not of one worker, task, batch or pool. */
type KeyOfQueue = {
  [Name in keyof QueueKeys]: QueueKeys[Name] extends string ? Name : never;
}[keyof QueueKeys];

const TYPES = {
  queue: 'list',
  result: 'hash',
  workers: 'zset',
  clock: 'hash',
  load: 'hash',
  leaving: 'zset',
  asked: 'zset',
  delayed: 'zset',
  dead: 'list',
  errors: 'hash',
  stats: 'hash',
  history: 'hash',
  pasts: 'hash',
  suspects: 'list',
  isolator: 'string',
  emptying: 'zset',
  apart: 'hash',
  paused: 'string',
  priorities: 'hash',
  cancelled: 'zset',
  expiry: 'zset',
  batches: 'zset',
  shares: 'zset',
  batchReports: 'hash',
  move: 'hash',
  moving: 'list',
  arrivals: 'hash',
  crons: 'hash',
  limits: 'hash',
  limitState: 'hash',
  limitSlots: 'hash',
  limitRunning: 'hash',
  held: 'zset',
  heldDue: 'zset',
  slots: 'hash',
} as const satisfies Record<KeyOfQueue, RedisType>;
type KeyOfOne = Exclude<keyof QueueKeys, KeyOfQueue>;
const OF_BATCH = {
  batch: 'hash',
  batchLeft: 'set',
  batchNumbered: 'hash',
  batchEnded: 'set',
  batchFailed: 'set',
  batchIds: 'list',
  batchInner: 'set',
  batchKnown: 'set',
  batchShares: 'set',
  batchSpawned: 'list',
} as const satisfies Partial<Record<KeyOfOne, RedisType>>;
const OF_WORKER = {
  worker: 'hash',
  inflight: 'hash',
  carried: 'hash',
  wake: 'list',
} as const satisfies Partial<Record<KeyOfOne, RedisType>>;
const NAMES = { list: 'a list', hash: 'a hash', zset: 'a sorted set', string: 'a string', set: 'a set' };
type RedisType = keyof typeof NAMES;

/** A key, and its type in Millrace. */
type Typed = readonly [key: string, type: RedisType];

/** Of those whose keys are looked at, by its rank. */
const LAST_WORKER = '999';

/**
 * Among the keys of these queues, of their workers, and of the batch with this id. `undefined` where none is found: the error is about a
 * key of a task, or of another batch. Rejects if the server does not answer.
 */
export async function describeWrongType(
  address: RedisAddress,
  queues: readonly QueueKeys[],
  batch?: string,
): Promise<string | undefined> {
  for (const queue of queues) {
    const there = locationOf(address, queue);
    const redis = openRedis(there.address, { retryStrategy: () => null });
    try {
      const keys = await keysOf(redis, there.keys, batch);
      // in a cluster, a result hash may be on another node, which then is not it
      const found = await Promise.all(keys.map(([key]) => redis.type(key).catch(() => 'none')));
      const at = found.findIndex((type, i) => type !== 'none' && type !== keys[i]?.[1]);
      const wrong = keys[at];
      if (wrong === undefined) continue;
      const is = NAMES[found[at] as RedisType] ?? `of the type ${found[at]}`;
      return `the key "${visible(wrong[0])}" is ${is}, and Millrace has ${NAMES[wrong[1]]} there: use another name, or remove that key`;
    } finally {
      await closeRedis(redis);
    }
  }
  return undefined;
}

async function keysOf(redis: Redis, keys: QueueKeys, batch: string | undefined): Promise<Typed[]> {
  const workers = await redis.zrange(keys.workers, '0', LAST_WORKER).catch(() => []);
  return [
    ...pairs(TYPES).map(([name, type]): Typed => [keys[name], type]),
    ...(batch === undefined ? [] : pairs(OF_BATCH).map(([name, type]): Typed => [keys[name](batch), type])),
    ...workers.flatMap((id) => pairs(OF_WORKER).map(([name, type]): Typed => [keys[name](id), type])),
  ];
}

function pairs<Name extends string>(types: Readonly<Record<Name, RedisType>>): [Name, RedisType][] {
  return Object.entries(types) as [Name, RedisType][];
}
