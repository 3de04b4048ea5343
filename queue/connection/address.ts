/**
 * The address of a Redis, as users write it. Parts of a URL may be secret and in the wrong place, so an error never quotes any
 * of it: a password with a `/`, `#` or `?` that is not percent-encoded ends the host part too early, and the rest of it would
 * be taken for a port, a path or a database. Pure.
 */
import type { ConnectionOptions } from 'node:tls';

export interface RedisAddress {
  /** `redis://[user[:password]@]host[:port][/db]`; `rediss://` for TLS. Not used with `sentinel` or `cluster`. */
  readonly url?: string | undefined;
  readonly sentinel?: SentinelAddress | undefined;
  readonly cluster?: ClusterAddress | undefined;
  /** Override those in the URL. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** The connection is encrypted if this is present, even empty. */
  readonly tls?: RedisTls | undefined;
  /** Replaces user, password and certificates while connections exist; without it, they stay as they are here. */
  readonly credentials?: CredentialSource | undefined;
  /** Checks each address before connecting, those of sentinels and those they report included; without one, all are allowed. */
  readonly guard?: HostGuard | undefined;
  /** Without one, every server is connected to directly. */
  readonly route?: HostRoute | undefined;
}

/**
 * Where the server of this host and port is reached, if not there: through a port-forward. Its certificate is still checked for the
 * host. Called for each connection, and for addresses that sentinels and nodes of a cluster report. Rejects with Error if it is not reached.
 */
export type HostRoute = (server: Endpoint) => Promise<Endpoint>;

export interface HostGuard {
  /** Whether to connect to `address`, an IP that `host` resolves to now. `host` is as written, or as reported by a sentinel. */
  allows(host: string, address: string): boolean;
}

