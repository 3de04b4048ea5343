#!/usr/bin/env node
/** `millrace-worker`: takes tasks from a queue and runs them with a module's function or with a command. */
import { hostname } from 'node:os';
import { addQueueFlags, addressOf, type QueueFlags } from '../queue/flags.ts';
import { redisOptions, type RedisAddress } from '../queue/connection.ts';
import { checkDurability, type Durability } from '../queue/durability.ts';
import { queueKeys } from '../queue/keys.ts';
import { serveHttp } from '../runtime/http.ts';
import { onSignals } from '../runtime/lifecycle.ts';
import { createLog, logLevels, type LogLevel } from '../runtime/log.ts';
import {
  bytes,
  createProgram,
  duration,
  integer,
  option,
  runProgram,
  UsageError,
} from '../runtime/program.ts';
import { version } from '../runtime/version.ts';
import { MAX_RESULT_BYTES } from './encode.ts';
import type { OpenHandler } from './handler.ts';
import { openCommand, type CommandOptions } from './handlers/command.ts';
import { openLines } from './handlers/lines.ts';
import { openModule } from './handlers/module.ts';
import { createWorkerMetrics } from './metrics.ts';
import { defaultWorkerId, runWorker } from './worker.ts';

interface Flags extends QueueFlags {
  readonly queues?: readonly string[];
  readonly module?: string;
  readonly command?: string;
  readonly keepRunning?: boolean;
  readonly concurrency: number;
  readonly id: string;
  readonly lease: number;
  readonly grace: number;
  readonly attempts: number;
  readonly maxDeliveries: number;
  readonly backoffInitial: number;
  readonly backoffMax: number;
  readonly backoffJitter: string;
  readonly durabilityReplicas: number;
  readonly durabilityTimeout: number;
  readonly resultTtl?: number;
  readonly resultMaxSize: number;
  readonly deadMax: number;
  readonly deadMaxAge: number;
  readonly pool?: string;
  readonly httpPort?: number;
  readonly logLevel: LogLevel;
}

function parse(argv: readonly string[]): Flags {
  const program = addQueueFlags(
    createProgram('millrace-worker', version).description(
      'Takes tasks from a Redis list and writes results to a hash.',
    ),
  );
  program
    .addOption(
      option(
        '--queues <keys>',
        'several queues instead, by priority: urgent,bulk or a JSON list',
        'MILLRACE_QUEUES',
      ).argParser(queueList),
    )
    .addOption(option('--module <path>', 'module whose default export runs a task', 'MILLRACE_MODULE'))
    .addOption(option('--command <command>', 'program that runs a task: stdin to stdout', 'MILLRACE_COMMAND'))
    .addOption(
      option(
        '--keep-running',
        'keep the command running: JSON lines, see the README',
        'MILLRACE_KEEP_RUNNING',
      ),
    )
    .addOption(
      option('--concurrency <n>', 'tasks at once', 'MILLRACE_CONCURRENCY')
        .argParser(integer(1, 10_000))
        .default(1),
    )
    .addOption(
      option('--id <name>', 'unique among the living workers', 'MILLRACE_WORKER_ID').default(
        // in a pod the host's name is the pod's, by which the controller knows it
        process.env['KUBERNETES_SERVICE_HOST'] === undefined ? defaultWorkerId() : hostname(),
      ),
    )
    .addOption(
      option('--lease <duration>', 'silent for so long, the worker has lost its tasks', 'MILLRACE_LEASE')
        .argParser(duration)
        .default(15_000, '15s'),
    )
    .addOption(
      option('--grace <duration>', 'on SIGTERM, what runs may take so long', 'MILLRACE_GRACE')
        .argParser(duration)
        .default(25_000, '25s'),
    )
    .addOption(
      option('--attempts <n>', 'tries in all before a task is dead', 'MILLRACE_ATTEMPTS')
        .argParser(integer(1))
        .default(5),
    )
    .addOption(
      option(
        '--max-deliveries <n>',
        'lost workers before the task that they held is dead',
        'MILLRACE_MAX_DELIVERIES',
      )
        .argParser(integer(1))
        .default(5),
    )
    .addOption(
      option('--backoff-initial <duration>', 'wait before the second try', 'MILLRACE_BACKOFF_INITIAL')
        .argParser(duration)
        .default(1_000, '1s'),
    )
    .addOption(
      option('--backoff-max <duration>', 'longest wait between tries', 'MILLRACE_BACKOFF_MAX')
        .argParser(duration)
        .default(300_000, '5m'),
    )
    .addOption(
      option('--backoff-jitter <on|off>', 'spread retries', 'MILLRACE_BACKOFF_JITTER')
        .choices(['on', 'off'])
        .default('on'),
    )
    .addOption(
      option(
        '--durability-replicas <n>',
        'replicas of Redis to wait for after each turn; 0 for none',
        'MILLRACE_DURABILITY_REPLICAS',
      )
        .argParser(integer(0))
        .default(0),
    )
    .addOption(
      option(
        '--durability-timeout <duration>',
        'how long to wait for them, at most 5s',
        'MILLRACE_DURABILITY_TIMEOUT',
      )
        .argParser(duration)
        .default(1_000, '1s'),
    )
    .addOption(
      option(
        '--result-ttl <duration>',
        'remove each result after this long; 0 never',
        'MILLRACE_RESULT_TTL',
      ).argParser(duration),
    )
    .addOption(
      option('--result-max-size <size>', 'a larger result fails its task', 'MILLRACE_RESULT_MAX_SIZE')
        .argParser(bytes(MAX_RESULT_BYTES))
        .default(MAX_RESULT_BYTES, '512Mi'),
    )
    .addOption(
      option('--dead-max <n>', 'keep so many dead letters, the newest', 'MILLRACE_DEAD_MAX')
        .argParser(integer(1, 10_000_000))
        .default(10_000),
    )
    .addOption(
      option('--dead-max-age <duration>', 'and each for so long; 0 for ever', 'MILLRACE_DEAD_MAX_AGE')
        .argParser(duration)
        .default(2_592_000_000, '720h'),
    )
    .addOption(
      option('--pool <namespace/name>', 'the WorkerPool that this worker is of', 'MILLRACE_POOL').hideHelp(),
    )
    .addOption(
      option('--http-port <port>', 'serve /healthz, /readyz and /metrics', 'MILLRACE_HTTP_PORT').argParser(
        integer(0, 65_535),
      ),
    )
    .addOption(
      option('--log-level <level>', 'how much to log', 'MILLRACE_LOG_LEVEL')
        .choices(logLevels)
        .default('info'),
    );
  program.parse(argv);
  return program.opts<Flags>();
}

