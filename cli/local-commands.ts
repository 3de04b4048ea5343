/** The commands that need neither a cluster nor an existing queue: `dev`, `map` and `simulate`. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { QUEUE_OPTIONS, type QueueFlags } from '../queue/flags.ts';
import {
  concurrency,
  duration,
  headed,
  instant,
  integer,
  positive,
  withOptions,
} from '../runtime/program.ts';
import { traceKinds } from '../simulate/generate.ts';
import { peers, type Peer } from '../simulate/peers.ts';
import { addHandlerFlags } from '../worker/flags/handler-flags.ts';
import { partitionsOption, prioritiesOption } from '../worker/flags/partitions-option.ts';
import { addAccessFlags } from './access/access-flags.ts';
import { addLimitFlags } from './access/limit-options.ts';
import type { CommandLog } from './terminal/command-log.ts';
import { outputOption } from './terminal/output.ts';
import type { MapFlags } from './map/map.ts';
import type { SimulateFlags } from './simulate/simulate.ts';

/** `env`: the environment that workers are started with. */
export function addDev(command: Command, env: NodeJS.ProcessEnv, log: CommandLog): void {
  headed(
    'Limits:',
    headed('Tasks:', headed('Redis:', command, withOptions(QUEUE_OPTIONS)), addHandlerFlags),
    addLimitFlags,
  )
    .addOption(
      partitionsOption(
        'split the queue into this many lists, <queue>:{0} to <queue>:{n-1} (default: 1)',
      ).helpGroup('Redis:'),
    )
    .addOption(
      prioritiesOption('serve tasks of these priorities of the queue, too: high, low or high,low').helpGroup(
        'Redis:',
      ),
    )
    .option('--pool <file>', 'YAML of a WorkerPool to take settings from; its redis and template are ignored')
    .option('--min <n>', 'minimum number of workers (default: 0)', integer(0, 10_000))
    .option('--max <n>', 'maximum number of workers (default: one per CPU core)', integer(1, 10_000))
    .option(
      '--target-wait <duration>',
      'start each task within this time, with as many workers as that takes',
      duration,
    )
    .option(
      '--tasks-per-replica <n>',
      'tasks, waiting or running, per worker (default: 5; none with --target-wait)',
      integer(1),
    )
    .option('--concurrency <n>', 'tasks that a worker runs at a time, or auto (default: 1)', concurrency)
    .option(
      '--window <duration>',
      'stop a worker once it has not been needed for this long (default: 10s)',
      duration,
    )
    .addOption(
      new Option('--grace <duration>', 'time to finish running tasks when a worker is stopped')
        .argParser(duration)
        .default(25_000, '25s'),
    )
    .option('--dashboard [port]', 'port of the dashboard (default: 8080, or a free one)', integer(0, 65_535))
    .option('--no-dashboard', 'do not serve the dashboard')
    .option('--install', 'install a Redis with the package manager if there is none, without asking')
    .addHelpText('after', '\nWithout --redis, a Redis is started for as long as the command runs.')
    .action(
      async (
        flags: QueueFlags &
          import('./dev/settings.ts').DevFlags & {
            pool?: string;
            grace: number;
            install?: true;
            dashboard?: boolean | number;
          },
      ) => {
        const own =
          ['default', undefined].includes(command.getOptionValueSource('redis')) &&
          flags.redisUrlFile === undefined &&
          flags.sentinel === undefined &&
          flags.cluster === undefined;
        const chosen = (name: 'queue' | 'result'): string | undefined =>
          command.getOptionValueSource(name) === 'default' ? undefined : flags[name];
        const { dev } = await import('./dev/dev.ts');
        await dev(
          { ...flags, queue: chosen('queue'), result: chosen('result') },
          own ? undefined : flags,
          env,
          log,
        );
      },
    );
}

