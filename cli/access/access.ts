/**
 * `cli/access/` takes flags and returns the queues of a Redis or of a pool, open for as long as a command runs. It does not
 * know what the command does.
 *
 * Opens the queues that a command's flags name: of a Redis by its URL, or of a pool of a cluster. Everything that is opened for it
 * is closed when the command ends.
 */
import type { Redis } from 'ioredis';
import { troubleOfRedis } from '../../queue/connection/redis-errors.ts';
import { isReply, replyCode } from '../../queue/connection/reply-code.ts';
import {
  addressName,
  closeRedis,
  describeRedisError,
  openRedis,
  within,
  type RedisAddress,
} from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { openClusterLinks } from '../../queue/connection/cluster/links.ts';
import { locationOf, type RedisOf } from '../../queue/location.ts';
import { levelKeys } from '../../queue/priorities.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { readLevels } from '../../queue/served-levels.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { UsageError } from '../../runtime/program.ts';
import type { AccessFlags } from './access-flags.ts';
import { checkedAddress, checkedLists } from './checked.ts';
import { checkOwnQueues } from './own-queues.ts';
import type { Place } from './place.ts';
import { describeWrongType } from './wrong-type.ts';
import { viewsBySentinel } from './sentinel-views.ts';

/** What a command needs beside the servers of its queues, and what it is about. */
export interface Needs {
  /** Those of the result hashes. */
  readonly results?: boolean;
  /** The id of the batch that it is about. */
  readonly batch?: string | undefined;
  /** It writes to the queues. */
  readonly writes?: boolean;
}

const REACH_TIMEOUT_MS = 6_000;
/** A slot that moves is waited for, ms. */
const PASSING_MS = 6_000;

/**
 * Runs `use` with the place that the flags name, once its Redis has responded. Throws `UsageError` for contradictory flags and for
 * an invalid address or name, and `Error` in one line for problems of the cluster or the server.
 */
export async function withPlace<T>(
  flags: AccessFlags,
  use: (place: Place) => Promise<T>,
  needs: Needs = {},
): Promise<T> {
  await using stack = new AsyncDisposableStack();
  const place = flags.pool === undefined ? barePlace(flags) : await poolPlace(flags.pool, flags, stack);
  await (place.address.cluster ? reachPrimaries(place, needs) : reach(place, needs));
  try {
    return await use(place);
  } catch (error) {
    if (!isReply(error)) throw error;
    const wrong =
      replyCode(error) === 'WRONGTYPE'
        ? await describeWrongType(place.address, place.queues, needs.batch).catch(() => undefined)
        : undefined;
    throw new Error(wrong ?? place.describe(error), { cause: error });
  }
}

/** Of the server that has the records, which is that of the first queue unless it is in partitions. */
export function addressOf({ address, queues: [first], partitioned }: Place): RedisAddress {
  return locationOf(address, partitioned?.keys ?? first).address;
}

/** The keys of its queues on their server: see location.ts. */
export function keysThere({ address, queues: [first, ...rest] }: Place): Place['queues'] {
  const there = (keys: QueueKeys): QueueKeys => locationOf(address, keys).keys;
  return [there(first), ...rest.map(there)];
}

/**
 * Runs `use` with one connection that has Millrace's scripts, and with those to the servers of all queues, each closed at the end;
 * throws as `withPlace` does.
 */
export async function withRedis<T>(
  flags: AccessFlags,
  use: (redis: Redis, place: Place, redisOf: RedisOf, servers: Servers) => Promise<T>,
  needs: Needs = {},
): Promise<T> {
  const run = async (place: Place): Promise<T> => {
    await using servers = openServers(place);
    const { redis, redisOf } = servers;
    const queues = await listsThere(place, redisOf);
    return await use(redis, { ...place, queues }, redisOf, servers);
  };
  return await withPlace(flags, run, needs);
}

/** The keys of its queues on their server, with the lists of priorities. */
export async function listsThere(place: Place, redisOf: RedisOf): Promise<Place['queues']> {
  const [first, ...rest] = keysThere(place);
  return [first, ...rest, ...(await levelsOf(place, first, redisOf))];
}

/** The lists of priorities of a queue; none where they cannot be read, or it is one of several. */
async function levelsOf(
  { queues, partitioned, pool }: Place,
  keys: QueueKeys,
  redisOf: RedisOf,
): Promise<QueueKeys[]> {
  if (queues.length > 1 || partitioned || pool?.spec.source) return [];
  const levels = await readLevels(redisOf(keys), keys).catch(() => []);
  return levels.map((level) => levelKeys(keys, level));
}

/** Connections to the servers of a place, and the one to that of its records. */
export interface Servers extends AsyncDisposable {
  readonly redis: Redis;
  readonly redisOf: RedisOf;
  /** A connection to each primary that there is now, to be used until the next call. */
  readonly primaries: () => Promise<readonly Redis[]>;
}

/** One connection, or in a cluster one to each primary that has queues. */
export function openServers(place: Place, options: Parameters<typeof openRedis>[1] = {}): Servers {
  const redis = defineScripts(openRedis(addressOf(place), options));
  const { address } = place;
  const links = address.cluster && openClusterLinks({ address, waits: true, passingMs: PASSING_MS });
  const clients = new Map<string, Redis>();
  let primaries: readonly Redis[] = [];
  const redisOf = ({ queue }: QueueKeys): Redis => {
    if (!links) return redis;
    const client = clients.get(queue) ?? defineScripts(links.client(queue));
    clients.set(queue, client);
    return client;
  };
  return {
    redis,
    redisOf,
    primaries: async () => {
      if (!links) return [redis];
      // from then on they are known
      await redisOf(place.queues[0]).type(place.queues[0].queue);
      const before = primaries;
      primaries = links.primaries();
      for (const client of before) client.disconnect();
      return primaries;
    },
    [Symbol.asyncDispose]: async () => {
      await links?.[Symbol.asyncDispose]();
      await closeRedis(redis);
    },
  };
}

