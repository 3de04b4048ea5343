#!/usr/bin/env node
/** `millrace-worker`: takes tasks from a queue and runs them with a module's function or with a command. */
import { addQueueFlags, addressOf, type QueueFlags } from '../queue/flags.ts';
import { redisOptions, type RedisAddress } from '../queue/connection.ts';
import { queueKeys } from '../queue/keys.ts';
import { serveHttp } from '../runtime/http.ts';
import { onSignals } from '../runtime/lifecycle.ts';
import { createLog, logLevels, type LogLevel } from '../runtime/log.ts';
import { createProgram, duration, integer, option, runProgram, UsageError } from '../runtime/program.ts';
import { version } from '../runtime/version.ts';
import type { OpenHandler } from './handler.ts';
import { openCommand, type CommandOptions } from './handlers/command.ts';
import { openLines } from './handlers/lines.ts';
import { openModule } from './handlers/module.ts';
import { createWorkerMetrics } from './metrics.ts';
import { defaultWorkerId, runWorker } from './worker.ts';

interface Flags extends QueueFlags {
  readonly module?: string;
  readonly command?: string;
  readonly keepRunning?: boolean;
  readonly concurrency: number;
  readonly id: string;
  readonly lease: number;
  readonly grace: number;
  readonly attempts: number;
  readonly backoffInitial: number;
  readonly backoffMax: number;
  readonly backoffJitter: string;
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
        defaultWorkerId(),
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

async function openHandler(flags: Flags, log: CommandOptions['log']): Promise<OpenHandler> {
  if (flags.module && flags.command)
    throw new UsageError('both --module and --command are given: choose one');
  if (flags.module) return openModule(flags.module, process.cwd());
  if (!flags.command)
    throw new UsageError('nothing to run tasks with: give --module ./tasks.ts or --command ./compute');
  const program = { command: flags.command, cwd: process.cwd(), env: process.env, log };
  return flags.keepRunning ? openLines({ ...program, concurrency: flags.concurrency }) : openCommand(program);
}

/** Says now what is wrong with address and names, not in a reconnect loop. */
function checkNames(redis: RedisAddress, { queue, result }: Flags): void {
  try {
    redisOptions(redis);
    queueKeys(queue, result);
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
  checkNames(redis, flags);
  const log = createLog('millrace-worker', flags.logLevel);
  using signals = onSignals();
  await using handler = await openHandler(flags, (line, source) =>
    log.info({ ...source, line }, 'stderr of the command'),
  );
  const metrics = createWorkerMetrics(flags.queue);
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
      queue: flags.queue,
      result: flags.result,
      id: flags.id,
      concurrency: flags.concurrency,
      leaseMs: flags.lease,
      handler: handler.handle,
      mayBlock: flags.module !== undefined,
      version,
      pool: flags.pool ?? '',
      log,
      metrics,
      retry: {
        attempts: flags.attempts,
        backoff: {
          initialMs: flags.backoffInitial,
          maxMs: flags.backoffMax,
          jitter: flags.backoffJitter === 'on',
        },
      },
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
