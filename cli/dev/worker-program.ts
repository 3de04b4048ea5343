/**
 * The program of a worker process with given settings, which are passed as environment variables, as in a pod. Credentials that are
 * in files are passed as the paths of these, so that a rotation reaches the worker.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { CredentialFiles } from '../../queue/connection/address.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { formatDuration } from '../../runtime/duration.ts';
import type { WorkerProgram } from './local-worker.ts';

export interface WorkerSettings {
  readonly redis: RedisAddress;
  readonly queue: string;
  /** Several queues instead, by priority. */
  readonly queues?: readonly string[] | undefined;
  /** The numbers of lists that the queue is in. */
  readonly partitions?: readonly number[] | undefined;
  /** Of the queue, those that it serves beside the normal one. */
  readonly priorities?: readonly string[] | undefined;
  readonly result: string;
  /** One of this, `python`, `command` and `http`. */
  readonly module?: string | undefined;
  readonly python?: string | undefined;
  readonly pythonExecutable?: string | undefined;
  readonly pythonProcesses?: number | undefined;
  readonly pythonMaxTasks?: number | undefined;
  /** Bytes. */
  readonly pythonMaxMemory?: number | undefined;
  readonly command?: string | undefined;
  readonly keepRunning?: boolean | undefined;
  readonly http?: string | undefined;
  /** ms. */
  readonly httpTimeout?: number | undefined;
  /** ms. */
  readonly moduleTimeout?: number | undefined;
  readonly concurrency: number | string;
  readonly graceMs: number;
  readonly retry: {
    readonly attempts: number;
    readonly maxDeliveries?: number;
    readonly backoff: { readonly initialMs: number; readonly maxMs: number; readonly jitter: boolean };
  };
  /** Default to the worker's own. */
  readonly tasks?: { readonly maxBytes: number };
  readonly results?: { readonly ttlMs: number; readonly maxBytes: number };
  readonly deadLetters?: { readonly max: number; readonly maxAgeMs: number };
}

/** The program of one worker. Variables of Millrace in the caller's environment are omitted: `settings` replaces them. */
export function workerProgram(settings: WorkerSettings, id: string, env: NodeJS.ProcessEnv): WorkerProgram {
  const inherited = Object.entries(env).filter(([name]) => !name.startsWith('MILLRACE_'));
  const own = Object.entries(variables(settings, id)).filter(([, value]) => value !== undefined);
  return {
    file: process.execPath,
    // a tasks.ts without a package.json is fine here
    args: ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON', workerFile()],
    env: Object.fromEntries([...inherited, ...own]),
  };
}

function variables(settings: WorkerSettings, id: string): NodeJS.ProcessEnv {
  const { redis, retry, results, deadLetters } = settings;
  return {
    MILLRACE_WORKER_ID: id,
    ...redisVariables(redis),
    MILLRACE_QUEUE: settings.queue,
    MILLRACE_QUEUES: settings.queues && JSON.stringify(settings.queues),
    MILLRACE_PARTITIONS: settings.partitions?.join(','),
    MILLRACE_PRIORITIES: settings.priorities?.join(','),
    MILLRACE_RESULT: settings.result,
    MILLRACE_MODULE: settings.module,
    MILLRACE_PYTHON: settings.python,
    MILLRACE_PYTHON_EXECUTABLE: settings.python && settings.pythonExecutable,
    MILLRACE_PYTHON_PROCESSES: settings.pythonProcesses?.toString(),
    MILLRACE_PYTHON_MAX_TASKS: settings.pythonMaxTasks?.toString(),
    MILLRACE_PYTHON_MAX_MEMORY: settings.pythonMaxMemory?.toString(),
    MILLRACE_COMMAND: settings.command,
    MILLRACE_KEEP_RUNNING: settings.keepRunning ? 'true' : undefined,
    MILLRACE_HTTP: settings.http,
    MILLRACE_HTTP_TIMEOUT: durationOf(settings.httpTimeout),
    MILLRACE_MODULE_TIMEOUT: durationOf(settings.moduleTimeout),
    MILLRACE_CONCURRENCY: String(settings.concurrency),
    MILLRACE_GRACE: formatDuration(settings.graceMs),
    MILLRACE_ATTEMPTS: String(retry.attempts),
    MILLRACE_MAX_DELIVERIES: retry.maxDeliveries?.toString(),
    MILLRACE_BACKOFF_INITIAL: formatDuration(retry.backoff.initialMs),
    MILLRACE_BACKOFF_MAX: formatDuration(retry.backoff.maxMs),
    MILLRACE_BACKOFF_JITTER: retry.backoff.jitter ? 'on' : 'off',
    MILLRACE_TASK_MAX_SIZE: settings.tasks && String(settings.tasks.maxBytes),
    MILLRACE_RESULT_TTL: results && formatDuration(results.ttlMs),
    MILLRACE_RESULT_MAX_SIZE: results && String(results.maxBytes),
    MILLRACE_DEAD_MAX: deadLetters && String(deadLetters.max),
    MILLRACE_DEAD_MAX_AGE: deadLetters && formatDuration(deadLetters.maxAgeMs),
  };
}

function redisVariables(redis: RedisAddress): NodeJS.ProcessEnv {
  const { sentinel, tls } = redis;
  return {
    MILLRACE_REDIS_CLUSTER: redis.cluster?.nodes.join(','),
    MILLRACE_REDIS_SENTINEL: sentinel?.nodes.join(','),
    MILLRACE_REDIS_SENTINEL_NAME: sentinel?.name,
    MILLRACE_REDIS_SENTINEL_USERNAME: sentinel?.username,
    MILLRACE_REDIS_USERNAME: redis.username,
    MILLRACE_REDIS_TLS: tls ? 'true' : undefined,
    MILLRACE_REDIS_TLS_SERVER_NAME: tls?.serverName,
    MILLRACE_REDIS_TLS_INSECURE: tls?.insecureSkipVerify ? 'true' : undefined,
    ...secretVariables(redis),
  };
}

/** Those of a Secret in a pod: the path of the file where there is one, else the value. */
function secretVariables({ url, password, sentinel, tls, credentials }: RedisAddress): NodeJS.ProcessEnv {
  const files: CredentialFiles = credentials?.files ?? {};
  const variable = (name: string, value?: string, file?: string): [string, string | undefined] =>
    file === undefined ? [name, value] : [`${name}_FILE`, resolve(file)];
  return Object.fromEntries([
    variable('MILLRACE_REDIS_URL', url, files.url),
    variable('MILLRACE_REDIS_PASSWORD', password, files.password),
    variable('MILLRACE_REDIS_SENTINEL_PASSWORD', sentinel?.password, files.sentinelPassword),
    variable('MILLRACE_REDIS_TLS_CA', tls?.ca, files.ca),
    variable('MILLRACE_REDIS_TLS_CERT', tls?.cert, files.cert),
    variable('MILLRACE_REDIS_TLS_KEY', tls?.key, files.key),
  ]);
}

const durationOf = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : formatDuration(ms);

/** The worker of this installation: the bundle beside this one, else the sources' in a checkout, else the built file. */
function workerFile(): string {
  const candidates = ['worker.js', '../../worker/main.ts', '../../worker/main.js'].map((path) =>
    join(import.meta.dirname, path),
  );
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined)
    throw new Error('the worker is missing in this installation of millrace: install it again');
  return found;
}
