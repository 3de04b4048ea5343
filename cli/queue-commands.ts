/** The commands that are about a queue or a pool as a whole. */
import type { Command } from 'commander';
import { duration, integer } from '../runtime/program.ts';
import { addAccessFlags, type AccessFlags } from './access/access-flags.ts';
import type { ExplainFlags } from './commands/explain.ts';
import type { RecordFlags } from './commands/record.ts';
import { outputOption, type Output } from './terminal/output.ts';

type Define = (name: string, description: string) => Command;

export function addQueueCommands(command: Define): void {
  addAccessFlags(command('inspect', 'what is in the queue, and which workers it has'), 'argument')
    .addOption(outputOption())
    .action(async (_pool: string | undefined, flags: AccessFlags & { output: Output }) => {
      const { inspect } = await import('./commands/inspect.ts');
      await inspect(flags);
    });

  addAccessFlags(command('explain', 'why a pool has the replicas that it has'), 'argument')
    .option('--count <n>', 'at most so many decisions', integer(1, 100), 10)
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nWith --redis and --queue, the pool is the name under which it was recorded there.',
    )
    .action(async (pool: string | undefined, flags: ExplainFlags) => {
      const { explainCommand } = await import('./commands/explain.ts');
      await explainCommand(pool, flags);
    });

  addAccessFlags(command('record', "what came to a pool, as a trace for 'millrace simulate'"), 'argument')
    .option('--for <duration>', 'record so long (until Ctrl-C)', span)
    .option('--step <duration>', 'between two looks', duration, 100)
    .option('--since <duration>', 'instead: the last so long, from the time line in Redis, such as 7d', span)
    .option('-f, --file <file>', 'CSV to write, instead of stdout')
    .action(async (pool: string | undefined, flags: RecordFlags) => {
      const { recordCommand } = await import('./commands/record.ts');
      await recordCommand(pool, flags);
    });

  addAccessFlags(
    command('pause', 'let workers begin no more tasks of the queue; what runs is finished'),
    'argument',
  )
    .option('--reason <text>', 'for whoever inspects it', '')
    .action(async (_pool: string | undefined, flags: AccessFlags & { reason: string }) => {
      const { pause } = await import('./commands/pause.ts');
      await pause(flags);
    });

  addAccessFlags(command('resume', 'end a pause'), 'argument').action(
    async (_pool: string | undefined, flags: AccessFlags) => {
      const { resume } = await import('./commands/pause.ts');
      await resume(flags);
    },
  );

  addAccessFlags(command('workers', 'who works on it, and what they are doing'), 'argument')
    .option('--tasks', 'with the ids of the tasks that each holds')
    .addOption(outputOption())
    .action(async (_pool: string | undefined, flags: import('./commands/workers.ts').WorkersFlags) => {
      const { listWorkers } = await import('./commands/workers.ts');
      await listWorkers(flags);
    });

  addAccessFlags(
    command('drain', 'let workers finish what they run and take no more; waits until they have').argument(
      '[worker...]',
      'ids of workers; with --pool and none, all of the pool',
    ),
    'flag',
  )
    .option('--all', 'all workers of the queue')
    .option('--for <duration>', 'how long they take nothing', duration, 300_000)
    .option('--undo', 'let them go on')
    .option('--timeout <duration>', 'wait no longer than this; they go on draining', duration)
    .action(async (workers: string[], flags: import('./commands/drain.ts').DrainFlags) => {
      const { drain } = await import('./commands/drain.ts');
      await drain(workers, flags);
    });
}

/** A duration, or a number of days such as `7d`, as ms. */
function span(text: string): number {
  const days = /^(\d+)d$/.exec(text)?.[1];
  return days === undefined ? duration(text) : Number(days) * 86_400_000;
}