/** `env`: the environment that workers are started with. */
export function addMap(command: Command, env: NodeJS.ProcessEnv, log: CommandLog): void {
  addAccessFlags(headed('Code, run on this machine:', command, addHandlerFlags), 'flag')
    .option('--file <path>', 'read the lines from a file instead of stdin')
    .option('-0, --null', 'tasks end with a NUL instead of a line feed, as those of find -print0')
    .option('--unordered', 'print results as they come, not in the order of the lines')
    .option(
      '--resume <file>',
      'keep the results in this file; the same command continues after Ctrl-C or a crash, and runs failed lines again',
    )
    .option('--fail-fast', 'give up when a line fails')
    .option(
      '-j, --jobs <n>',
      'lines to run at a time on this machine (default: one per CPU core)',
      integer(1, 10_000),
    )
    .option('--attempts <n>', 'attempts per line on this machine (default: 1)', integer(1, 1_000))
    .option('--install', 'install a Redis with the package manager if there is none, without asking')
    .addHelpText(
      'after',
      '\nWith --pool or --redis instead of code, the workers of that queue run the lines.\n' +
        'Empty lines are skipped, and equal ones run one after the other.',
    )
    .action(async (flags: MapFlags) => {
      const { map } = await import('./map/map.ts');
      await map(flags, env, log);
    });
}

export function addSimulate(command: Command): void {
  const peer = (text: string): Peer => {
    if ((peers as readonly string[]).includes(text)) return text as Peer;
    throw new InvalidArgumentError(`Write one or more of ${peers.join(', ')}, comma-separated.`);
  };
  command
    .option('--pool <file>', 'YAML of a WorkerPool to take the policy from')
    .option('--trace <file>', 'CSV with the columns arrival and service, in seconds')
    .addOption(
      new Option('--generate <kind>', 'generate a trace, if --trace is not given')
        .choices(traceKinds)
        .default('onoff'),
    )
    .option('--seed <n>', 'seed of the random numbers', integer(0), 1)
    .addOption(
      new Option('--duration <duration>', 'length of a generated trace')
        .argParser(duration)
        .default(3_600_000, '1h'),
    )
    .option('--rate <n>', 'mean tasks per second of a generated trace', positive, 2)
    .addOption(
      new Option('--service <duration>', 'mean service time of a generated task')
        .argParser(duration)
        .default(1_400, '1.4s'),
    )
    .addOption(
      new Option('--start-time <duration>', 'time from the creation of a pod to its first task')
        .argParser(duration)
        .default(5_000, '5s'),
    )
    .option(
      '--begin <time>',
      'start of the trace (RFC 3339), for schedules and hours of the day (default: from the trace)',
      instant,
    )
    .option(
      '--target <duration>',
      "target wait, instead of the pool's rules (default: 10s without --pool)",
      duration,
    )
    .option(
      '--slots <n>',
      "tasks that a pod runs at a time (default: the pool's concurrency, or 1)",
      integer(1, 10_000),
    )
    .option(
      '--max <n>',
      "maximum number of pods (default: the pool's maxReplicas, or 50)",
      integer(1, 10_000),
    )
    .option(
      '--parked <n>',
      "pods that are parked instead of removed (default: the pool's parked.replicas, or 0)",
      integer(0, 10_000),
    )
    .addOption(
      new Option(
        '--against <peers>',
        `other autoscalers to compare with, comma-separated: ${peers.join(', ')}`,
      )
        .argParser((text, before: Peer[]) => [...new Set([...before, ...text.split(',').map(peer)])])
        .default([], 'none'),
    )
    .option(
      '--chart <file>',
      'write an SVG of waiting tasks, pods and waits over time, for Millrace and the first two of --against',
    )
    .option('--explain', 'print each decision that changed the number of pods, with its reason')
    .addOption(outputOption())
    .action(async (flags: SimulateFlags) => {
      const { simulateCommand } = await import('./simulate/simulate.ts');
      await simulateCommand(flags);
    });
}
