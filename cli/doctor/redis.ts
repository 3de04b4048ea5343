/** Checks of a Redis: version, persistence, memory, clock, permissions, client tracking, and the keys of the queues. */
import type { Redis } from 'ioredis';
import { redisNow, type RedisAddress } from '../../queue/connection/connection.ts';
import { evictionRisk } from '../../queue/connection/eviction.ts';
import { sampleQueue, WrongKeyType } from '../../queue/pool/sample.ts';
import { openKeyWatch, TrackingRefused } from '../../queue/watch.ts';
import { locationOf, type RedisOf } from '../../queue/location.ts';
import type { Place } from '../access/place.ts';
import { queuesOf } from '../../kube/workerpool.ts';
import { checkOtherLists, checkPartitions } from './partitions.ts';
import { checkLostTasks } from './lost-tasks.ts';
import { checkMoves } from './moves.ts';
import { checkPriorities } from './priorities.ts';
import { checkPermissions } from './permissions.ts';
import { checkSentinels } from './sentinels.ts';
import { checkSource } from './source.ts';
import { fail, ok, warn, type Finding } from './finding.ts';
import { plural } from '../../runtime/plural.ts';

const OLDEST = [6, 2] as const;
const CLOCK_MS = 1_000;
const NEARLY_FULL = 0.9;

/** Read only. Rejects if the connection is lost meanwhile. */
export async function checkRedis(redis: Redis, place: Place, redisOf: RedisOf): Promise<Finding[]> {
  const info = parseInfo(await redis.info().catch(() => ''));
  const spec = place.pool?.spec;
  return [
    version(info),
    ...kind(info, place.address),
    ...(place.sentinels ? checkSentinels(await place.sentinels()) : []),
    await persistence(redis, info),
    await memory(redis, info),
    await clock(redis),
    ...(spec?.source
      ? []
      : await checkPermissions(locationOf(place.address, place.queues[0]).address, place.queues[0])),
    await tracking(place),
    ...(spec?.source ? await checkSource(redis, spec.source, queuesOf(spec)) : await queues(place, redisOf)),
  ];
}

type Info = ReadonlyMap<string, string>;

function parseInfo(text: string): Info {
  return new Map(
    [...text.matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name = '', value = '']) => [name, value] as const),
  );
}

function version(info: Info): Finding {
  const valkey = info.get('valkey_version');
  const redis = info.get('redis_version');
  if (redis === undefined)
    return warn(
      'version',
      'not reported by the server',
      'allow INFO to this user, or check it yourself: 6.2 or newer is required',
    );
  if (valkey !== undefined) return ok('version', `Valkey ${valkey}`);
  const [major = 0, minor = 0] = redis.split('.').map(Number);
  const old = major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
  return old
    ? fail('version', `Redis ${redis}`, `use Redis ${OLDEST.join('.')} or newer, or Valkey`)
    : ok('version', `Redis ${redis}`);
}

function kind(info: Info, { cluster }: RedisAddress): Finding[] {
  const found: Finding[] = [];
  if (info.get('cluster_enabled') === '1')
    found.push(
      cluster
        ? ok('mode', 'a Redis Cluster; what follows is of the primary that has the queue')
        : fail(
            'mode',
            'it is a node of a Redis Cluster',
            'name it as one: redis.cluster in a pool, or --cluster',
          ),
    );
  if (info.get('role') === 'slave')
    found.push(fail('role', 'it is a read-only replica', 'give the address of the primary, or of sentinels'));
  return found;
}

async function persistence(redis: Redis, info: Info): Promise<Finding> {
  const about = 'persistence';
  const aof = info.get('aof_enabled');
  if (aof === undefined)
    return warn(about, 'not reported by the server', 'allow INFO to this user, or check it yourself');
  if (aof === '1') {
    if (info.get('aof_last_write_status') === 'err')
      return fail(about, 'the append-only file cannot be written', "check Redis's log and its disk");
    const fsync = await setting(redis, 'appendfsync');
    return ok(about, `append-only file${fsync ? `, appendfsync ${fsync}` : ''}`);
  }
  if (info.get('rdb_last_bgsave_status') === 'err')
    return fail(about, 'the last snapshot failed', "check Redis's log and its disk");
  const save = await setting(redis, 'save');
  const todo = 'set appendonly yes if tasks must survive a restart of Redis';
  if (save === undefined)
    return warn(about, 'no append-only file; snapshots unknown (CONFIG GET is refused)', todo);
  if (save === '') return warn(about, 'nothing is persisted: a restart loses queue and results', todo);
  return warn(about, 'snapshots only: a crash loses everything since the last one', todo);
}