export interface SentinelAddress {
  /** Of the primary. */
  readonly name: string;
  /** `host:port` of each; the port defaults to 26379. */
  readonly nodes: readonly string[];
  /** For the sentinels. Without a password here they are queried without one, then with that of Redis. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** A Redis Cluster. Connections go to one of its primaries: see cluster.ts. */
export interface ClusterAddress {
  /** `host:port` of some of its nodes, from which the others are learnt; the port defaults to 6379. */
  readonly nodes: readonly string[];
  /** Connect to the primary that has this key; without it, to any. */
  readonly key?: string | undefined;
}

export interface RedisTls {
  /** PEM texts. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly serverName?: string | undefined;
  readonly insecureSkipVerify?: boolean | undefined;
}

/** What of an address may be replaced. What is `undefined` stays as the address has it. */
export interface RedisCredentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly sentinelPassword?: string | undefined;
  readonly tls?: Pick<RedisTls, 'ca' | 'cert' | 'key'> | undefined;
}

/** Paths of files that hold what may be replaced; of the URL, user and password are. */
export interface CredentialFiles {
  readonly url?: string | undefined;
  readonly password?: string | undefined;
  readonly sentinelPassword?: string | undefined;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

export interface CredentialSource {
  /** The same object until they change. Never throws. */
  current(): RedisCredentials;
  /** Calls back after each change, until the returned function is called. */
  onChange(listener: () => void): () => void;
  /** Where they are read, for threads and processes that read them themselves; missing where they come from elsewhere. */
  readonly files?: CredentialFiles;
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface ParsedUrl extends Endpoint {
  readonly secure: boolean;
  readonly db: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** User and password of a URL that replaces `before`. Throws `RangeError` if it names another server: they are not for this one. */
export function renewedUser(text: string, before: string): Pick<ParsedUrl, 'username' | 'password'> {
  const [found, known] = [parseUrl(text), parseUrl(before)];
  const same = (['host', 'port', 'db', 'secure'] as const).every((name) => found[name] === known[name]);
  if (!same) throw new RangeError('the URL names another server now');
  return { username: found.username, password: found.password };
}

/** The setting `databases` is a signed 32-bit number. */
const MAX_DATABASE = 2 ** 31 - 1;
/** Schemes that users may write by mistake, and that cannot be secret. */
const FOREIGN = new Set([
  'http:',
  'https:',
  'tcp:',
  'tls:',
  'unix:',
  'valkey:',
  'valkeys:',
  'redis+sentinel:',
]);

/** Throws `RangeError` in one line that quotes nothing of the URL. */
export function parseUrl(text: string): ParsedUrl {
  if (/:\/\/.*?[/?#].*@/s.test(text))
    throw new RangeError(
      'the Redis URL has an @ behind its host: percent-encode the special characters of the password ' +
        '(%2F for /, %23 for #, %3F for ?, %40 for @), or give the password apart from the URL',
    );
  let url: URL;
  let username: string;
  let password: string;
  try {
    url = new URL(text);
    username = decodeURIComponent(url.username);
    password = decodeURIComponent(url.password);
  } catch {
    throw new RangeError('the Redis URL cannot be read: write it like redis://user:password@host:6379/0');
  }
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:')
    throw new RangeError(
      FOREIGN.has(url.protocol)
        ? `the Redis URL begins with "${url.protocol}//": use redis://, or rediss:// for TLS`
        : 'the Redis URL does not begin with redis://, or rediss:// for TLS',
    );
  // other clients read settings there, e.g. a database: ignoring it would mean database 0, which may belong to another application
  if (url.search || url.hash)
    throw new RangeError(
      'the Redis URL has something after ? or #, which is not read: write the database as in /3, and give the rest ' +
        'apart from the URL',
    );
  return {
    secure: url.protocol === 'rediss:',
    host: url.hostname.replace(/^\[|\]$/g, '') || 'localhost',
    port: url.port === '' ? 6379 : Number(url.port),
    db: databaseOf(url.pathname),
    username: username || undefined,
    password: password || undefined,
  };
}

function databaseOf(path: string): number {
  const text = path.replace(/^\//, '') || '0';
  if (!/^\d+$/.test(text))
    throw new RangeError('the Redis URL names a database that is not a number: write it as in /0');
  if (Number(text) > MAX_DATABASE)
    throw new RangeError(
      `the Redis URL names a database that no server has: the last one is ${MAX_DATABASE}`,
    );
  return Number(text);
}

/** The addresses of the sentinels. Throws `RangeError`, which quotes none of them either. */
export function sentinelEndpoints({ nodes }: SentinelAddress): Endpoint[] {
  return endpointsOf(nodes, 'sentinel', 26_379);
}

/** The addresses of the nodes that are given. Throws `RangeError`, which quotes none of them either. */
export function clusterEndpoints({ nodes }: ClusterAddress): Endpoint[] {
  return endpointsOf(nodes, 'cluster node', 6_379);
}

function endpointsOf(nodes: readonly string[], what: string, defaultPort: number): Endpoint[] {
  return nodes.map((text, i) => {
    const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:@/?#\s[\]]+))(?::(\d{1,5}))?$/.exec(text);
    const port = Number(match?.[3] ?? defaultPort);
    if (!match || port > 65_535)
      throw new RangeError(`the address of ${what} ${i + 1} cannot be read: write host:${defaultPort}`);
    return { host: match[1] ?? match[2] ?? '', port };
  });
}

/** The server of an address for people, without user or password. */
export function addressName(address: RedisAddress): string {
  try {
    if (address.sentinel) {
      const nodes = sentinelEndpoints(address.sentinel).map(endpointName);
      return `sentinel "${address.sentinel.name}" at ${nodes.join(', ')}`;
    }
    if (address.cluster) return `cluster ${clusterEndpoints(address.cluster).map(endpointName).join(', ')}`;
    const { host, port, db } = parseUrl(address.url ?? '');
    return `${host}:${port}${db ? `/${db}` : ''}`;
  } catch {
    return 'an address that cannot be read';
  }
}

export function endpointName({ host, port }: Endpoint): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether connections to it are encrypted. */
export function isEncrypted({ tls, url, sentinel, cluster }: RedisAddress): boolean {
  return tls !== undefined || (!sentinel && !cluster && /^rediss:/i.test(url ?? ''));
}

/** Node's options for an encrypted connection; `undefined` if the address has no `tls`. */
export function tlsOptions({ tls }: RedisAddress): ConnectionOptions | undefined {
  if (!tls) return undefined;
  const { ca, cert, key, serverName, insecureSkipVerify } = tls;
  return {
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(serverName ? { servername: serverName } : {}),
    ...(insecureSkipVerify ? { rejectUnauthorized: false } : {}),
  };
}
