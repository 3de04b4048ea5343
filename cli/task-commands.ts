/** The commands about single tasks: `enqueue`, `result`, `cancel`, `batch`, `dead`. */
import { Option, type Command } from 'commander';
import { FAILURE_POLICIES } from '../queue/batch-mark.ts';
import { PRIORITIES } from '../queue/priorities.ts';
import type { Trace } from '../runtime/opentelemetry.ts';
import { duration, instant, integer, strict, UsageError } from '../runtime/program.ts';
import { addAccessFlags, type AccessFlags } from './access/access-flags.ts';
import { outputOption, type Output } from './terminal/output.ts';
import type { ShowProgress } from './terminal/progress.ts';

type Define = (name: string, description: string) => Command;

/** `trace`: returns the trace context of the shell. */
export function addTaskCommands(
  command: Define,
  trace: () => Trace | undefined,
  showProgress: ShowProgress,
): void {
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
    .option('--at <time>', 'run the tasks at this time at the earliest, such as 2030-03-01T08:00Z', instant)
    .option(
      '--expires-in <duration>',
      'a task, a JSON object, that is not begun after this long is not run, such as 10m',
      duration,
    )
    .option('--expires-at <time>', 'the same at this time, such as 2030-03-01T08:00Z', instant)
    .option(
      '--unique <key>',
      'push the task only if no other one has this key, and print the id of the one that has it',
    )
    .option('--unique-for <duration>', 'keep the key for so long at least, such as 10m', duration)
    .addOption(
      new Option('--priority <priority>', 'before or after the tasks of normal priority').choices(PRIORITIES),
    )
    .option('--wait', 'wait for the results and print them')
    .option('--timeout <duration>', 'with --wait, give up after this long', duration)
    .action(
      async (task: string | undefined, flags: AccessFlags & import('./commands/enqueue.ts').EnqueueFlags) => {
        const { enqueue } = await import('./commands/enqueue.ts');
        await enqueue(task, flags, trace(), showProgress);
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

  addBatch(
    command('batch', 'split work into tasks that are followed by one: begin, list, show or cancel batches'),
    showProgress,
  );
  addDead(
    command('dead', 'list, show, requeue or drop dead letters: tasks that failed for good'),
    showProgress,
  );
}

function addBatch(batch: Command, showProgress: ShowProgress): void {
  batch.argument('[command]').usage('begin|list|show|results|cancel [options]');
  batch.action((unknown: string | undefined) => {
    throw new UsageError(
      unknown === undefined
        ? 'batch needs a command: begin, list, show, results or cancel'
        : `unknown command 'batch ${unknown}'`,
    );
  });
  addAccessFlags(
    strict(batch.command('begin')).description('add tasks as the parts of a batch, and print its id'),
    'flag',
  )
    .option('--file <path>', 'read one part per line from a file, each a JSON object; stdin by default')
    .option('--field <name>', 'lines are any text: a part is an object that has its line in this field')
    .option('--id <id>', 'id of the batch; random by default')
    .option('--then <task>', 'the task that follows when all parts have ended')
    .addOption(
      new Option('--on-failure <what>', 'when a part has failed for good')
        .choices(FAILURE_POLICIES)
        .default('wait'),
    )
    .option('--wait', 'wait for the result of the task that follows and print it, instead of the id')
    .action(async (flags: AccessFlags & import('./commands/batch.ts').BeginFlags) => {
      const { beginBatch } = await import('./commands/batch.ts');
      await beginBatch(flags, showProgress);
    });
  addAccessFlags(strict(batch.command('list')).description('list batches, open ones first'), 'argument')
    .option('--count <n>', 'maximum number of batches', integer(1, 10_000), 20)
    .addOption(outputOption())
    .action(async (_pool: string | undefined, flags: AccessFlags & { count: number; output: Output }) => {
      const { printBatches } = await import('./commands/batch.ts');
      await printBatches(flags);
    });
  addAccessFlags(
    strict(batch.command('show')).description('print how far a batch is').argument('<id>', 'id of the batch'),
    'flag',
  )
    .addOption(outputOption())
    .action(async (id: string, flags: AccessFlags & { output: Output }) => {
      const { showBatch } = await import('./commands/batch.ts');
      await showBatch(id, flags);
    });
  addAccessFlags(
    strict(batch.command('results'))
      .description('print the results of the parts as lines of JSON, in the order of the parts')
      .argument('<id>', 'id of the batch'),
    'flag',
  ).action(async (id: string, flags: AccessFlags) => {
    const { printResults } = await import('./commands/batch.ts');
    await printResults(id, flags);
  });
  addAccessFlags(
    strict(batch.command('cancel'))
      .description('cancel the parts of a batch that have not ended, and the task that follows')
      .argument('<id>', 'id of the batch'),
    'flag',
  ).action(async (id: string, flags: AccessFlags) => {
    const { cancelBatch } = await import('./commands/batch.ts');
    await cancelBatch(id, flags);
  });
}

function addDead(dead: Command, showProgress: ShowProgress): void {
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
        await moveDead(how, ids, flags, showProgress);
      });
}
