/** The flags that select what runs the tasks: of `millrace-worker`, and of `millrace dev`, which passes them on. */
import type { Command } from 'commander';
import { duration, option, UsageError } from '../../runtime/program.ts';

export interface HandlerFlags {
  readonly module?: string;
  /** ms; 0 for none. */
  readonly moduleTimeout?: number;
  readonly command?: string;
  readonly keepRunning?: boolean;
  readonly http?: string;
  /** ms; 0 for none. */
  readonly httpTimeout?: number;
}

/** Throws `UsageError` unless exactly one of `--module`, `--command` and `--http` is given. */
export function checkOneHandler({ module, command, http }: HandlerFlags): void {
  const given = [module, command, http].filter(Boolean).length;
  if (given === 0)
    throw new UsageError(
      'nothing to run tasks with: give --module ./tasks.ts, --command ./compute or --http http://127.0.0.1:9000/run',
    );
  if (given > 1) throw new UsageError('more than one of --module, --command and --http is given: choose one');
}

export function addHandlerFlags(command: Command): Command {
  return command
    .addOption(option('--module <path>', 'module whose default export runs a task', 'MILLRACE_MODULE'))
    .addOption(
      option(
        '--module-timeout <duration>',
        'time limit for loading the module; 0 for none',
        'MILLRACE_MODULE_TIMEOUT',
      )
        .argParser(duration)
        .default(600_000, '10m'),
    )
    .addOption(
      option(
        '--command <command>',
        'program that runs a task: reads it from stdin, writes the result to stdout',
        'MILLRACE_COMMAND',
      ),
    )
    .addOption(
      option(
        '--keep-running',
        'start the command once and exchange JSON lines with it, see docs/run-your-code.md',
        'MILLRACE_KEEP_RUNNING',
      ),
    )
    .addOption(
      option(
        '--http <url>',
        'server that runs tasks, one POST per task, see docs/run-your-code.md',
        'MILLRACE_HTTP',
      ),
    )
    .addOption(
      option(
        '--http-timeout <duration>',
        'time limit for each attempt over HTTP; 0 for none',
        'MILLRACE_HTTP_TIMEOUT',
      )
        .argParser(duration)
        .default(3_600_000, '1h'),
    );
}
