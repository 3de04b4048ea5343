#!/usr/bin/env node
/**
 * `cli/`: the flags of every command, and completion. It takes a command line and loads the one command that it names;
 * nothing at this level does the work.
 *
 * `millrace`: the command line. Each command is a file of its own, loaded on demand, so that `millrace enqueue` starts without
 * what only `millrace dev` needs.
 */
import type { Command } from 'commander';
import { createProgram, runProgram, strict, withEnvironment } from '../runtime/program.ts';
import { readTrace } from '../runtime/opentelemetry.ts';
import { version } from '../runtime/version.ts';
import { addClusterCommands, addCompletion, addTopAndDoctor, addVersion } from './cluster-commands.ts';
import { addDev, addSimulate } from './local-commands.ts';
import { addQueueCommands } from './queue-commands.ts';
import { addTaskCommands } from './task-commands.ts';

function build(): Command {
  const program = createProgram('millrace', version)
    .description('An autoscaling worker pool with Redis in the middle.')
    .usage('<command> [options]');
  const command = (name: string, description: string): Command =>
    strict(program.command(name)).description(description);

  addDev(
    command(
      'dev',
      'run a pool on this machine: worker processes, scaled by their queue, with a Redis of its own',
    ),
    process.env,
  );
  addTaskCommands(command, () => {
    const { TRACEPARENT: traceparent, TRACESTATE: tracestate } = process.env;
    return readTrace({ traceparent, tracestate });
  });
  addQueueCommands(command);
  addSimulate(command('simulate', "replay a trace against a pool's policy and other autoscalers"));
  addClusterCommands(command);
  addTopAndDoctor(command);
  addCompletion(program, command);
  addVersion(command);
  return program;
}

async function main(): Promise<void> {
  // `millrace … | head`: the reader of our output may close it early
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    throw error;
  });
  const program = build();
  if (process.argv.length <= 2) program.outputHelp();
  else await withEnvironment(program, process.env).parseAsync(process.argv);
}

await runProgram('millrace', main);
