#!/usr/bin/env node
/**
 * `millrace`: the command line. Each command is a file of its own that is loaded when it is asked for, so that
 * `millrace enqueue` starts without what only `millrace dev` needs.
 */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { addQueueFlags } from '../queue/flags.ts';
import {
  createProgram,
  duration,
  integer,
  option,
  runProgram,
  strict,
  UsageError,
} from '../runtime/program.ts';
import { readTrace } from '../runtime/opentelemetry.ts';
import { version } from '../runtime/version.ts';
import { peers, type Peer } from '../simulate/peers.ts';
import { traceKinds } from '../simulate/generate.ts';
import type { SimulateFlags } from './simulate.ts';

/** What every command that talks to a queue gets from commander. */
type Flags<T> = Parameters<typeof import('./client.ts').withQueue>[0] & T;

function build(): Command {
  const program = createProgram('millrace', version)
    .description('An autoscaling worker pool with Redis in the middle.')
    .usage('<command> [options]');
  const command = (name: string, description: string): Command =>
    strict(program.command(name)).description(description);
  const output = new Option('-o, --output <form>', 'how to print it')
    .choices(['table', 'json'])
    .default('table');

  addDev(
    command('dev', 'a pool on this machine: scales worker processes by the queue, with a Redis of its own'),
  );

  addQueueFlags(
    command('enqueue', 'add tasks; prints their ids, or with --wait their results').argument(
      '[task]',
      'the task; - for --stdin',
    ),
  )
    .option('--stdin', 'a task in each line of stdin; empty lines are left out')
    .option('--delay <duration>', 'run no earlier than this from now, such as 10s', duration)
    .option('--wait', 'wait for the result and print it')
    .option('--timeout <duration>', 'with --wait, give up after this long', duration)
    .action(async (task: string | undefined, flags: Flags<import('./enqueue.ts').EnqueueFlags>) => {
      const { enqueue } = await import('./enqueue.ts');
      const { TRACEPARENT: traceparent, TRACESTATE: tracestate } = process.env;
      await enqueue(task, flags, readTrace({ traceparent, tracestate }));
    });

  addQueueFlags(
    command('result', "print a task's result, byte for byte; waits for it").argument(
      '<id>',
      'the id of the task, or the task itself',
    ),
  )
    .option('--timeout <duration>', 'give up after this long', duration)
    .option('--progress', 'tell meanwhile how far the task is, on stderr')
    .action(async (id: string, flags: Flags<{ timeout?: number; progress?: true }>) => {
      const { printResult } = await import('./result.ts');
      await printResult(id, flags);
    });

  addQueueFlags(
    command('cancel', 'do not run a task, or abort it where it runs').argument('<id...>', 'ids of tasks'),
  ).action(async (ids: string[], flags: Flags<object>) => {
    const { cancel } = await import('./cancel.ts');
    await cancel(ids, flags);
  });

  addQueueFlags(command('inspect', 'what is in the queue, and which workers it has'))
    .addOption(output)
    .action(async (flags: Flags<{ output: 'table' | 'json' }>) => {
      const { inspect } = await import('./inspect.ts');
      await inspect(flags);
    });

  addQueueFlags(command('pause', 'let workers begin no more tasks of the queue; what runs is finished'))
    .option('--reason <text>', 'for whoever inspects it', '')
    .action(async (flags: Flags<{ reason: string }>) => {
      const { pause } = await import('./pause.ts');
      await pause(flags);
    });

  addQueueFlags(command('resume', 'end a pause')).action(async (flags: Flags<object>) => {
    const { resume } = await import('./pause.ts');
    await resume(flags);
  });

  addDead(command('dead', 'tasks that failed for good'), output);

  addSimulate(command('simulate', "what a pool's policy would do on a trace, beside its peers"), output);

  command('version', 'print the version').action(() => void process.stdout.write(`${version}\n`));
  return program;
}

