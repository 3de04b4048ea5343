/** The commands about a whole queue or pool. */
import { Option, type Command } from 'commander';
import { MAX_PARTITIONS } from '../queue/partitions.ts';
import { duration, integer } from '../runtime/program.ts';
import { addAccessFlags, type AccessFlags } from './access/access-flags.ts';
import { addLimitFlags } from './access/limit-options.ts';
import { addDestinationFlags } from './access/destination.ts';
import type { ExplainFlags } from './commands/explain.ts';
import type { MoveFlags } from './commands/move.ts';
import type { RecordFlags } from './commands/record.ts';
import type { CommandLog } from './terminal/command-log.ts';
import { outputOption } from './terminal/output.ts';
import type { ShowProgress } from './terminal/progress.ts';

type Define = (name: string, description: string) => Command;

export function addQueueCommands(command: Define, log: CommandLog): void {
  addAccessFlags(command('inspect', 'show the tasks and workers of a queue'), 'argument')
    .option('--each', 'show each list of a queue in partitions, or each queue of a pool, by itself')
    .addOption(outputOption())
    .action(async (_pool: string | undefined, flags: import('./commands/inspect.ts').InspectFlags) => {
      const { inspect } = await import('./commands/inspect.ts');
      await inspect(flags);
    });

  addAccessFlags(command('explain', 'explain why a pool has its number of replicas'), 'argument')
    .option('--count <n>', 'maximum number of decisions', integer(1, 100), 10)
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nWith --redis and --queue, the pool is the name under which it is recorded in that Redis.',
    )
    .action(async (pool: string | undefined, flags: ExplainFlags) => {
      const { explainCommand } = await import('./commands/explain.ts');
      await explainCommand(pool, flags);
    });

  addAccessFlags(
    command('record', "record the tasks that arrive at a pool, as a trace for 'millrace simulate'"),
    'argument',
  )
    .option('--for <duration>', 'how long to record (default: until Ctrl-C)', span)
    .addOption(
      new Option('--step <duration>', 'interval between samples').argParser(duration).default(100, '100ms'),
    )
    .option(
      '--since <duration>',
      'instead of recording, read this much of the past from the timeline in Redis, such as 7d',
      span,
    )
    .option('-f, --file <file>', 'write the CSV to this file instead of stdout')
    .action(async (pool: string | undefined, flags: RecordFlags) => {
      const { recordCommand } = await import('./commands/record.ts');
      await recordCommand(pool, flags, log);
    });

  addAccessFlags(
    command('pause', 'pause a queue: workers start no more of its tasks, and finish those that run'),
    'argument',
  )
    .option('--reason <text>', 'note for people who inspect the queue')
    .action(async (_pool: string | undefined, flags: AccessFlags & { reason?: string }) => {
      const { pause } = await import('./commands/pause.ts');
      await pause(flags);
    });

  addAccessFlags(command('resume', 'resume a paused queue'), 'argument').action(
    async (_pool: string | undefined, flags: AccessFlags) => {
      const { resume } = await import('./commands/pause.ts');
      await resume(flags);
    },
  );

  addLimits(
    command(
      'limits',
      'show, set or remove the limits of a queue: how many tasks begin in a time and run at once',
    ),
  );

  addAccessFlags(command('workers', 'list the workers of a queue and what they are doing'), 'argument')
    .option('--tasks', 'also list the ids of the tasks that each one holds')
    .addOption(outputOption())
    .action(async (_pool: string | undefined, flags: import('./commands/workers.ts').WorkersFlags) => {
      const { showWorkers } = await import('./commands/workers.ts');
      await showWorkers(flags);
    });

  addAccessFlags(
    command(
      'drain',
      'let workers finish their tasks and take no more; waits until they are drained',
    ).argument('[worker...]', 'ids of workers (default with --pool: all of its workers)'),
    'flag',
  )
    .option('--all', 'drain all workers of the queue')
    .addOption(
      new Option('--for <duration>', 'how long they take no tasks')
        .argParser(duration)
        .default(300_000, '5m'),
    )
    .option('--undo', 'let them take tasks again')
    .option('--timeout <duration>', 'stop waiting after this long; the workers go on draining', duration)
    .action(async (workers: string[], flags: import('./commands/drain.ts').DrainFlags) => {
      const { drain } = await import('./commands/drain.ts');
      await drain(workers, flags);
    });
}

const LIMIT_EXAMPLES = `
Examples:
  millrace limits --queue mail                                   show them, and what they hold back
  millrace limits --queue mail --rate 100/s --max-running 20
  millrace limits --queue mail --key-field customer --key-rate 5/s --key-max-running 1
  millrace limits --queue mail --rate none
  millrace limits --queue mail --remove

What is not given stays as it is. Limits of a pool are changed in its spec.`;

function addLimits(command: Command): void {
  addLimitFlags(addAccessFlags(command, 'argument'))
    .option('--remove', 'remove all of them')
    .option('--force', 'also where a pool has set them; it sets them again, if it is still there')
    .addOption(outputOption())
    .addHelpText('after', LIMIT_EXAMPLES)
    .action(async (_pool: string | undefined, flags: import('./commands/limits.ts').LimitsFlags) => {
      const { limits } = await import('./commands/limits.ts');
      await limits(flags);
    });
}

/** A duration, or a number of days such as `7d`, as ms. */
function span(text: string): number {
  const days = /^(\d+)d$/.exec(text)?.[1];
  return days === undefined ? duration(text) : Number(days) * 86_400_000;
}

const MOVE_EXAMPLES = `
Examples:
  millrace move --queue tiles --redis redis://old:6379 --to redis://new:6379
  millrace move --queue tiles --to-partitions 16
  millrace move --pool tiles --to-cluster c-0:6379,c-1:6379 --follow

Clients and workers may go on in both places. An interrupted move is continued by the same command.`;

export function addMove(command: Command, showProgress: ShowProgress): void {
  addDestinationFlags(
    addAccessFlags(command, 'flag')
      .option('--to-partitions <n>', 'number of lists that the queue becomes', integer(1, MAX_PARTITIONS))
      .option('--merge', 'move into a queue that has something already')
      .option('--follow', 'keep moving what clients still push to the old place, until Ctrl-C or --quiet')
      .option(
        '--quiet <duration>',
        'with --follow, end when nothing has been pushed for this long (default: 1m)',
        duration,
      )
      .option(
        '--wait <duration>',
        'how long to wait for tasks that run in the old place (default: until they are done)',
        duration,
      )
      .option('--no-results', 'leave the result hash: other queues use it, too')
      .option('--abandon', 'end a move that was begun: what is between the two places goes back')
      .option('--destination-gone', 'with --abandon, if the destination cannot be asked what it has'),
  )
    .addHelpText('after', MOVE_EXAMPLES)
    .action(async (flags: MoveFlags) => {
      if (flags.abandon) {
        const { abandonMove } = await import('./commands/move-abandon.ts');
        return await abandonMove(flags);
      }
      const { move } = await import('./commands/move.ts');
      await move(flags, showProgress);
    });
}
