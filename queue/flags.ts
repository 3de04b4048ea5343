/**
 * The options, and their environment variables, that name a queue and its Redis, as data: the programs add them to their
 * commands. Secrets may be in a file that a variable names (`MILLRACE_REDIS_PASSWORD_FILE`), as Kubernetes and Docker mount
 * them; the file takes precedence.
 */
import { readFileSync } from 'node:fs';
import type { OptionDefinition } from '../runtime/option-definition.ts';
import { UsageError } from '../runtime/usage-error.ts';
import { renewedUser, type CredentialFiles, type RedisCredentials } from './connection/address.ts';
import type { RedisAddress, RedisTls } from './connection/connection.ts';
import { credentialsFrom } from './connection/credential-files.ts';

export interface QueueFlags {
  readonly redis: string;
  readonly redisUrlFile?: string;
  readonly sentinel?: string;
  readonly sentinelName: string;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
  readonly sentinelPasswordFile?: string;
  readonly cluster?: string;
  readonly redisUsername?: string;
  readonly redisPassword?: string;
  readonly redisPasswordFile?: string;
  readonly redisTls?: boolean;
  readonly redisTlsCa?: string;
  readonly redisTlsCaFile?: string;
  readonly redisTlsCert?: string;
  readonly redisTlsCertFile?: string;
  readonly redisTlsKey?: string;
  readonly redisTlsKeyFile?: string;
  readonly redisTlsServerName?: string;
  readonly redisTlsInsecure?: boolean;
  readonly queue: string;
  readonly result: string;
}

/** An option whose value may be in a file: it has a second flag and a second variable, which the first one's description names. */
function withFile(flags: string, description: string, variable: string): OptionDefinition[] {
  const file = `${flags.replace(/ .*/, '')}-file <path>`;
  return [
    { flags, description: `${description}; ${variable}_FILE reads it from a file`, variable },
    { flags: file, description: `holds the value of ${flags}`, variable: `${variable}_FILE`, hidden: true },
  ];
}

/** The options that name a queue and its Redis. */
export const QUEUE_OPTIONS: readonly OptionDefinition[] = [
  {
    flags: '--redis <url>',
    description:
      'redis://[user[:password]@]host[:port][/db], rediss:// for TLS; MILLRACE_REDIS_URL_FILE reads it from a file',
    variable: 'MILLRACE_REDIS_URL',
    byDefault: 'redis://localhost:6379',
  },
  {
    flags: '--redis-url-file <path>',
    description: 'holds the URL',
    variable: 'MILLRACE_REDIS_URL_FILE',
    hidden: true,
  },
  {
    flags: '--sentinel <nodes>',
    description: 'addresses of sentinels, host:port,…, instead of --redis',
    variable: 'MILLRACE_REDIS_SENTINEL',
  },
  {
    flags: '--sentinel-name <name>',
    description: 'name of the primary that the sentinels monitor',
    variable: 'MILLRACE_REDIS_SENTINEL_NAME',
    byDefault: 'mymaster',
  },
  {
    flags: '--sentinel-username <name>',
    description: 'user name for the sentinels',
    variable: 'MILLRACE_REDIS_SENTINEL_USERNAME',
  },
  ...withFile(
    '--sentinel-password <password>',
    'password for the sentinels (default: none, then the password of Redis)',
    'MILLRACE_REDIS_SENTINEL_PASSWORD',
  ),
  {
    flags: '--cluster <nodes>',
    description: 'addresses of nodes of a Redis Cluster, host:port,…, instead of --redis',
    variable: 'MILLRACE_REDIS_CLUSTER',
  },
  {
    flags: '--redis-username <name>',
    description: 'user name for Redis; takes precedence over the URL',
    variable: 'MILLRACE_REDIS_USERNAME',
  },
  ...withFile(
    '--redis-password <password>',
    'password for Redis; safer in MILLRACE_REDIS_PASSWORD than on the command line',
    'MILLRACE_REDIS_PASSWORD',
  ),
  {
    flags: '--redis-tls',
    description: 'use TLS, as rediss:// does, also for sentinels and the nodes of a cluster',
    variable: 'MILLRACE_REDIS_TLS',
  },
  ...withFile('--redis-tls-ca <pem>', "PEM certificate of the server's CA", 'MILLRACE_REDIS_TLS_CA'),
  ...withFile('--redis-tls-cert <pem>', 'PEM certificate of the client', 'MILLRACE_REDIS_TLS_CERT'),
  ...withFile('--redis-tls-key <pem>', 'PEM private key of the client', 'MILLRACE_REDIS_TLS_KEY'),
  {
    flags: '--redis-tls-server-name <name>',
    description: "expected name in the server's certificate",
    variable: 'MILLRACE_REDIS_TLS_SERVER_NAME',
  },
  {
    flags: '--redis-tls-insecure',
    description: "do not verify the server's certificate",
    variable: 'MILLRACE_REDIS_TLS_INSECURE',
  },
  {
    flags: '--queue <key>',
    description: 'key of the Redis list that holds the tasks',
    variable: 'MILLRACE_QUEUE',
    byDefault: 'task_queue',
  },
  {
    flags: '--result <key>',
    description: 'key of the Redis hash that receives the results',
    variable: 'MILLRACE_RESULT',
    byDefault: 'result',
  },
];

