/**
 * `worker/flags/` takes a command line and an environment and returns settings. It starts nothing.
 *
 * The flags of `millrace-worker`, each of them also an environment variable.
 */
import type { Command } from 'commander';
import { QUEUE_OPTIONS, type QueueFlags } from '../../queue/flags.ts';
import type { Level } from '../../queue/priorities.ts';
import type { Concurrency } from '../../runtime/concurrency.ts';
import { logLevelOption, type LogLevel } from '../../runtime/log-level.ts';
import {
  bytes,
  concurrency,
  createProgram,
  duration,
  headed,
  integer,
  onOff,
  option,
  UsageError,
  withEnvironment,
  withOptions,
} from '../../runtime/program.ts';
import { WORKER_PROGRAM } from '../../runtime/failure-line.ts';
import { version } from '../../runtime/version.ts';
import { MAX_RESULT_BYTES } from '../task/encode.ts';
import { addHandlerFlags, type HandlerFlags } from './handler-flags.ts';
import { partitionsOption, prioritiesOption } from './partitions-option.ts';

export interface WorkerFlags extends QueueFlags, HandlerFlags {
  readonly queues?: readonly string[];
  readonly partitions?: readonly number[];
  readonly priorities?: readonly Level[];
  readonly concurrency: Concurrency;
  readonly id: string;
  /** No id was given: it is the default one. */
  readonly unnamed: boolean;
  readonly lease: number;
  readonly grace: number;
  readonly attempts: number;
  readonly maxDeliveries: number;
  readonly backoffInitial: number;
  readonly backoffMax: number;
  readonly backoffJitter: string;
  readonly durabilityReplicas: number;
  readonly durabilityTimeout: number;
  readonly taskMaxSize: number;
  readonly resultTtl?: number;
  readonly resultMaxSize: number;
  readonly deadMax: number;
  readonly deadMaxAge: number;
  readonly pool?: string;
  readonly httpPort?: number;
  readonly logLevel: LogLevel;
}

type ParsedFlags = Omit<WorkerFlags, 'unnamed'> & { readonly autoConcurrency?: Concurrency };

/** `defaultId`: the worker's name when none is given. */
export function parseWorkerFlags(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  defaultId: string,
): WorkerFlags {
  const program = createProgram(WORKER_PROGRAM, version).description(
    'Runs the tasks of a Redis list and writes their results to a hash.',
  );
  headed('Redis:', program, withOptions(QUEUE_OPTIONS));
  program.addOption(
    option(
      '--queues <keys>',
      'several queues instead of --queue (256 at most), highest priority first: urgent,bulk or a JSON list',
      'MILLRACE_QUEUES',
    ).argParser(queueList),
  );
  program.addOption(
    partitionsOption(
      'the queue is in this many lists, <queue>:{0} to <queue>:{n-1}, with results in <result>:{0} and so on (default: 1, plain ' +
        'names); 1,16 serves the lists of both numbers',
    ),
  );
  program.addOption(
    prioritiesOption(
      'serve tasks of these priorities, too: high, in the list {<queue>}:high, before all of normal priority, and low, in {<queue>}:low, ' +
        'after them; high,low for both',
    ),
  );
  addHandlerFlags(program);
  addWorkerFlags(program, defaultId);
  addRetryFlags(program);
  addDurabilityFlags(program);
  addLimitFlags(program);
  addProcessFlags(program);
  withEnvironment(program, env).parse(argv);
  const unnamed = program.getOptionValueSource('id') === 'default';
  const { autoConcurrency, ...flags } = program.opts<ParsedFlags>();
  // the controller sets both variables, as earlier versions read only the other; a flag goes before either
  const flagged = program.getOptionValueSource('concurrency') === 'cli';
  const found = flagged ? undefined : autoConcurrency;
  return { ...flags, concurrency: found ?? flags.concurrency, unnamed };
}

/** The worker itself, and how long it may be silent or stop. */
function addWorkerFlags(program: Command, defaultId: string): void {
  program
    .addOption(
      option(
        '--concurrency <n>',
        'number of tasks to run at a time; auto or auto:4-64: the worker finds how many do not slow one another (auto is 1 to 32)',
        'MILLRACE_CONCURRENCY',
      )
        .argParser(concurrency)
        .default(1),
    )
    .addOption(
      option('--auto-concurrency <auto>', 'goes before MILLRACE_CONCURRENCY', 'MILLRACE_AUTO_CONCURRENCY')
        .argParser(concurrency)
        .hideHelp(),
    )
    .addOption(
      option('--id <name>', 'id of the worker, unique among live workers', 'MILLRACE_WORKER_ID').default(
        defaultId,
        "<host>-<pid>; in a pod, the pod's name",
      ),
    )
    .addOption(
      option(
        '--lease <duration>',
        'a worker that does not renew its lease for this long loses its tasks',
        'MILLRACE_LEASE',
      )
        .argParser(duration)
        .default(15_000, '15s'),
    )
    .addOption(
      option('--grace <duration>', 'time to finish running tasks after SIGTERM', 'MILLRACE_GRACE')
        .argParser(duration)
        .default(25_000, '25s'),
    );
}

