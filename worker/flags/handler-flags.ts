/** The flags that select what runs the tasks: of `millrace-worker`, and of `millrace dev`, which passes them on. */
import type { Command } from 'commander';
import { bytes, duration, integer, option, UsageError } from '../../runtime/program.ts';

/** More than any machine has, bytes. */
const MAX_MEMORY = 2 ** 50;

export interface HandlerFlags {
  readonly module?: string;
  /** ms; 0 for none. */
  readonly moduleTimeout?: number;
  /** `module:function`, or `module`. */
  readonly python?: string;
  readonly pythonExecutable?: string;
  readonly pythonProcesses?: number;
  readonly pythonMaxTasks?: number;
  /** Bytes. */
  readonly pythonMaxMemory?: number;
  readonly command?: string;
  readonly keepRunning?: boolean;
  readonly http?: string;
  /** ms; 0 for none. */
  readonly httpTimeout?: number;
}

/** Throws `UsageError` unless exactly one of `--module`, `--python`, `--command` and `--http` is given. */
export function checkOneHandler({ module, python, command, http }: HandlerFlags): void {
  const given = [module, python, command, http].filter(Boolean).length;
  if (given === 0)
    throw new UsageError(
      'nothing to run tasks with: give --module ./tasks.ts, --python tasks:function, --command ./compute or --http http://127.0.0.1:9000/run',
    );
  if (given > 1)
    throw new UsageError('more than one of --module, --python, --command and --http is given: choose one');
}

/** These flags alone, of a command that has others. */
export function handlerFlagsOf(flags: HandlerFlags): HandlerFlags {
  const { module, moduleTimeout, command, keepRunning, http, httpTimeout } = flags;
  const { python, pythonExecutable, pythonProcesses, pythonMaxTasks, pythonMaxMemory } = flags;
  const inPython = { python, pythonExecutable, pythonProcesses, pythonMaxTasks, pythonMaxMemory };
  return { module, moduleTimeout, command, keepRunning, http, httpTimeout, ...inPython } as HandlerFlags;
}

export function addHandlerFlags(command: Command): Command {
  return command
    .addOption(option('--module <path>', 'module whose default export runs a task', 'MILLRACE_MODULE'))
    .addOption(
      option(
        '--module-timeout <duration>',
        'time limit for loading the module, of --python too; 0 for none',
        'MILLRACE_MODULE_TIMEOUT',
      )
        .argParser(duration)
        .default(600_000, '10m'),
    )
    .addOption(
      option(
        '--python <module:function>',
        'function in Python that runs a task, or a module with all its tasks; needs the Python package millrace, see docs/python.md',
        'MILLRACE_PYTHON',
      ),
    )
    .addOption(
      option(
        '--python-executable <path>',
        'interpreter for --python: a path, or a name in PATH',
        'MILLRACE_PYTHON_EXECUTABLE',
      ).default('python3'),
    )
    .addOption(
      option(
        '--python-processes <n>',
        'number of processes of --python; with fewer than --concurrency, each runs several tasks (default: one for each task)',
        'MILLRACE_PYTHON_PROCESSES',
      ).argParser(integer(1, 10_000)),
    )
    .addOption(
      option(
        '--python-max-tasks <n>',
        'replace a process of --python after this many tasks (default: never)',
        'MILLRACE_PYTHON_MAX_TASKS',
      ).argParser(integer(1)),
    )
    .addOption(
      option(
        '--python-max-memory <size>',
        'replace a process of --python once it has used more memory than this (default: never)',
        'MILLRACE_PYTHON_MAX_MEMORY',
      ).argParser(bytes(MAX_MEMORY)),
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
