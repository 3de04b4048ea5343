/** The flags, and the environment variables behind them, that say where Redis and the queue are. */
import type { Command } from 'commander';
import { option } from '../runtime/program.ts';
import type { RedisAddress, RedisTls } from './connection.ts';

export interface QueueFlags {
  readonly redis: string;
  readonly sentinel?: string;
  readonly sentinelName: string;
  readonly redisUsername?: string;
  readonly redisPassword?: string;
  readonly redisTlsCa?: string;
  readonly redisTlsCert?: string;
  readonly redisTlsKey?: string;
  readonly redisTlsServerName?: string;
  readonly redisTlsInsecure?: boolean;
  readonly queue: string;
  readonly result: string;
}

export function addQueueFlags(command: Command): Command {
  return command
    .addOption(
      option(
        '--redis <url>',
        'redis://[user:password@]host[:port][/db]; rediss:// for TLS',
        'MILLRACE_REDIS_URL',
      ).default('redis://localhost:6379'),
    )
    .addOption(
      option('--sentinel <nodes>', 'host:port,… of sentinels, instead of --redis', 'MILLRACE_REDIS_SENTINEL'),
    )
    .addOption(
      option('--sentinel-name <name>', 'the primary that they watch', 'MILLRACE_REDIS_SENTINEL_NAME').default(
        'mymaster',
      ),
    )
    .addOption(option('--redis-username <name>', 'wins over the one in the URL', 'MILLRACE_REDIS_USERNAME'))
    .addOption(
      option(
        '--redis-password <password>',
        'better given as MILLRACE_REDIS_PASSWORD',
        'MILLRACE_REDIS_PASSWORD',
      ),
    )
    .addOption(option('--redis-tls-ca <pem>', "PEM text of the server's authority", 'MILLRACE_REDIS_TLS_CA'))
    .addOption(
      option('--redis-tls-cert <pem>', "PEM text of the client's certificate", 'MILLRACE_REDIS_TLS_CERT'),
    )
    .addOption(option('--redis-tls-key <pem>', "PEM text of the client's key", 'MILLRACE_REDIS_TLS_KEY'))
    .addOption(
      option(
        '--redis-tls-server-name <name>',
        "name in the server's certificate",
        'MILLRACE_REDIS_TLS_SERVER_NAME',
      ),
    )
    .addOption(
      option('--redis-tls-insecure', "do not check the server's certificate", 'MILLRACE_REDIS_TLS_INSECURE'),
    )
    .addOption(option('--queue <key>', 'the Redis list', 'MILLRACE_QUEUE').default('task_queue'))
    .addOption(option('--result <key>', 'the Redis hash', 'MILLRACE_RESULT').default('result'));
}

/** The address that the flags name. */
export function addressOf(flags: QueueFlags): RedisAddress {
  const tls: RedisTls = {
    ca: flags.redisTlsCa,
    cert: flags.redisTlsCert,
    key: flags.redisTlsKey,
    serverName: flags.redisTlsServerName,
    insecureSkipVerify: flags.redisTlsInsecure,
  };
  return {
    ...(flags.sentinel
      ? {
          sentinel: { name: flags.sentinelName, nodes: flags.sentinel.split(',').map((node) => node.trim()) },
        }
      : { url: flags.redis }),
    username: flags.redisUsername,
    password: flags.redisPassword,
    tls: Object.values(tls).some(Boolean) ? tls : undefined,
  };
}