function addDead(dead: Command, output: Option): void {
  const commands = 'list, show, requeue or drop';
  dead.argument('[command]').usage('list|show|requeue|drop [options]');
  dead.action((unknown: string | undefined) => {
    throw new UsageError(
      unknown === undefined ? `dead needs a command: ${commands}` : `unknown command 'dead ${unknown}'`,
    );
  });
  addQueueFlags(strict(dead.command('list')).description('print the newest ones, newest first'))
    .option('--count <n>', 'at most so many', integer(1, 10_000), 20)
    .addOption(output)
    .action(async (flags: Flags<{ count: number; output: 'table' | 'json' }>) => {
      const { listDead } = await import('./dead.ts');
      await listDead(flags);
    });
  addQueueFlags(strict(dead.command('show')).description('print all that is known of one task'))
    .argument('<id>', 'the id of the task, or the task itself')
    .addOption(output)
    .action(async (id: string, flags: Flags<{ output: 'table' | 'json' }>) => {
      const { showDead } = await import('./dead.ts');
      await showDead(id, flags);
    });
  const moves = {
    requeue: 'put tasks back into the queue, with all their attempts',
    drop: 'forget tasks and their errors',
  };
  for (const how of ['requeue', 'drop'] as const)
    addQueueFlags(strict(dead.command(how)).description(moves[how]))
      .argument('[id...]', 'ids of tasks')
      .option('--error <text>', 'those whose error contains this')
      .option('--older-than <duration>', 'those that have been dead for so long', duration)
      .option('--all', 'all of them')
      .action(async (ids: string[], flags: Flags<Omit<import('./dead.ts').ChooseDeadFlags, 'queue'>>) => {
        const { moveDead } = await import('./dead.ts');
        await moveDead(how, ids, flags);
      });
}

function addSimulate(command: Command, output: Option): void {
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
    .option('--target <duration>', 'the wait to hold, instead of the rules of the pool (10s)', duration)
    .option('--slots <n>', "tasks at once in each pod (1, or the pool's concurrency)", integer(1, 10_000))
    .option('--max <n>', "the most pods (50, or the pool's maxReplicas)", integer(1, 10_000))
    .option('--against <peers>', peers.join(', '), (text) => text.split(',').map(peer), [])
    .option(
      '--chart <file>',
      'write an SVG: waiting tasks, pods and waits over time, of Millrace and the first two others',
    )
    .option('--explain', 'print each decision that changed the number of pods, in words')
    .addOption(output)
    .action(async (flags: SimulateFlags) => {
      const { simulateCommand } = await import('./simulate.ts');
      await simulateCommand(flags);
    });
}

function addDev(command: Command): void {
  addQueueFlags(command)
    .addOption(option('--module <path>', 'module whose default export runs a task', 'MILLRACE_MODULE'))
    .addOption(option('--command <command>', 'program that runs a task: stdin to stdout', 'MILLRACE_COMMAND'))
    .addOption(
      option(
        '--keep-running',
        'keep the command running: JSON lines, see the README',
        'MILLRACE_KEEP_RUNNING',
      ),
    )
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
    .addHelpText('after', '\nWithout --redis, a Redis is started for as long as this runs.')
    .action(async (flags: Flags<import('./dev-settings.ts').DevFlags & { pool?: string; grace: number }>) => {
      const own =
        ['default', undefined].includes(command.getOptionValueSource('redis')) &&
        flags.sentinel === undefined;
      const chosen = (name: 'queue' | 'result'): string | undefined =>
        command.getOptionValueSource(name) === 'default' ? undefined : flags[name];
      const { dev } = await import('./dev.ts');
      await dev(
        { ...flags, queue: chosen('queue'), result: chosen('result') },
        own ? undefined : flags,
        process.env,
      );
    });
}

async function main(): Promise<void> {
  // whoever reads our output may have seen enough
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    throw error;
  });
  const program = build();
  if (process.argv.length <= 2) program.outputHelp();
  else await program.parseAsync(process.argv);
}

await runProgram('millrace', main);
