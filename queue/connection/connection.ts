/**
 * `queue/connection/` takes an address and returns a connection that reconnects for ever, and the meaning of its errors. It
 * knows nothing of queues, keys or scripts.
 *
 * Connections to Redis: turns an address into an ioredis client that reconnects forever and never works in a database
 * other than the one that the address names. A password never appears in an error.
 */
import { Redis, type RedisOptions } from 'ioredis';
import { replyCode } from './reply-code.ts';
import { parseUrl, tlsOptions, type RedisAddress } from './address.ts';
import { refuseConnection, resendLost } from './close.ts';
import { isMoved, locateInCluster } from './cluster/locator.ts';
import { connectorTo } from './connector.ts';
import { currentAddress, renewCredentials } from './credentials.ts';
import { watchReadyCheck } from './ready-check.ts';
import { DatabaseRefused } from './redis-errors.ts';
import { locateBySentinel } from './sentinel.ts';

export { addressName, type RedisAddress, type RedisTls } from './address.ts';
export { closeRedis, dropRedis } from './close.ts';
export { describeRedisError } from './redis-errors.ts';
export { RedisTimeout, within } from './within.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** A connection with an outstanding reply, the handshake included, that receives nothing for this long is dead, ms. */
const SOCKET_TIMEOUT_MS = 10_000;
/** A server that is loading its data estimates how long that will take; retry at least this often, ms. */
const LOADING_RETRY_MS = 500;

/** A value of ioredis's option `reconnectOnError`: replace the connection, then send the command again. */
export const RESEND = 2;
/** Another one: replace the connection, and reject the command. */
const RECONNECT = 1;

/** The ioredis options of an address. Throws `RangeError` in one line when the address cannot be one. */
export function redisOptions(address: RedisAddress): RedisOptions {
  const { username: ownName, password: ownPassword } = currentAddress(address);
  const tlsNow = (): ReturnType<typeof tlsOptions> => tlsOptions(currentAddress(address));
  const base: RedisOptions = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
    maxRetriesPerRequest: null,
    maxLoadingRetryTime: LOADING_RETRY_MS,
    // the library's name is of no use, and setting it requires one more permission
    disableClientInfo: true,
    // after a failover the old primary answers as a replica: find the new one and resend the command
    reconnectOnError: (error) => (replyCode(error) === 'READONLY' ? RESEND : false),
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 6), 2_000),
    ...(ownName ? { username: ownName } : {}),
    ...(ownPassword ? { password: ownPassword } : {}),
  };
  const tls = tlsNow();
  if (address.sentinel) {
    const locator = (): ReturnType<typeof locateBySentinel> => locateBySentinel(address);
    locator();
    return { ...base, ...(tls ? { tls } : {}), Connector: connectorTo(locator, tlsNow, true, address) };
  }
  if (address.cluster) {
    const locator = locateInCluster(address);
    return {
      ...base,
      reconnectOnError: (error) => {
        if (!isMoved(error)) return false;
        locator.moved(error);
        return RESEND;
      },
      ...(tls ? { tls } : {}),
      Connector: connectorTo(() => locator, tlsNow, true, address),
    };
  }
  if (!address.url) throw new RangeError('no Redis address: give a URL like redis://localhost:6379/0');
  const { secure, host, port, db, username, password } = parseUrl(address.url);
  const encrypted = tls ?? (secure ? {} : undefined);
  const fixed = { locate: () => Promise.resolve({ host, port }), wrong: () => undefined };
  return {
    host,
    port,
    db,
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...base,
    ...(encrypted ? { tls: encrypted } : {}),
    Connector: connectorTo(
      () => fixed,
      () => tlsNow() ?? encrypted,
      false,
      address,
    ),
  };
}

/**
 * Opens a client that reconnects until it is closed. Errors go to `onError` (once per failed attempt, or connection to a server that
 * is still loading its data) instead of ending the process; commands wait for the connection unless the caller bounds them with
 * `within`. A connection with an outstanding reply that is silent for 10 s (`socketTimeout`; longer for commands that block longer) is replaced. If the server
 * refuses the address's database, it is not connected: pending commands are rejected with `DatabaseRefused`, as with a wrong
 * password. With `autoResendUnfulfilledCommands: false`, no command is ever sent twice. Each connection is opened with the current
 * credentials of the address (credentials.ts).
 */
export function openRedis(
  address: RedisAddress,
  options: RedisOptions & { onError?: (error: Error) => void } = {},
): Redis {
  const { onError, ...overrides } = options;
  const redis = new Redis({
    ...withoutResending({ ...redisOptions(address), ...overrides }),
    replyMapping: 'legacy',
  });
  resendLost(redis);
  watchReadyCheck(redis, (error) => onError?.(error));
  renewCredentials(redis, address, redis.options.tls !== undefined);
  redis.on('error', (error: Error & { command?: { name: string; args: unknown[] } }) => {
    const { command } = error;
    // those of AUTH and HELLO are passwords, and printing the error would print them
    if (command) command.args = [];
    if (command?.name !== 'select') return onError?.(error);
    const refused = databaseRefused(error, redis.options.db ?? 0);
    // ioredis would continue in database 0, which may belong to another application
    refuseConnection(redis, refused);
    onError?.(refused);
  });
  return redis;
}

/**
 * What is not resent when a connection is cut must not be resent when a server that is no primary any more refuses it, either: a blocking
 * move would take a task from the new primary long after the worker has stopped waiting for it.
 */
function withoutResending(options: RedisOptions): RedisOptions {
  const { autoResendUnfulfilledCommands: resends = true, reconnectOnError } = options;
  if (resends || !reconnectOnError) return options;
  return { ...options, reconnectOnError: (error) => (reconnectOnError(error) ? RECONNECT : false) };
}

function databaseRefused(cause: Error, db: number): DatabaseRefused {
  const why =
    replyCode(cause) === 'NOPERM'
      ? `does not let this user into database ${db}: give it +select, or leave the database out of the URL`
      : inClusterMode(cause)
        ? `has no database ${db}: it is a node of a Redis Cluster, which must be named as one: as cluster.nodes, or by --cluster`
        : `has no database ${db}: it has fewer of them, or is a node of a Valkey Cluster, which must be named as one: as cluster.nodes, or by --cluster`;
  return new DatabaseRefused(why, { cause });
}

/**
 * Matches the text, as there is no code for it (seen in Redis 7.0.15): `ERR SELECT is not allowed in cluster mode`. A node of
 * Valkey 9.1.2 says no more than that there is no such database.
 */
function inClusterMode({ message }: Error): boolean {
  return /cluster mode/.test(message);
}

/**
 * The connection that a client has, or had last: another one when it has been replaced, and then the server behind it may be another, or may
 * have gone back in time. `undefined` before the first one is open.
 */
export function connectionOf(redis: Redis): Redis['stream'] | undefined {
  return (redis as { readonly stream?: Redis['stream'] }).stream;
}

/** The server's clock, ms. All deadlines use this one, never the clocks of workers and clients. */
export async function redisNow(redis: Redis): Promise<number> {
  const [seconds = 0, micros = 0] = (await redis.time()).map(Number);
  return seconds * 1_000 + Math.floor(micros / 1_000);
}