/**
 * The address that the flags name; what is in files is read again while connections exist. Throws `UsageError` for contradictory
 * flags, and for a file that cannot be read or holds nothing.
 */
export function redisAddress(flags: QueueFlags): RedisAddress {
  if (flags.sentinel && flags.cluster)
    throw new UsageError('both sentinels and the nodes of a cluster are given: choose one');
  const { password, tls: pems = {}, ...others } = credentialsIn(flags);
  const { redisTlsServerName: serverName, redisTlsInsecure: insecureSkipVerify } = flags;
  const tls: RedisTls = { ...pems, serverName, insecureSkipVerify };
  const server = serverOf(flags, others.sentinelPassword);
  const files = filesOf(flags);
  const renewed = files && { ...credentialsFrom(() => renewedIn(flags, server.url)), files };
  return {
    ...server,
    username: flags.redisUsername,
    password,
    tls: flags.redisTls || Object.values(tls).some(Boolean) ? tls : undefined,
    ...(renewed ? { credentials: renewed } : {}),
  };
}

function filesOf(flags: QueueFlags): CredentialFiles | undefined {
  const files = {
    url: flags.redisUrlFile,
    password: flags.redisPasswordFile,
    sentinelPassword: flags.sentinelPasswordFile,
    ca: flags.redisTlsCaFile,
    cert: flags.redisTlsCertFile,
    key: flags.redisTlsKeyFile,
  };
  return Object.values(files).some((file) => file !== undefined) ? files : undefined;
}

/** The values of the flags, or of their files. */
function credentialsIn(flags: QueueFlags): RedisCredentials {
  return {
    username: flags.redisUsername,
    password: read('MILLRACE_REDIS_PASSWORD', flags.redisPasswordFile) ?? flags.redisPassword,
    sentinelPassword:
      read('MILLRACE_REDIS_SENTINEL_PASSWORD', flags.sentinelPasswordFile) ?? flags.sentinelPassword,
    tls: {
      ca: read('MILLRACE_REDIS_TLS_CA', flags.redisTlsCaFile) ?? flags.redisTlsCa,
      cert: read('MILLRACE_REDIS_TLS_CERT', flags.redisTlsCertFile) ?? flags.redisTlsCert,
      key: read('MILLRACE_REDIS_TLS_KEY', flags.redisTlsKeyFile) ?? flags.redisTlsKey,
    },
  };
}

/** The same with user and password of a URL in a file. Throws where it names another server than `url`, the one at the start. */
function renewedIn(flags: QueueFlags, url: string | undefined): RedisCredentials {
  const found = credentialsIn(flags);
  const text = read('MILLRACE_REDIS_URL', flags.redisUrlFile);
  if (text === undefined || url === undefined) return found;
  const { username, password } = renewedUser(text, url);
  return { ...found, username: found.username ?? username, password: found.password ?? password };
}

function serverOf(
  flags: QueueFlags,
  sentinelPassword: string | undefined,
): Pick<RedisAddress, 'url' | 'sentinel' | 'cluster'> {
  const { sentinel, cluster } = flags;
  if (sentinel) return { sentinel: sentinelOf(flags, sentinel, sentinelPassword) };
  if (cluster) return { cluster: { nodes: nodesIn(cluster) } };
  return { url: read('MILLRACE_REDIS_URL', flags.redisUrlFile) ?? flags.redis };
}

function nodesIn(text: string): string[] {
  return text.split(',').map((node) => node.trim());
}

function sentinelOf(
  flags: QueueFlags,
  nodes: string,
  password: string | undefined,
): NonNullable<RedisAddress['sentinel']> {
  return {
    name: flags.sentinelName,
    nodes: nodesIn(nodes),
    username: flags.sentinelUsername,
    password,
  };
}

/** The text of a file, trimmed. */
function read(variable: string, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`the file of ${variable}_FILE cannot be read (${code}): ${path}`, { cause: error });
  }
  if (text === '') throw new UsageError(`the file of ${variable}_FILE is empty: ${path}`);
  return text;
}
