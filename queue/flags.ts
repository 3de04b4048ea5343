/**
 * The flags, and their environment variables, for the addresses of Redis and the queue. Secrets may be in a file that a variable
 * names (`MILLRACE_REDIS_PASSWORD_FILE`), as Kubernetes and Docker mount them; the file takes precedence.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { option, UsageError } from '../runtime/program.ts';
import type { RedisAddress, RedisTls } from './connection/connection.ts';

export interface QueueFlags {
  readonly redis: string;
  readonly redisUrlFile?: string;
  readonly sentinel?: string;
  readonly sentinelName: string;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
  readonly sentinelPasswordFile?: string;
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

/** A flag whose value may be in a file: it has a second flag and a second variable, which the first one's description names. */
function withFile(command: Command, flags: string, description: string, variable: string): Command {
  const file = `${flags.replace(/ .*/, '')}-file <path>`;
  return command
    .addOption(option(flags, `${description}; ${variable}_FILE reads it from a file`, variable))
    .addOption(option(file, `holds the value of ${flags}`, `${variable}_FILE`).hideHelp());
}

export function addQueueFlags(command: Command): Command {
  command
    .addOption(
      option(
        '--redis <url>',
        'redis://[user[:password]@]host[:port][/db], rediss:// for TLS; MILLRACE_REDIS_URL_FILE reads it from a file',
        'MILLRACE_REDIS_URL',
      ).default('redis://localhost:6379'),
    )
    .addOption(option('--redis-url-file <path>', 'holds the URL', 'MILLRACE_REDIS_URL_FILE').hideHelp())
    .addOption(
      option(
        '--sentinel <nodes>',
        'addresses of sentinels, host:port,…, instead of --redis',
        'MILLRACE_REDIS_SENTINEL',
      ),
    )
    .addOption(
      option(
        '--sentinel-name <name>',
        'name of the primary that the sentinels monitor',
        'MILLRACE_REDIS_SENTINEL_NAME',
      ).default('mymaster'),
    )
    .addOption(
      option('--sentinel-username <name>', 'user name for the sentinels', 'MILLRACE_REDIS_SENTINEL_USERNAME'),
    );
  const password = 'password for the sentinels (default: none, then the password of Redis)';
  withFile(command, '--sentinel-password <password>', password, 'MILLRACE_REDIS_SENTINEL_PASSWORD');
  command.addOption(
    option(
      '--redis-username <name>',
      'user name for Redis; takes precedence over the URL',
      'MILLRACE_REDIS_USERNAME',
    ),
  );
  const better = 'password for Redis; safer in MILLRACE_REDIS_PASSWORD than on the command line';
  withFile(command, '--redis-password <password>', better, 'MILLRACE_REDIS_PASSWORD');
  command.addOption(
    option('--redis-tls', 'use TLS, as rediss:// does, also for sentinels', 'MILLRACE_REDIS_TLS'),
  );
  withFile(command, '--redis-tls-ca <pem>', "PEM certificate of the server's CA", 'MILLRACE_REDIS_TLS_CA');
  withFile(command, '--redis-tls-cert <pem>', 'PEM certificate of the client', 'MILLRACE_REDIS_TLS_CERT');
  withFile(command, '--redis-tls-key <pem>', 'PEM private key of the client', 'MILLRACE_REDIS_TLS_KEY');
  return command
    .addOption(
      option(
        '--redis-tls-server-name <name>',
        "expected name in the server's certificate",
        'MILLRACE_REDIS_TLS_SERVER_NAME',
      ),
    )
    .addOption(
      option('--redis-tls-insecure', "do not verify the server's certificate", 'MILLRACE_REDIS_TLS_INSECURE'),
    )
    .addOption(
      option('--queue <key>', 'key of the Redis list that holds the tasks', 'MILLRACE_QUEUE').default(
        'task_queue',
      ),
    )
    .addOption(
      option('--result <key>', 'key of the Redis hash that receives the results', 'MILLRACE_RESULT').default(
        'result',
      ),
    );
}

/** The address that the flags name. Throws `UsageError` for a file that cannot be read or holds nothing. */
export function addressOf(flags: QueueFlags): RedisAddress {
  const tls: RedisTls = {
    ca: read('MILLRACE_REDIS_TLS_CA', flags.redisTlsCaFile) ?? flags.redisTlsCa,
    cert: read('MILLRACE_REDIS_TLS_CERT', flags.redisTlsCertFile) ?? flags.redisTlsCert,
    key: read('MILLRACE_REDIS_TLS_KEY', flags.redisTlsKeyFile) ?? flags.redisTlsKey,
    serverName: flags.redisTlsServerName,
    insecureSkipVerify: flags.redisTlsInsecure,
  };
  return {
    ...(flags.sentinel
      ? { sentinel: sentinelOf(flags, flags.sentinel) }
      : { url: read('MILLRACE_REDIS_URL', flags.redisUrlFile) ?? flags.redis }),
    username: flags.redisUsername,
    password: read('MILLRACE_REDIS_PASSWORD', flags.redisPasswordFile) ?? flags.redisPassword,
    tls: flags.redisTls || Object.values(tls).some(Boolean) ? tls : undefined,
  };
}

function sentinelOf(flags: QueueFlags, nodes: string): NonNullable<RedisAddress['sentinel']> {
  return {
    name: flags.sentinelName,
    nodes: nodes.split(',').map((node) => node.trim()),
    username: flags.sentinelUsername,
    password: read('MILLRACE_REDIS_SENTINEL_PASSWORD', flags.sentinelPasswordFile) ?? flags.sentinelPassword,
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
