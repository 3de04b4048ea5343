/** The commands that are about single tasks: `enqueue`, `result`, `cancel`, `dead`. */
import { InvalidArgumentError, type Command } from 'commander';
import type { Trace } from '../runtime/opentelemetry.ts';
import { duration, integer, strict, UsageError } from '../runtime/program.ts';
import { addAccessFlags, type AccessFlags } from './access/access-flags.ts';
import { outputOption, type Output } from './terminal/output.ts';

type Define = (name: string, description: string) => Command;

/** `trace`: the one that the shell is in. */
export function addTaskCommands(command: Define, trace: () => Trace | undefined): void {
  addAccessFlags(
    command('enqueue', 'add tasks; prints their ids, or with --wait their results').argument(
      '[task]',
      'the task; - for --stdin',
    ),
    'flag',
  )
    .option('--stdin', 'a task in each line of stdin; empty lines are left out')
    .option('--file <path>', 'a task in each line of a file')
    .option('--delay <duration>', 'run no earlier than this from now, such as 10s', duration)
    .option('--at <time>', 'run no earlier than then, such as 2026-03-01T08:00Z', moment)
    .option('--wait', 'wait for the result and print it')
    .option('--timeout <duration>', 'with --wait, give up after this long', duration)
    .action(
      async (task: string | undefined, flags: AccessFlags & import('./commands/enqueue.ts').EnqueueFlags) => {
        const { enqueue } = await import('./commands/enqueue.ts');
        await enqueue(task, flags, trace());
      },
    );

  addAccessFlags(
    command('result', "print a task's result, byte for byte; waits for it").argument(
      '<id>',
      'the id of the task, or the task itself',
    ),
    'flag',
  )
    .option('--timeout <duration>', 'give up after this long', duration)
    .option('--progress', 'tell meanwhile how far the task is, on stderr')
    .action(async (id: string, flags: import('./commands/result.ts').ResultFlags) => {
      const { printResult } = await import('./commands/result.ts');
      await printResult(id, flags);
    });

  addAccessFlags(
    command('cancel', 'do not run a task, or abort it where it runs').argument('<id...>', 'ids of tasks'),
    'flag',
  ).action(async (ids: string[], flags: AccessFlags) => {
    const { cancel } = await import('./commands/cancel.ts');
    await cancel(ids, flags);
  });

  addDead(command('dead', 'tasks that failed for good'));
}

function addDead(dead: Command): void {
  const commands = 'list, show, requeue or drop';
  dead.argument('[command]').usage('list|show|requeue|drop [options]');
  dead.action((unknown: string | undefined) => {
    throw new UsageError(
      unknown === undefined ? `dead needs a command: ${commands}` : `unknown command 'dead ${unknown}'`,
    );
  });
  addAccessFlags(strict(dead.command('list')).description('print the newest ones, newest first'), 'argument')
    .option('--count <n>', 'at most so many', integer(1, 10_000), 20)
    .addOption(outputOption())
    .action(async (_pool: string | undefined, flags: AccessFlags & { count: number; output: Output }) => {
      const { listDead } = await import('./commands/dead.ts');
      await listDead(flags);
    });
  addAccessFlags(
    strict(dead.command('show'))
      .description('print all that is known of one task')
      .argument('<id>', 'the id of the task, or the task itself'),
    'flag',
  )
    .addOption(outputOption())
    .action(async (id: string, flags: AccessFlags & { output: Output }) => {
      const { showDead } = await import('./commands/dead.ts');
      await showDead(id, flags);
    });
  const moves = {
    requeue: 'put tasks back into the queue, with all their attempts',
    drop: 'forget tasks and their errors',
  };
  for (const how of ['requeue', 'drop'] as const)
    addAccessFlags(
      strict(dead.command(how)).description(moves[how]).argument('[id...]', 'ids of tasks'),
      'flag',
    )
      .option('--error <text>', 'those whose error contains this')
      .option('--older-than <duration>', 'those that have been dead for so long', duration)
      .option('--all', 'all of them')
      .action(async (ids: string[], flags: import('./commands/dead.ts').ChooseDeadFlags) => {
        const { moveDead } = await import('./commands/dead.ts');
        await moveDead(how, ids, flags);
      });
}

function moment(text: string): Date {
  const at = new Date(text);
  if (!Number.isNaN(at.getTime()) && /\d{4}-\d\d-\d\d/.test(text)) return at;
  throw new InvalidArgumentError('It must be a time such as 2026-03-01T08:00Z.');
}
