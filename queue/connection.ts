/**
 * Connections to Redis: from an address as users write it to an ioredis client that reconnects for ever, and from
 * ioredis's errors to one sentence that says what is wrong with which server. A password never appears in either.
 */
import { Redis, type RedisOptions } from 'ioredis';
import { timeout, type Timer } from '../runtime/timers.ts';

export interface RedisAddress {
  /** `redis://[user[:password]@]host[:port][/db]`; `rediss://` for TLS. Not used with `sentinel`. */
  readonly url?: string | undefined;
  readonly sentinel?: { readonly name: string; readonly nodes: readonly string[] } | undefined;
  /** Win over those in the URL. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly tls?: RedisTls | undefined;
}

export interface RedisTls {
  /** PEM texts. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly serverName?: string | undefined;
  readonly insecureSkipVerify?: boolean | undefined;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** A server that reads its data first guesses how long that will take; ask it again at least this often, ms. */
const LOADING_RETRY_MS = 500;

/** The ioredis options of an address. Throws `RangeError` in one line when the address cannot be one. */
export function redisOptions(address: RedisAddress): RedisOptions {
  const base: RedisOptions = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    maxRetriesPerRequest: null,
    maxLoadingRetryTime: LOADING_RETRY_MS,
    // after a failover the old primary answers as a replica: look for the new one and send the command again
    // (Redis 6 tells it of a script at the end of a longer message)
    reconnectOnError: (error) => (/^READONLY|-READONLY /.test(error.message) ? 2 : false),
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 6), 2_000),
    ...(address.username ? { username: address.username } : {}),
    ...(address.password ? { password: address.password } : {}),
  };
  const tls = address.tls && {
    ...(address.tls.ca ? { ca: address.tls.ca } : {}),
    ...(address.tls.cert ? { cert: address.tls.cert } : {}),
    ...(address.tls.key ? { key: address.tls.key } : {}),
    ...(address.tls.serverName ? { servername: address.tls.serverName } : {}),
    ...(address.tls.insecureSkipVerify ? { rejectUnauthorized: false } : {}),
  };
  if (address.sentinel) {
    const sentinels = address.sentinel.nodes.map(sentinelNode);
    return { ...base, sentinels, name: address.sentinel.name, ...(tls ? { tls, sentinelTLS: tls } : {}) };
  }
  if (!address.url) throw new RangeError('no Redis address: give a URL like redis://localhost:6379/0');
  const { secure, ...server } = parseUrl(address.url);
  return { ...server, ...base, ...(tls || secure ? { tls: tls ?? {} } : {}) };
}

function parseUrl(text: string): RedisOptions & { secure: boolean } {
  let url: URL;
  let user: string;
  let password: string;
  try {
    url = new URL(text);
    user = decodeURIComponent(url.username);
    password = decodeURIComponent(url.password);
  } catch {
    throw new RangeError(`the Redis URL cannot be read: write it like redis://user:password@host:6379/0`);
  }
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:')
    throw new RangeError(`the Redis URL begins with "${url.protocol}//": use redis://, or rediss:// for TLS`);
  const db = url.pathname.replace(/^\//, '') || '0';
  if (!/^\d+$/.test(db))
    throw new RangeError(`the Redis URL names the database "${db}": it must be a number, as in /0`);
  return {
    secure: url.protocol === 'rediss:',
    host: url.hostname.replace(/^\[|\]$/g, '') || 'localhost',
    port: url.port === '' ? 6379 : Number(url.port),
    db: Number(db),
    ...(user ? { username: user } : {}),
    ...(password ? { password } : {}),
  };
}

function sentinelNode(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  if (!match) throw new RangeError(`"${text}" is not a sentinel's address: write host:26379`);
  return { host: match[1] ?? match[2] ?? '', port: Number(match[3] ?? 26379) };
}

/** The server of an address as people write it, without user or password. */
export function addressName(address: RedisAddress): string {
  if (address.sentinel) return `sentinel "${address.sentinel.name}" at ${address.sentinel.nodes.join(', ')}`;
  try {
    const { host, port, db } = parseUrl(address.url ?? '');
    return `${host}:${port}${db ? `/${db}` : ''}`;
  } catch {
    return 'an address that cannot be read';
  }
}

/**
 * Opens a client that reconnects until it is closed. Errors go to `onError` (once per failed attempt) instead of
 * ending the process; commands wait for the connection unless the caller bounds them with `within`.
 */
export function openRedis(
  address: RedisAddress,
  options: RedisOptions & { onError?: (error: Error) => void } = {},
): Redis {
  const { onError, ...overrides } = options;
  const redis = new Redis({ ...redisOptions(address), ...overrides, replyMapping: 'legacy' });
  redis.on('error', (error: Error) => onError?.(error));
  return redis;
}

/** Closes a client for good: says goodbye where the server still listens, and never waits for one that does not. */
export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'ready') await within(500, redis.quit(), 'QUIT').catch(() => undefined);
  dropRedis(redis);
}