/** When a failed task runs again, and when it is given up. */
function addRetryFlags(program: Command): void {
  program
    .addOption(
      option('--attempts <n>', 'give up on a task after this many attempts', 'MILLRACE_ATTEMPTS')
        .argParser(integer(1))
        .default(5),
    )
    .addOption(
      option(
        '--max-deliveries <n>',
        'give up on a task after this many workers have died running it',
        'MILLRACE_MAX_DELIVERIES',
      )
        .argParser(integer(1))
        .default(5),
    )
    .addOption(
      option('--backoff-initial <duration>', 'delay before the second attempt', 'MILLRACE_BACKOFF_INITIAL')
        .argParser(duration)
        .default(1_000, '1s'),
    )
    .addOption(
      option('--backoff-max <duration>', 'longest delay between attempts', 'MILLRACE_BACKOFF_MAX')
        .argParser(duration)
        .default(300_000, '5m'),
    )
    .addOption(
      option('--backoff-jitter <on|off>', 'randomize the delays', 'MILLRACE_BACKOFF_JITTER')
        .argParser(onOff)
        .default('on'),
    );
}

/** What is waited for after each turn. */
function addDurabilityFlags(program: Command): void {
  program
    .addOption(
      option(
        '--durability-replicas <n>',
        'number of Redis replicas to wait for after each turn; 0 for none',
        'MILLRACE_DURABILITY_REPLICAS',
      )
        .argParser(integer(0))
        .default(0),
    )
    .addOption(
      option(
        '--durability-timeout <duration>',
        'how long to wait for the replicas, at most 5s',
        'MILLRACE_DURABILITY_TIMEOUT',
      )
        .argParser(duration)
        .default(1_000, '1s'),
    );
}

/** Sizes of tasks and results, and how long they are kept. */
function addLimitFlags(program: Command): void {
  program
    .addOption(
      option(
        '--task-max-size <size>',
        'maximum size of a task; a larger one fails for good without being run',
        'MILLRACE_TASK_MAX_SIZE',
      )
        .argParser(bytes(MAX_RESULT_BYTES))
        .default(16 << 20, '16Mi'),
    )
    .addOption(
      option(
        '--result-ttl <duration>',
        'delete each result after this long; 0 for never (default: never)',
        'MILLRACE_RESULT_TTL',
      ).argParser(duration),
    )
    .addOption(
      option(
        '--result-max-size <size>',
        'maximum size of a result; a larger one fails its task',
        'MILLRACE_RESULT_MAX_SIZE',
      )
        .argParser(bytes(MAX_RESULT_BYTES))
        .default(64 << 20, '64Mi'),
    )
    .addOption(
      option(
        '--dead-max <n>',
        'maximum number of dead letters; the oldest are deleted first',
        'MILLRACE_DEAD_MAX',
      )
        .argParser(integer(1, 10_000_000))
        .default(10_000),
    )
    .addOption(
      option(
        '--dead-max-age <duration>',
        'delete dead letters after this long; 0 for never',
        'MILLRACE_DEAD_MAX_AGE',
      )
        .argParser(duration)
        .default(2_592_000_000, '720h'),
    );
}

/** What the process serves and logs. */
function addProcessFlags(program: Command): void {
  program
    .addOption(
      option(
        '--pool <namespace/name>',
        'the WorkerPool that this worker belongs to',
        'MILLRACE_POOL',
      ).hideHelp(),
    )
    .addOption(
      option(
        '--http-port <port>',
        'serve /healthz, /readyz and /metrics on this port (default: not served)',
        'MILLRACE_HTTP_PORT',
      ).argParser(integer(0, 65_535)),
    )
    .addOption(logLevelOption('info'));
}

/** `a,b`, or a JSON list for names with commas in them. */
function queueList(text: string): readonly string[] {
  if (!text.startsWith('[')) return text.split(',').map((name) => name.trim());
  try {
    const names: unknown = JSON.parse(text);
    if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names;
  } catch {
    // reported below
  }
  throw new UsageError(`--queues ${text} is not a JSON list of names: write ["urgent","bulk"]`);
}