/** `undefined` where CONFIG is not allowed, as with most providers. */
async function setting(redis: Redis, name: string): Promise<string | undefined> {
  const answer = await redis.config('GET', name).catch(() => undefined);
  return Array.isArray(answer) ? String(answer[1]) : undefined;
}

async function memory(redis: Redis, info: Info): Promise<Finding> {
  const about = 'memory';
  const risk = await evictionRisk(redis);
  if (risk !== undefined) return fail(about, risk.note, risk.todo);
  const [used, most] = [Number(info.get('used_memory') ?? 0), Number(info.get('maxmemory') ?? 0)];
  if (most > 0 && used > NEARLY_FULL * most)
    return warn(
      about,
      `${Math.round((100 * used) / most)} % of maxmemory (${info.get('maxmemory_human')}) is used: pushes fail at 100 %`,
      'raise maxmemory, or let results expire with results.ttl',
    );
  const limit = most > 0 ? `of ${info.get('maxmemory_human')}` : 'without a limit';
  return ok(about, `${info.get('used_memory_human') ?? 'unknown'} ${limit}, nothing is evicted`);
}

/** Deadlines are by Redis's clock; people read and enter times (`--at`) by their own. */
async function clock(redis: Redis): Promise<Finding> {
  const before = Date.now();
  const theirs = await redisNow(redis);
  const after = Date.now();
  // read at some time between both: only what lies outside of that is a difference
  const off = theirs > after ? theirs - after : Math.max(0, before - theirs);
  if (off < CLOCK_MS) return ok('clock', 'the same as here');
  return warn(
    'clock',
    `${(off / 1_000).toFixed(1)} s ${theirs > after ? 'ahead of' : 'behind'} the local clock`,
    'synchronize both (NTP): delayed tasks are due by the clock of Redis',
  );
}

async function tracking({ address, queues: [first] }: Place): Promise<Finding> {
  const about = 'client tracking';
  try {
    await using _watch = await openKeyWatch(locationOf(address, first).address, () => undefined);
    return ok(about, 'allowed: an empty pool wakes with the first push');
  } catch (error) {
    if (!(error instanceof TrackingRefused)) throw error;
    return warn(
      about,
      `refused (${error.message}): idle queues are read by blocking commands, or polled`,
      'allow CLIENT TRACKING and the channel __redis__:invalidate to this user',
    );
  }
}

async function queues(place: Place, redisOf: RedisOf): Promise<Finding[]> {
  const others = [
    ...(place.queues.length === 1 || place.partitioned ? await checkOtherLists(place, redisOf) : []),
    ...(await checkLostTasks(place.queues, redisOf)),
    ...(await checkMoves(place.queues, redisOf)),
  ];
  if (place.partitioned) return [...(await checkPartitions(place, redisOf)), ...others];
  const looked = place.queues.map(async (keys): Promise<Finding> => {
    try {
      const { waiting, inFlight, delayed, dead, workers } = await sampleQueue(redisOf(keys), keys);
      return ok(
        `queue ${keys.queue}`,
        `${waiting} waiting, ${inFlight} in flight, ${delayed} delayed, ${dead} dead, ${plural(workers, 'worker')}`,
      );
    } catch (error) {
      const { note, todo } =
        error instanceof WrongKeyType ? error : { note: (error as Error).message, todo: '' };
      return fail(`queue ${keys.queue}`, note, todo);
    }
  });
  return [...(await Promise.all(looked)), ...(await checkPriorities(place, redisOf)), ...others];
}
