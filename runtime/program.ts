/**
 * The conventions of the three programs: flags are parsed with commander, exit codes are documented, and a failure is one line on
 * stderr. Exit codes: 0 done, 1 failed, 2 the command line (or the environment) was wrong.
 */
import { Command, CommanderError, Help, InvalidArgumentError, Option } from 'commander';
import { parseBytes } from './bytes.ts';
import { parseConcurrency, type Concurrency } from './concurrency.ts';
import { parseDuration } from './duration.ts';
import { failurePrefix } from './failure-line.ts';
import type { OptionDefinition } from './option-definition.ts';
import { printable } from './plain-text.ts';
import { UsageError } from './usage-error.ts';

export { UsageError } from './usage-error.ts';

/** A command that throws instead of exiting the process; `runProgram` prints usage errors. */
export function createProgram(name: string, version: string): Command {
  return strict(new Command(name).version(version));
}

/** Applies the same settings to a subcommand; commander does not inherit them. */
export function strict(command: Command): Command {
  return command
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .configureHelp({ groupItems: ownFirst, showGlobalOptions: true, visibleGlobalOptions: withoutVersion })
    .showSuggestionAfterError(true);
}

const OWN = 'Options:';

/** A command's own options come first; options that it shares with others have a separate heading. */
const ownFirst: Help['groupItems'] = (items, visible, getGroup) => {
  const groups = Help.prototype.groupItems(items, visible, getGroup);
  const own = groups.get(OWN);
  groups.delete(OWN);
  return own ? new Map([[OWN, own], ...groups]) : groups;
};

/** Global options, in the help of a subcommand. */
function withoutVersion(this: Help, command: Command): Option[] {
  return Help.prototype.visibleGlobalOptions.call(this, command).filter(({ long }) => long !== '--version');
}

/** Shows the options that `add` adds to `command` under a heading of their own in its help. */
export function headed(heading: string, command: Command, add: (command: Command) => unknown): Command {
  const before = command.options.length;
  add(command);
  for (const added of command.options.slice(before)) added.helpGroup(heading);
  return command;
}

/** What runs of a program: of `millrace dead list` these three words, as far as they were read. */
export interface Called {
  command: string;
}

/** Runs `main` and sets the exit code; prints a failure as one line, with whose help explains the command line. */
export async function runProgram(name: string, main: (called: Called) => Promise<void>): Promise<void> {
  const called: Called = { command: name };
  try {
    await main(called);
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return; // --help, --version
    const usage = error instanceof CommanderError || error instanceof UsageError;
    process.exitCode = usage ? 2 : 1;
    process.stderr.write(
      `${failurePrefix(name)}${oneLine(error)}${usage ? ` (see ${called.command} --help)` : ''}\n`,
    );
  }
}

function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (
    printable(message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ')).trim() ||
    'failed without an error message'
  );
}

/** Accepted spellings of yes and no, in lower case. */
const SWITCH = new Map([
  ['true', true],
  ['1', true],
  ['on', true],
  ['yes', true],
  ['false', false],
  ['0', false],
  ['off', false],
  ['no', false],
]);

/**
 * Normalizes the environment variables of a program before commander reads them: commander treats any text as a switch that is on,
 * even "false", and an empty variable as a value. Empty variables and switches that are off are deleted from `env`. Throws
 * `UsageError` for a switch that is neither on nor off. Each command normalizes those of its own options when it is called; `called` is
 * told of it then.
 */
export function withEnvironment(command: Command, env: NodeJS.ProcessEnv, called?: Called): Command {
  for (const { envVar, required, optional } of command.options) {
    const text = envVar === undefined ? undefined : env[envVar]?.trim().toLowerCase();
    if (envVar === undefined || text === undefined) continue;
    const isSwitch = !required && !optional;
    const on = isSwitch && text !== '' ? SWITCH.get(text) : text !== '';
    if (on === undefined) throw new UsageError(`${envVar} must be true or false`);
    if (!on) delete env[envVar];
  }
  return command.hook('preSubcommand', (_, sub) => {
    if (called) called.command += ` ${sub.name()}`;
    withEnvironment(sub, env, called);
  });
}

/** `on` or `off`, in any accepted spelling. */
export function onOff(text: string): 'on' | 'off' {
  const on = SWITCH.get(text.trim().toLowerCase());
  if (on === undefined) throw new InvalidArgumentError('It must be on or off.');
  return on ? 'on' : 'off';
}

/** An option that can also be set by an environment variable. */
export function option(flags: string, description: string, variable: string): Option {
  return new Option(flags, description).env(variable);
}

/** Returns a function that adds these options to a command. */
export function withOptions(definitions: readonly OptionDefinition[]): (command: Command) => Command {
  return (command) => {
    for (const { flags, description, variable, byDefault, hidden } of definitions) {
      const added = option(flags, description, variable).hideHelp(hidden === true);
      command.addOption(byDefault === undefined ? added : added.default(byDefault));
    }
    return command;
  };
}

/** Argument parsers for commander; each throws `InvalidArgumentError` with a sentence about what is accepted. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(
      `It must be a whole number from ${min}${max < Number.MAX_SAFE_INTEGER ? ` to ${max}` : ''}.`,
    );
  };
}

/** `8`, `auto` or `auto:4-64`. */
export function concurrency(text: string): Concurrency {
  try {
    return parseConcurrency(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** A number greater than zero, such as `2` or `0.5`. */
export function positive(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (value > 0) return value;
  throw new InvalidArgumentError('It must be a number greater than 0.');
}

/** A Go-style duration, as ms. */
export function duration(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** A time such as `2026-03-29T08:00:00Z`, as ms since the epoch. */
export function instant(text: string): number {
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw new InvalidArgumentError('It must be a time such as 2026-03-29T08:00:00Z.');
  return at;
}

/** A number of bytes as Kubernetes writes it, `16Mi` or `1048576`. */
export function bytes(max: number): (text: string) => number {
  return (text) => {
    try {
      return parseBytes(text, max);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
  };
}