/** Closes a client at once, without a goodbye: what it had asked for is rejected. */
export function dropRedis(redis: Redis): void {
  // a TLS handshake that is broken off may fail twice; ioredis listens once, and Node ends the process for the second
  (redis as { stream?: Redis['stream'] }).stream?.on('error', () => undefined);
  const between = redis.status === 'reconnecting';
  redis.disconnect();
  if (!between) return;
  // between two attempts there is no connection whose end would end the client and reject what waits
  const inner = redis as unknown as RedisInside;
  inner.setStatus('end');
  inner.flushQueue(new Error('Connection is closed.'));
}

/** What ioredis keeps to itself. */
interface RedisInside {
  setStatus(status: 'end'): void;
  flushQueue(error: Error): void;
}

/** The server's clock, ms. Deadlines are by this one, whatever the clocks of workers and clients say. */
export async function redisNow(redis: Redis): Promise<number> {
  const [seconds = 0, micros = 0] = (await redis.time()).map(Number);
  return seconds * 1_000 + Math.floor(micros / 1_000);
}

export class RedisTimeout extends Error {
  override name = 'RedisTimeout';
}

/** The promise's value, or `RedisTimeout` after `ms`: a command to a server that is away would wait for ever. */
export async function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = timeout(ms, () => reject(new RedisTimeout(`${what} got no answer within ${ms} ms`)));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer?.clear();
  }
}

/** One sentence for a person: what is wrong with the server at `address`, and what to look at. */
export function describeRedisError(error: unknown, address: RedisAddress): string {
  const server = `Redis at ${addressName(address)}`;
  const { code, message } =
    error instanceof Error ? (error as NodeJS.ErrnoException) : { code: '', message: String(error) };
  const text = message.split('\n')[0] ?? '';
  const tls = address.tls !== undefined || address.url?.startsWith('rediss:');
  if (error instanceof RangeError) return text;
  if (code === 'ECONNREFUSED') return `${server} refuses connections: is it running, and is the port right?`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return `${server} cannot be found: the host name does not resolve`;
  if (code === 'ETIMEDOUT' || /connect ETIMEDOUT/.test(text))
    return `${server} does not answer: check address and network policies${tls ? ', and whether it speaks TLS' : ''}`;
  if (
    code === 'ECONNRESET' ||
    code === 'EPIPE' ||
    /^(Connection is closed|Stream isn't writeable)/.test(text)
  )
    return `${server} closes the connection: is it running, and does it want ${tls ? 'a client certificate' : 'TLS (rediss://)'}?`;
  if (/^(WRONGPASS|NOAUTH)|invalid password|without any password/i.test(text))
    return `${server} refuses the user name or password: check passwordFrom and username`;
  if (text.startsWith('NOPERM')) return `${server} denies a command to this user: ${text}`;
  if (code?.startsWith('ERR_SSL') || code?.startsWith('ERR_TLS') || /certificate|SSL|TLS/i.test(text))
    return `${server} and the client do not agree on TLS (${text || code}): check redis:// or rediss://, and tls`;
  if (error instanceof RedisTimeout) return `${server} did not answer in time: ${text}`;
  return `${server}: ${text || 'the connection failed'}`;
}
