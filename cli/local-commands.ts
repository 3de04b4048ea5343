/** The commands that need no cluster and no queue of anybody: `dev` and `simulate`. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { addQueueFlags, type QueueFlags } from '../queue/flags.ts';
import { duration, instant, integer } from '../runtime/program.ts';
import { traceKinds } from '../simulate/generate.ts';
import { peers, type Peer } from '../simulate/peers.ts';
import { addHandlerFlags } from '../worker/handlers/handler-flags.ts';
import { outputOption } from './terminal/output.ts';
import type { SimulateFlags } from './simulate/simulate.ts';

/** `env` is what workers are started with. */
export function addDev(command: Command, env: NodeJS.ProcessEnv): void {
  addHandlerFlags(addQueueFlags(command))
    .option(
      '--pool <file>',
      'YAML of a WorkerPool to take settings from; its redis and template are left out',
    )
    .option('--min <n>', 'the fewest workers (0)', integer(0, 10_000))
    .option('--max <n>', 'the most workers (one for each core)', integer(0, 10_000))
    .option('--target-wait <duration>', 'as many workers as it takes to begin each task in time', duration)
    .option(
      '--tasks-per-replica <n>',
      'one worker for so many tasks (5; with --target-wait only if given)',
      integer(1),
    )
    .option('--concurrency <n>', 'tasks at once in each worker (1)', integer(1, 10_000))
    .option('--window <duration>', 'a worker goes when it was not needed for so long (10s)', duration)
    .option('--grace <duration>', 'what runs may take so long when its worker is to go', duration, 25_000)
    .option(
      '--dashboard [port]',
      'serve the dashboard on this port (8080, or one that is free)',
      integer(0, 65_535),
    )
    .option('--no-dashboard', 'serve none')
    .option('--install', 'the package manager may install a Redis where there is none; else you are asked')
    .addHelpText('after', '\nWithout --redis, a Redis is started for as long as this runs.')
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
          flags.sentinel === undefined;
        const chosen = (name: 'queue' | 'result'): string | undefined =>
          command.getOptionValueSource(name) === 'default' ? undefined : flags[name];
        const { dev } = await import('./dev/dev.ts');
        await dev(
          { ...flags, queue: chosen('queue'), result: chosen('result') },
          own ? undefined : flags,
          env,
        );
      },
    );
}

export function addSimulate(command: Command): void {
  const peer = (text: string): Peer => {
    if ((peers as readonly string[]).includes(text)) return text as Peer;
    throw new InvalidArgumentError(`It must be a list of ${peers.join(', ')}.`);
  };
  command
    .option('--pool <file>', 'YAML of a WorkerPool to take the policy from')
    .option('--trace <file>', 'CSV with the columns arrival and service, in seconds')
    .addOption(
      new Option('--generate <kind>', 'without --trace, make one').choices(traceKinds).default('onoff'),
    )
    .option('--seed <n>', 'of what is drawn at random', integer(0), 1)
    .option('--duration <duration>', 'of a generated trace', duration, 3_600_000)
    .option('--rate <n>', 'tasks a second of a generated trace, on average', Number, 2)
    .option('--service <duration>', 'time that a generated task takes, on average', duration, 1_400)
    .option('--start-time <duration>', 'from a pod to its first task', duration, 5_000)
    .option(
      '--begin <time>',
      'when the trace begins (RFC 3339), for schedules and hours of the day; else as the trace says',
      instant,
    )
    .option('--target <duration>', 'the wait to hold, instead of the rules of the pool (10s)', duration)
    .option('--slots <n>', "tasks at once in each pod (1, or the pool's concurrency)", integer(1, 10_000))
    .option('--max <n>', "the most pods (50, or the pool's maxReplicas)", integer(1, 10_000))
    .option('--against <peers>', peers.join(', '), (text) => text.split(',').map(peer), [])
    .option(
      '--chart <file>',
      'write an SVG: waiting tasks, pods and waits over time, of Millrace and the first two others',
    )
    .option('--explain', 'print each decision that changed the number of pods, in words')
    .addOption(outputOption())
    .action(async (flags: SimulateFlags) => {
      const { simulateCommand } = await import('./simulate/simulate.ts');
      await simulateCommand(flags);
    });
}
