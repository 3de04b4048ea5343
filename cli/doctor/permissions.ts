/**
 * Whether this user may call what Millrace calls. Each command is queued in a transaction that is then discarded: Redis
 * checks the ACL when a command is queued, with its keys, and nothing is ever run. A user without MULTI has a script ask, which
 * Redis 7 and Valkey know how to; `ACL DRYRUN` is for administrators.
 *
 * The transaction ends with its connection, and a command that is sent again on another one would be run. So this has a connection of
 * its own, which is never replaced, and sends nothing again.
 */
import type { Redis } from 'ioredis';
import { closeRedis, openRedis, within, type RedisAddress } from '../../queue/connection/connection.ts';
import { isReply, replyCode } from '../../queue/connection/reply-code.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { fail, ok, warn, type Finding } from './finding.ts';

type Call = readonly [command: string, ...args: string[]];

/** One call for each command of the user in docs/security.md, on each kind of key. */
function needed(keys: QueueKeys): Call[] {
  const own = keys.stats;
  const wake = keys.wake('doctor');
  return [
    ['EVAL', 'return 1', '2', keys.queue, own],
    ['EVALSHA', 'ffffffffffffffffffffffffffffffffffffffff', '2', keys.queue, own],
    ['LPUSH', keys.queue, 'x'],
    ['RPUSH', keys.queue, 'x'],
    ['RPOP', keys.queue],
    ['LLEN', keys.queue],
    ['LRANGE', keys.dead, '0', '0'],
    ['LINDEX', keys.dead, '0'],
    ['LREM', keys.dead, '1', 'x'],
    ['LSET', keys.dead, '0', 'x'],
    ['LTRIM', keys.dead, '0', '0'],
    ['BLMOVE', keys.queue, wake, 'RIGHT', 'LEFT', '1'],
    ['HSET', keys.result, 'x', 'x'],
    ['HGET', keys.result, 'x'],
    ['HMGET', keys.result, 'x'],
    ['HDEL', keys.errors, 'x'],
    ['HEXISTS', keys.errors, 'x'],
    ['HINCRBY', own, 'x', '1'],
    ['HKEYS', keys.load],
    ['HLEN', keys.load],
    ['HSCAN', keys.load, '0'],
    ['HVALS', keys.load],
    ['SADD', keys.cancelled, 'x'],
    ['SCARD', keys.cancelled],
    ['SMEMBERS', keys.cancelled],
    ['SMISMEMBER', keys.cancelled, 'x'],
    ['SRANDMEMBER', keys.cancelled],
    ['SREM', keys.cancelled, 'x'],
    ['XADD', keys.progress('doctor'), '*', 'x', 'x'],
    ['XREVRANGE', keys.progress('doctor'), '+', '-'],
    ['XTRIM', keys.progress('doctor'), 'MAXLEN', '0'],
    ['ZADD', keys.delayed, '1', 'x'],
    ['ZCARD', keys.delayed],
    ['ZCOUNT', keys.delayed, '0', '0'],
    ['ZMSCORE', keys.delayed, 'x'],
    ['ZREM', keys.delayed, 'x'],
    ['ZREMRANGEBYRANK', keys.delayed, '0', '0'],
    ['ZREMRANGEBYSCORE', keys.delayed, '0', '0'],
    ['ZSCORE', keys.delayed, 'x'],
    ['ZRANGE', keys.workers, '0', '0'],
    ['ZRANGEBYSCORE', keys.workers, '0', '0'],
    ['SET', keys.paused, 'x'],
    ['GET', keys.paused],
    ['GETRANGE', keys.paused, '0', '0'],
    ['DEL', keys.paused],
    ['UNLINK', keys.paused],
    ['EXISTS', keys.paused],
    ['EXPIRE', keys.leaving, '1'],
    ['PEXPIREAT', keys.leaving, '1'],
    ['TYPE', keys.queue],
    ['TIME'],
    ['PING'],
  ];
}

/** What is done without where it is refused, and what that costs. */
const useful: readonly [call: Call, without: string][] = [
  [['CLIENT', 'LIST'], 'the tasks of a dead pod return only when its lease expires'],
  [['CLIENT', 'UNBLOCK', '0'], 'idle workers drain a second later'],
  [['INFO'], 'nothing is known of memory, eviction and persistence'],
];

const TIMEOUT_MS = 60_000;

/** Changes nothing. Rejects if the connection is lost meanwhile. */
export async function checkPermissions(address: RedisAddress, keys: QueueKeys): Promise<Finding[]> {
  const redis = openRedis(address, {
    retryStrategy: () => null,
    reconnectOnError: () => false,
    autoResendUnfulfilledCommands: false,
  });
  try {
    return await within(TIMEOUT_MS, check(redis, keys), 'the check of permissions');
  } finally {
    await closeRedis(redis);
  }
}

async function check(redis: Redis, keys: QueueKeys): Promise<Finding[]> {
  const about = 'permissions';
  const calls = needed(keys);
  const refused = await refusals(redis, [...calls, ...useful.map(([call]) => call)]);
  if (refused === undefined)
    return [
      warn(
        about,
        'not checked: neither MULTI nor scripts are allowed',
        'allow MULTI and DISCARD to this user',
      ),
    ];
  const user = await redis.call('ACL', 'WHOAMI').then(
    (name) => `user ${String(name)}`,
    () => 'this user',
  );
  const missing = calls.filter((call) => refused.has(call));
  const found: Finding[] = [];
  if (missing.length > 0) {
    const names = [...new Set(missing.map(([command]) => command))].join(', ');
    const reason = refused.get(missing[0] as Call) ?? '';
    const todo = `allow ${user} these commands, on the keys ${keys.queue}, ${keys.result} and millrace:*`;
    found.push(fail(about, `${names} refused (${reason})`, todo));
  }
  for (const [call, without] of useful) {
    const name = call.filter((word) => /^[A-Z]+$/.test(word)).join(' ');
    if (refused.has(call)) found.push(warn(about, `${name} refused: ${without}`, `allow ${user} ${name}`));
  }
  return found.length > 0 ? found : [ok(about, `${user} has all that Millrace needs`)];
}

/** The calls that the ACL refuses, with the reason; `undefined` if that cannot be determined. */
async function refusals(redis: Redis, calls: readonly Call[]): Promise<Map<Call, string> | undefined> {
  // on one connection commands are answered in their order
  const begun = redis.call('MULTI').then(
    () => true,
    (error: unknown) => {
      if (!isReply(error)) throw error;
      return false;
    },
  );
  if (!(await begun)) return await refusalsByScript(redis, calls);
  const refused = new Map<Call, string>();
  for (const call of calls) {
    const [command, ...args] = call;
    await redis.call(command, ...args).catch((error: unknown) => {
      if (!isReply(error)) throw error;
      // whatever else a server refuses, it does not say of the user
      if (replyCode(error) === 'NOPERM') refused.set(call, error.message);
    });
  }
  await redis.call('DISCARD').catch(() => undefined);
  return refused;
}

const ASK = 'return redis.acl_check_cmd(unpack(ARGV)) and 1 or 0';

async function refusalsByScript(
  redis: Redis,
  calls: readonly Call[],
): Promise<Map<Call, string> | undefined> {
  const refused = new Map<Call, string>();
  try {
    const answers = await Promise.all(calls.map((call) => redis.call('EVAL', ASK, '0', ...call)));
    for (const [i, call] of calls.entries()) if (answers[i] === 0) refused.set(call, 'NOPERM');
    return refused;
  } catch (error) {
    if (!isReply(error)) throw error;
    return undefined;
  }
}
