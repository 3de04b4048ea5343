#!/usr/bin/env node
/**
 * `cli/`: the flags of every command, and completion. It takes a command line and loads the one command that it names;
 * nothing at this level does the work.
 *
 * `millrace`: the command line. Each command is a file of its own, loaded on demand, so that `millrace enqueue` starts without
 * what only `millrace dev` needs.
 */
import type { Command } from 'commander';
import { createProgram, runProgram, strict, withEnvironment, type Called } from '../runtime/program.ts';
import { logLevelOption, type LogLevel } from '../runtime/log-level.ts';
import { readTrace } from '../runtime/opentelemetry.ts';
import { version } from '../runtime/version.ts';
import { addClusterCommands, addCompletion, addTopAndDoctor, addVersion } from './cluster-commands.ts';
import { addDev, addMap, addSimulate } from './local-commands.ts';
import { addMove, addQueueCommands } from './queue-commands.ts';
import { addTaskCommands } from './task-commands.ts';
import { watchOutput } from './terminal/output.ts';
import { createCommandLog, type OpenableLog } from './terminal/command-log.ts';
import { progressOn } from './terminal/progress.ts';

function build(log: OpenableLog): Command {
  const program = createProgram('millrace', version)
    .description('An autoscaling worker pool with Redis in the middle.')
    .usage('<command> [options]')
    .addOption(logLevelOption('silent'));
  program.hook('preAction', () => log.open(program.opts<{ logLevel: LogLevel }>().logLevel));
  const command = (name: string, description: string): Command =>
    strict(program.command(name)).description(description);

  const showProgress = progressOn(process.stderr, process.env['TERM']);
  addDev(
    command(
      'dev',
      'run a pool on this machine: worker processes, scaled by their queue, with a Redis of its own',
    ),
    process.env,
    log,
  );
  addMap(
    command('map', 'run each line of the input as a task, and print the results in order'),
    process.env,
    log,
  );
  addTaskCommands(
    command,
    () => {
      const { TRACEPARENT: traceparent, TRACESTATE: tracestate } = process.env;
      return readTrace({ traceparent, tracestate });
    },
    showProgress,
  );
  addQueueCommands(command, log);
  addMove(
    command('move', 'move a queue to another Redis, into partitions or to another name, while it is used'),
    showProgress,
  );
  addSimulate(command('simulate', "replay a trace against a pool's policy and other autoscalers"));
  addClusterCommands(command, log);
  addTopAndDoctor(command, process.env, log);
  addCompletion(program, command);
  addVersion(command, log);
  return program;
}

async function main(called: Called): Promise<void> {
  watchOutput();
  const log = createCommandLog();
  const program = build(log);
  if (process.argv.length <= 2) {
    program.outputHelp();
    return;
  }
  try {
    await withEnvironment(program, process.env, called).parseAsync(process.argv);
  } catch (error) {
    log.debug(error, 'ended by an error');
    throw error;
  }
}

await runProgram('millrace', main);