/** `a,b`, or a JSON list for names with commas in them. */
function queueList(text: string): readonly string[] {
  if (!text.startsWith('[')) return text.split(',').map((name) => name.trim());
  try {
    const names: unknown = JSON.parse(text);
    if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names;
  } catch {
    // said below
  }
  throw new UsageError(`--queues ${text} is not a JSON list of names: write ["urgent","bulk"]`);
}

async function openHandler(flags: Flags, log: CommandOptions['log']): Promise<OpenHandler> {
  if (flags.module && flags.command)
    throw new UsageError('both --module and --command are given: choose one');
  if (flags.module) return openModule(flags.module, process.cwd());
  if (!flags.command)
    throw new UsageError('nothing to run tasks with: give --module ./tasks.ts or --command ./compute');
  const maxOutputBytes = flags.resultMaxSize;
  const program = { command: flags.command, cwd: process.cwd(), env: process.env, log, maxOutputBytes };
  if (!flags.keepRunning) return openCommand(program);
  return openLines({ ...program, concurrency: flags.concurrency, maxOutputBytes: lineLimit(maxOutputBytes) });
}

/** How long a line may be that holds a result of so many bytes: JSON writes some bytes as six. A report fits anyway. */
function lineLimit(resultBytes: number): number {
  return Math.min(MAX_RESULT_BYTES, Math.max(6 * resultBytes, 1 << 20));
}

/** Says now what is wrong with address, names and numbers, not in a reconnect loop. */
function checkNames(
  redis: RedisAddress,
  durability: Durability | undefined,
  queues: readonly string[],
  result: string,
): void {
  try {
    if (durability) checkDurability(durability);
    redisOptions(redis);
    for (const queue of queues) queueKeys(queue, result);
    if (new Set(queues).size < queues.length)
      throw new RangeError(`--queues names a queue twice: ${queues.join(', ')}`);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

async function main(): Promise<void> {
  const flags = parse(process.argv);
  if (flags.lease < 1_000)
    throw new UsageError(`a lease of ${flags.lease} ms is too short: give at least 1s`);
  const redis = addressOf(flags);
  const durability =
    flags.durabilityReplicas > 0
      ? { replicas: flags.durabilityReplicas, timeoutMs: flags.durabilityTimeout }
      : undefined;
  const queues = flags.queues ?? [flags.queue];
  checkNames(redis, durability, queues, flags.result);
  const log = createLog('millrace-worker', flags.logLevel);
  using signals = onSignals();
  await using handler = await openHandler(flags, (line, source) =>
    log.info({ ...source, line }, 'stderr of the command'),
  );
  const metrics = createWorkerMetrics();
  let ready = false;
  await using _http =
    flags.httpPort === undefined
      ? undefined
      : await serveHttp({
          port: flags.httpPort,
          metrics,
          unhealthy: () => undefined,
          unready: () => (ready ? undefined : 'not registered in Redis yet'),
        });
  const hurry = new AbortController();
  const hurryUp = (): void => hurry.abort();
  signals.hurry.addEventListener('abort', hurryUp, { once: true });
  signals.stopping.addEventListener('abort', () => {
    log.info({ graceMs: flags.grace }, 'stopping: finishing what runs');
    setTimeout(hurryUp, flags.grace).unref();
  });
  await runWorker(
    {
      redis,
      queue: queues,
      result: flags.result,
      id: flags.id,
      concurrency: flags.concurrency,
      leaseMs: flags.lease,
      handler: handler.handle,
      durability,
      mayBlock: flags.module !== undefined,
      version,
      pool: flags.pool ?? '',
      log,
      metrics,
      retry: {
        attempts: flags.attempts,
        maxDeliveries: flags.maxDeliveries,
        backoff: {
          initialMs: flags.backoffInitial,
          maxMs: flags.backoffMax,
          jitter: flags.backoffJitter === 'on',
        },
      },
      results: { ttlMs: Math.ceil(flags.resultTtl ?? 0) || undefined, maxBytes: flags.resultMaxSize },
      deadLetters: { max: flags.deadMax, maxAgeMs: Math.ceil(flags.deadMaxAge) || undefined },
      onReady: () => {
        if (!ready)
          log.info(
            {
              version,
              sinceStartMs: Math.round(performance.now()),
            },
            'ready',
          );
        ready = true;
      },
    },
    signals.stopping,
    hurry.signal,
  );
  log.info('stopped');
}

await runProgram('millrace-worker', main);
// a handler that never ends must not keep a worker that has left
process.exit();
