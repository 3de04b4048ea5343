/** Which key of a queue is of another type than Millrace has there, for an error that names it. */
import { closeRedis, openRedis, type RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { locationOf } from '../../queue/location.ts';

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
} as const satisfies Record<KeyOfQueue, string>;
const NAMES = { list: 'a list', hash: 'a hash', zset: 'a sorted set', string: 'a string', set: 'a set' };
const KEYS = Object.keys(TYPES) as KeyOfQueue[];

/** `undefined` where none is found: the error is about a key of a worker, a task or a batch. Rejects if the server does not answer. */
export async function describeWrongType(
  address: RedisAddress,
  queues: readonly QueueKeys[],
): Promise<string | undefined> {
  for (const queue of queues) {
    const there = locationOf(address, queue);
    const redis = openRedis(there.address, { retryStrategy: () => null });
    try {
      // in a cluster, a result hash may be on another node, which then is not it
      const found = await Promise.all(KEYS.map((name) => redis.type(there.keys[name]).catch(() => 'none')));
      const at = found.findIndex((type, i) => type !== 'none' && type !== TYPES[KEYS[i] ?? 'queue']);
      const name = KEYS[at];
      if (name === undefined) continue;
      const is = (type: string): string => NAMES[type as keyof typeof NAMES] ?? `of the type ${type}`;
      return `the key "${there.keys[name]}" is ${is(found[at] ?? '')}, and Millrace has ${is(TYPES[name])} there: use another name, or remove that key`;
    } finally {
      await closeRedis(redis);
    }
  }
  return undefined;
}