/** Runs `use` with the queues that the flags name, one in partitions as one queue, each closed at the end; throws as `withPlace` does. */
export async function withQueues<T>(
  flags: AccessFlags,
  use: (queues: readonly [Queue, ...Queue[]], place: Place) => Promise<T>,
  needs: Needs = {},
): Promise<T> {
  const run = async (place: Place): Promise<T> => {
    checkOwnQueues(place);
    await using stack = new AsyncDisposableStack();
    const open = ({ queue, result }: QueueKeys, partitions: readonly number[] = [1]): Queue =>
      stack.use(openQueue({ redis: place.address, queue, result, partitions }));
    if (place.partitioned) return await use([open(place.partitioned.keys, place.partitioned.numbers)], place);
    const [first, ...rest] = place.queues;
    return await use([open(first), ...rest.map((keys) => open(keys))], place);
  };
  return await withPlace(flags, run, needs);
}

/** The same with one queue: the requested one, or a pool's first. */
export async function withQueue<T>(
  flags: AccessFlags,
  use: (queue: Queue) => Promise<T>,
  needs: Needs = {},
): Promise<T> {
  return await withQueues(flags, async ([first]) => await use(first), needs);
}

function barePlace(flags: AccessFlags): Place {
  const stray = ['namespace', 'context', 'kubeconfig'].find((name) => flags.given.includes(name));
  if (stray !== undefined)
    throw new UsageError(`--${stray} is for a pool in a cluster: name one with --pool, or omit --${stray}`);
  const address = checkedAddress(flags);
  return {
    address,
    ...checkedLists(flags, flags.partitions),
    pool: undefined,
    sentinels: address.sentinel && (() => viewsBySentinel(address)),
    describe: (error) =>
      isReply(error) && troubleOfRedis(error, address) === 'credentials'
        ? `Redis at ${addressName(address)} refuses the user name or password: check those in the URL, or --redis-username and --redis-password (MILLRACE_REDIS_PASSWORD)`
        : describeRedisError(error, address),
  };
}

/** Options whose value a pool defines itself. */
const OF_THE_POOL = ['redis', 'sentinel', 'cluster', 'result'];

async function poolPlace(name: string, flags: AccessFlags, stack: AsyncDisposableStack): Promise<Place> {
  const { given } = flags;
  if (given.includes('argument') && given.includes('pool'))
    throw new UsageError('both a pool and --pool are given: choose one');
  const twice = OF_THE_POOL.find((flag) => given.includes(flag));
  if (twice !== undefined)
    throw new UsageError(`both a pool and --${twice}, which the pool defines itself, are given: choose one`);
  // the library that reads kubeconfigs takes a hundred MB and half a second, which a bare Redis does not need
  const { openPool } = await import('./pool-access.ts');
  return await openPool(name, flags, stack);
}

/** Clients reconnect for ever; on a command line, one attempt is enough to report the problem. */
async function reach({ address, describe }: Place, { writes = false }: Needs): Promise<void> {
  let last: unknown;
  const redis = openRedis(address, { onError: (error) => (last = error), retryStrategy: () => null });
  try {
    await within(REACH_TIMEOUT_MS, redis.ping(), 'PING').catch((error: unknown) => {
      // a server that refuses a PING has responded: it accepts no writes, or does not permit this user PING
      if (redis.status !== 'ready' || !isReply(error))
        throw new Error(describe(last ?? error), { cause: last ?? error });
    });
    if (writes && (await within(REACH_TIMEOUT_MS, isReadOnly(redis), 'INFO')))
      throw new Error(
        `Redis at ${addressName(address)} is a read-only replica, and nothing was written: name its primary, or sentinels`,
      );
  } finally {
    await closeRedis(redis);
  }
}

/** Clients wait for such a server to take over, as after a failover, for as long as it takes. A user may be denied INFO. */
async function isReadOnly(redis: Redis): Promise<boolean> {
  const info = await redis.info('replication').catch(() => '');
  return /^role:slave\r?$/m.test(info) && /^slave_read_only:1\r?$/m.test(info);
}

/**
 * In a cluster, those are reached that the command is about. One that is away may have a replica that is about to take over, so it is
 * tried for a few seconds; what does not pass by itself is reported immediately.
 */
async function reachPrimaries({ address, queues, describe }: Place, { results }: Needs): Promise<void> {
  let last: unknown;
  const hopeless = Promise.withResolvers<never>();
  const onError = (error: Error): void => {
    last = error;
    if (!/^(away|closed)$/.test(troubleOfRedis(error, address))) hopeless.reject(error);
  };
  await using links = openClusterLinks({ address, waits: true, passingMs: PASSING_MS, onError });
  const keys = new Set(queues.flatMap(({ queue, result }) => (results ? [queue, result] : [queue])));
  const pings = Array.from(keys, async (key) => {
    await links.client(key).ping().catch(refused);
  });
  const reached = Promise.race([Promise.all(pings), hopeless.promise]);
  await within(REACH_TIMEOUT_MS, reached, 'PING').catch((error: unknown) => {
    const cause = last ?? error;
    throw new Error(describe(cause), { cause });
  });
}

/** A server that refuses a PING has responded. */
function refused(error: unknown): void {
  if (!isReply(error)) throw error;
}
