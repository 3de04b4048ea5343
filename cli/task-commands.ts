/** The commands about single tasks: `enqueue`, `result`, `cancel`, `dead`. */
import type { Command } from 'commander';
import type { Trace } from '../runtime/opentelemetry.ts';
import { duration, instant, integer, strict, UsageError } from '../runtime/program.ts';
import { addAccessFlags, type AccessFlags } from './access/access-flags.ts';
import { outputOption, type Output } from './terminal/output.ts';

type Define = (name: string, description: string) => Command;

/** `trace`: returns the trace context of the shell. */
export function addTaskCommands(command: Define, trace: () => Trace | undefined): void {
  addAccessFlags(
    command('enqueue', 'add tasks and print their ids, or with --wait their results').argument(
      '[task]',
      'the task; - reads stdin, as --stdin does',
    ),
    'flag',
  )
    .option('--stdin', 'read one task per line from stdin; empty lines are skipped')
    .option('--file <path>', 'read one task per line from a file')
    .option('--delay <duration>', 'run the tasks after this delay at the earliest, such as 10s', duration)
    .option('--at <time>', 'run the tasks at this time at the earliest, such as 2026-03-01T08:00Z', instant)
    .option('--wait', 'wait for the results and print them')
    .option('--timeout <duration>', 'with --wait, give up after this long', duration)
    .action(
      async (task: string | undefined, flags: AccessFlags & import('./commands/enqueue.ts').EnqueueFlags) => {
        const { enqueue } = await import('./commands/enqueue.ts');
        await enqueue(task, flags, trace());
      },
    );

  addAccessFlags(
    command('result', "wait for a task's result and print it, byte for byte").argument(
      '<id>',
      'the id of the task, or the task itself',
    ),
    'flag',
  )
    .option('--timeout <duration>', 'give up after this long', duration)
    .option('--progress', "print the task's progress to stderr while waiting")
    .action(async (id: string, flags: import('./commands/result.ts').ResultFlags) => {
      const { printResult } = await import('./commands/result.ts');
      await printResult(id, flags);
    });

  addAccessFlags(
    command('cancel', 'cancel tasks: those that wait are not run, those that run are aborted').argument(
      '<id...>',
      'ids of tasks',
    ),
    'flag',
  ).action(async (ids: string[], flags: AccessFlags) => {
    const { cancel } = await import('./commands/cancel.ts');
    await cancel(ids, flags);
  });

  addDead(command('dead', 'list, show, requeue or drop dead letters: tasks that failed for good'));
}

function addDead(dead: Command): void {
  const commands = 'list, show, requeue or drop';
  dead.argument('[command]').usage('list|show|requeue|drop [options]');
  dead.action((unknown: string | undefined) => {
    throw new UsageError(
      unknown === undefined ? `dead needs a command: ${commands}` : `unknown command 'dead ${unknown}'`,
    );
  });
  addAccessFlags(strict(dead.command('list')).description('list dead letters, newest first'), 'argument')
    .option('--count <n>', 'maximum number of dead letters', integer(1, 10_000), 20)
    .addOption(outputOption())
    .action(async (_pool: string | undefined, flags: AccessFlags & { count: number; output: Output }) => {
      const { listDead } = await import('./commands/dead.ts');
      await listDead(flags);
    });
  addAccessFlags(
    strict(dead.command('show'))
      .description('print everything that is known about a dead letter')
      .argument('<id>', 'the id of the task, or the task itself'),
    'flag',
  )
    .addOption(outputOption())
    .action(async (id: string, flags: AccessFlags & { output: Output }) => {
      const { showDead } = await import('./commands/dead.ts');
      await showDead(id, flags);
    });
  const moves = {
    requeue: 'put tasks back into the queue, with a fresh set of attempts',
    drop: 'delete tasks and their errors',
  };
  for (const how of ['requeue', 'drop'] as const)
    addAccessFlags(
      strict(dead.command(how)).description(moves[how]).argument('[id...]', 'ids of tasks'),
      'flag',
    )
      .option('--error <text>', 'tasks whose error contains this text')
      .option('--older-than <duration>', 'tasks that have been dead for longer than this', duration)
      .option('--all', 'all dead letters of the queue')
      .action(async (ids: string[], flags: import('./commands/dead.ts').ChooseDeadFlags) => {
        const { moveDead } = await import('./commands/dead.ts');
        await moveDead(how, ids, flags);
      });
}
