/** The type of each key of a queue, by which one that something else has written is found and named. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';

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
  progress: 'hash',
} as const satisfies Partial<Record<KeyOfOne, RedisType>>;
const NAMES = { list: 'a list', hash: 'a hash', zset: 'a sorted set', string: 'a string', set: 'a set' };
type RedisType = keyof typeof NAMES;

/** Of those whose keys are looked at, by its rank. */
const LAST_WORKER = '999';

/** A key, and its type in Millrace. */
export type Typed = readonly [key: string, type: RedisType];

/** A key that is of another type than Millrace has there, both as `a hash`. */
export interface WrongKey {
  readonly key: string;
  readonly wanted: string;
  readonly found: string;
}

function typesOfQueue(keys: QueueKeys): Typed[] {
  return pairs(TYPES).map(([name, type]) => [keys[name], type]);
}

function typesOfBatch(keys: QueueKeys, id: string): Typed[] {
  return pairs(OF_BATCH).map(([name, type]) => [keys[name](id), type]);
}

function typesOfWorker(keys: QueueKeys, id: string): Typed[] {
  return pairs(OF_WORKER).map(([name, type]) => [keys[name](id), type]);
}

/** The first of these keys that is of another type. One that cannot be asked about is passed over. */
export async function findWrongKey(redis: Redis, keys: readonly Typed[]): Promise<WrongKey | undefined> {
  // in a cluster, a result hash may be on another node, which then is not it
  const found = await Promise.all(keys.map(([key]) => redis.type(key).catch(() => 'none')));
  const at = found.findIndex((type, i) => type !== 'none' && type !== keys[i]?.[1]);
  const wrong = keys[at];
  if (wrong === undefined) return undefined;
  const [key, wanted] = wrong;
  return { key, wanted: NAMES[wanted], found: NAMES[found[at] as RedisType] ?? `of the type ${found[at]}` };
}

/** Those of the queue, of its workers, and of the batch with this id. */
export async function typesOfAll(redis: Redis, keys: QueueKeys, batch?: string): Promise<Typed[]> {
  const workers = await redis.zrange(keys.workers, '0', LAST_WORKER).catch(() => []);
  return [
    ...typesOfQueue(keys),
    ...(batch === undefined ? [] : typesOfBatch(keys, batch)),
    ...workers.flatMap((id) => typesOfWorker(keys, id)),
  ];
}

function pairs<Name extends string>(types: Readonly<Record<Name, RedisType>>): [Name, RedisType][] {
  return Object.entries(types) as [Name, RedisType][];
}
